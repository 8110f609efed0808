"""In every picture, the label of a line stands level with the line's end, inside the picture, clear of the other labels."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from server.report.figures import PLOTS, style
from server.report.figures.compare import compare
from tests.reports import fake, read, staged

LABELLED = ("accuracy", "tasks", "clients", "personal", "alone", "drift")  # the pictures that have such labels

NUMBERED = ("alone", "clients", "labels", "personal")  # the pictures that name clients below an axis


def many(tasks: int) -> dict[str, Any]:
    """A run of so many tasks that all end close together, as `permuted` does."""
    report = staged(fake())
    for row in report["history"]:
        row["tasks_accuracy"] = [0.90 + 0.0004 * task * row["round"] / 20 for task in range(tasks)]
    report["continual"] |= {"tasks": [f"order {i}" for i in range(tasks)]}
    return report


def forgotten() -> dict[str, Any]:
    """A run that ends knowing its last task only."""
    report = staged(fake())
    for row in report["history"]:
        row["tasks_accuracy"] = [float(row["round"] in range(4 * task + 1, 4 * task + 5)) for task in range(5)]
    return report


def poor() -> dict[str, Any]:
    """A young run, far below its baselines."""
    report = fake(8, 4)
    for row in report["history"]:
        row["accuracy"] = 0.1 + 0.03 * row["round"]
    return report | {
        "accuracy": 0.22,
        "baselines": {"centralized": 0.895, "local": 0.1485, "joint": 0.224},
        "curves": {},
    }


def first() -> dict[str, Any]:
    """The first of twenty rounds."""
    report = staged(fake())
    return report | {"history": report["history"][:1]}


REPORTS: dict[str, Callable[[], dict[str, Any]]] = {
    "five tasks": lambda: staged(fake()), "ten tasks": lambda: many(10), "thirty tasks": lambda: many(30),
    "forgotten": forgotten, "poor": poor, "100 clients": lambda: fake(100, 4), "one round": first,
}  # fmt: skip


def drawn(figure: Figure) -> Figure:
    figure.set_dpi(style.DPI)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    return figure


def labels(axes: Any) -> list[Text]:
    """The texts on the right of the axes."""
    return [text for text in axes.texts if text.get_window_extent().x0 >= axes.bbox.x1]


def end(axes: Any, label: Text) -> float:
    """Where the line of this label ends, pixels from the bottom: the line of its colour that ends with its number."""
    number = re.search(r"\d+\.?\d*", label.get_text())
    lines = [line for line in axes.lines if to_hex(line.get_color()) == to_hex(label.get_color())]
    levels = [float(line.get_ydata()[-1]) for line in lines if len(line.get_ydata())]
    level = min(levels, key=lambda y: abs(y - float(number.group()))) if number else levels[-1]
    assert not number or abs(level - float(number.group())) <= 0.051  # as many digits as there are
    return float(axes.transData.transform((axes.get_xlim()[1], np.clip(level, *axes.get_ylim())))[1])


def check(figure: Figure) -> int:
    """Every label of the figure; returns how many there are."""
    count = 0
    for axes in drawn(figure).axes:
        boxes = [text.get_window_extent() for text in labels(axes)]
        wanted = np.array([end(axes, text) for text in labels(axes)])
        middles = np.array([(box.y0 + box.y1) / 2 for box in boxes])
        for box, middle, want in zip(boxes, middles, wanted, strict=True):
            crowd = sum(abs(wanted - want) < 1.5 * box.height * len(boxes)) - 1  # who may have pushed it aside
            assert abs(middle - want) <= box.height * (1 + 1.5 * crowd)
            alone = np.sort(abs(middles - middle))[1:2].min(initial=np.inf) > 2 * box.height
            assert not alone or abs(middle - want) <= box.height
            assert axes.bbox.y0 - 1 <= box.y0 and box.y1 <= axes.bbox.y1 + 1 and box.x1 <= figure.bbox.width
        rising = np.argsort(middles)
        assert all(boxes[i].y1 <= boxes[j].y0 + 1 for i, j in pairwise(rising))
        assert np.diff(wanted[rising]).min(initial=0) >= -2  # in the order of their lines
        count += len(boxes)
    return count


@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("kind", REPORTS)
def test_labels_stand_at_the_ends_of_their_lines(kind: str, name: str) -> None:
    with style.applied():
        picture = PLOTS[name](read(REPORTS[kind]()))
        assert picture is None or check(picture.draw()) >= 1


def test_every_picture_with_such_labels_is_looked_at() -> None:
    with style.applied():
        report = read(staged(fake()))
        figures = {name: plot(report).draw() for name, plot in PLOTS.items() if name != "looks"}  # has images only
    noted = {name for name, figure in figures.items() if any(map(_noted, figure.axes))}
    assert noted == set(LABELLED)


def _noted(axes: Any) -> bool:
    return any(getattr(text, "xyann", (0, 0))[0] == 1.02 for text in axes.texts)


@pytest.mark.parametrize("first", [0, 99_900])
@pytest.mark.parametrize("clients", [5, 12, 20, 40, 41, 100])
def test_clients_numbers_stand_apart_however_long_they_are(clients: int, first: int) -> None:
    """As in a crowd, of whose 100,000 clients a report names those of the last rounds."""
    facts = staged(fake(clients))
    for shard in facts["shards"]:
        shard["client"] += first
    for name in ("local_accuracies", "local_own_accuracies"):  # by client
        facts[name] = [0.0] * first + facts[name]
    report = read(facts)
    numbered = {name for name in NUMBERED if _numbers_clients(PLOTS[name], report)}
    assert numbered
    if clients == 5 and first:  # there is room for all; and no other picture has such numbers
        others = PLOTS.keys() - {*NUMBERED, "looks"}  # which has images only
        assert numbered == set(NUMBERED) and not any(_numbers_clients(PLOTS[name], report) for name in others)


def _numbers_clients(plot: Any, report: Any) -> bool:
    """Does a picture name clients below an axis? Any names there must stand apart."""
    named = False
    with style.applied():
        picture = plot(report)
        for axes in drawn(picture.draw()).axes if picture else ():
            ticks = [text for text in axes.get_xticklabels() if text.get_visible() and text.get_text()]
            boxes = sorted((box.x0, box.x1) for box in (text.get_window_extent() for text in ticks))
            assert all(left[1] < right[0] for left, right in pairwise(boxes))
            named |= str(report.shards[0].client) in [text.get_text() for text in ticks]
    return named


def test_so_they_do_in_comparisons(tmp_path: Any, figures: list[Figure]) -> None:
    other = poor()
    other["settings"] = other["settings"] | {"cohort": 3}
    compare([*(read(fake(4, 3, seed)) for seed in range(3)), read(other)], tmp_path)
    with style.applied():
        assert check(figures[0]) >= 4


def test_an_axis_may_get_its_limits_after_its_labels() -> None:
    with style.applied():
        figure = style.figure(6, 4, "A title")
        axes = figure.subplots()
        axes.plot([0, 1], [0.2, 40.0], color=style.BLUE)
        axes.plot([0, 1], [0.1, 90.0], color=style.ORANGE)
        style.label_ends(axes, [(40.0, "40", style.BLUE), (90.0, "90", style.ORANGE)])
        axes.set_ylim(0, 100)
        assert check(figure) == 2
        axes.set_yscale("symlog")
        assert check(figure) == 2
