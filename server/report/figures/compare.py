"""One picture over several runs: a line for each kind of run, a band over its seeds."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.curves import Point
from server.record import Report
from server.report.figures import picture, results, style
from server.report.figures.formatting import counted, gap, is_finite, percent, span
from server.report.figures.groups import Group, grouped
from server.report.figures.learning import BASELINES
from server.report.figures.lines import COLUMNS, Dash, Line, panels

CENTRALIZED = "centralized training on the same data"
NAMES = {  # of a baseline, in the legend and in the title
    "centralized": (CENTRALIZED, "centralized"), "fedavg": ("the same federation with plain FedAvg", "plain FedAvg"),
    "local": ("each client alone (mean over clients)", "each client alone"), "joint": ("clients that keep everything", "joint"),
}  # fmt: skip
# Where all colours are taken, lines also differ in dashes.
DASHES: tuple[Dash, ...] = ("-", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 4)), (0, (8, 2)))
LETTERS = 105  # of the legend, or of what all runs share, in a line of the figure's width
HEAD = ("runs", *COLUMNS, "seeds")


def compare(runs: Sequence[Report], folder: Path, shared: str = "") -> Path:
    """Draw compare.png, .svg and .csv: mean test accuracy of runs that differ only by seed, with the range over their seeds.

    A thin dashed line is their centralized baseline; where all runs are seeds of one, each of their baselines has a line and
    a band of its own. shared: what all runs have in common, said above the lines.
    Returns the PNG's path. Raises ValueError if no run has a round.
    """
    groups = grouped([run for run in runs if any(is_finite(row.accuracy) for row in run.history)])
    if not groups:
        raise ValueError(f"none of {counted(len(runs), 'run')} has a finished round to compare")
    names = _names(groups)
    trained = [mean([[row.point for row in run.history] for run in group.runs]) for group in groups]
    central = [_centralized(group) for group in groups]
    counts = [len(group.runs) for group in groups if len(group.runs) > 1]
    band = f"band: lowest to highest of {span(counts)} seeds" if counts else ""
    lines = [
        Line(wrapped(name), colour(i), curve, DASHES[i // len(style.PALETTE) % len(DASHES)], marked=False, band=band)
        for i, (name, curve) in enumerate(zip(names, trained, strict=True))
    ]
    best = results.best(groups)
    title = f"{names[best or 0]}, {percent(lines[best or 0].last)}"
    if len(groups) > 1:
        title = (
            f"{len(groups)} groups, too few seeds to name the best"
            if best is None
            else f"Best of {len(groups)}: {title}"
        )
        baselines = list(_baselines(central))
    else:
        kinds = dict(_beside(groups[0], band))
        others = [f"{gap(lines[0].last, line.last)} {NAMES[kind][1]}" for kind, line in kinds.items()]
        title, baselines = title + f": {', '.join(others)}" * bool(others), list(kinds.values())
    with style.applied():
        figure = panels(title, [*lines, *baselines], legend=True)
        width, height = figure.get_size_inches()
        above = wrapped(shared)
        breaks = sum(line.name.count("\n") for line in lines) + above.count("\n") + bool(above)
        figure.set_size_inches(width, height + 0.17 * breaks)
        figure.axes[0].set_title(above, loc="left", fontsize=8.5, color=style.GREY)
        rows = [*_values(groups, trained, central if len(groups) > 1 else [[]])]
        if len(groups) == 1:
            seeds = len(groups[0].runs)
            rows += [(groups[0].label, *row, seeds) for line in baselines for row in line.rows()]
        return picture.save(figure, folder / "compare.png", HEAD, rows)


def colour(i: int) -> str:
    """Of the i-th group."""
    return style.PALETTE[i % len(style.PALETTE)]


def wrapped(text: str, letters: int = LETTERS) -> str:
    """In lines of so many letters, which end between words; only a word that is longer than a line is broken."""
    return textwrap.fill(text, letters, break_on_hyphens=False)


def _names(groups: Sequence[Group]) -> list[str]:
    """The groups' labels, with the number of seeds where they differ in it."""
    counts = [len(group.runs) for group in groups]
    suffixes = [f" ({counted(count, 'seed')})" if len(set(counts)) > 1 else "" for count in counts]
    return [group.label + suffix for group, suffix in zip(groups, suffixes, strict=True)]


def _centralized(group: Group) -> list[Point]:
    """The mean curve of a group's centralized baselines, or the level of their last weights; none without them."""
    curves = [run.curves.get("centralized") or (_level(run),) for run in group.runs]
    curves = [curve for curve in curves if any(is_finite(point.accuracy) for point in curve)]
    return [replace(point, low=None, high=None) for point in mean(curves)] if curves else []


def _baselines(central: Sequence[list[Point]]) -> Iterator[Line]:
    """Each baseline once: where several groups have the same one it is grey, otherwise in its group's colour."""
    shades = {i: style.GREY if central.count(curve) > 1 else colour(i) for i, curve in enumerate(central) if curve}
    greys = list(shades.values()).count(style.GREY)
    where = "" if greys == len(shades) else ", in the same colour" + "; grey: of several" * bool(greys)
    for i, shade in shades.items():
        if central[i] not in central[:i]:
            yield Line(CENTRALIZED + where, shade, central[i], "--", 1.0, labelled=False)


def _beside(group: Group, band: str) -> Iterator[tuple[str, Line]]:
    """Each baseline of runs that are seeds of one another, with its line."""
    for name, (shade, dash) in BASELINES.items():
        curves = [run.curves.get(name) or () for run in group.runs]
        curves = [curve for curve in curves if any(is_finite(point.accuracy) for point in curve)]
        if curves:
            bare = [[replace(point, low=None, high=None) for point in curve] for curve in curves]
            band_caption = band if len(curves) > 1 else ""
            yield name, Line(NAMES[name][0], shade, mean(bare), dash, 1.6, marked=False, band=band_caption)


def _level(run: Report) -> Point:
    return Point(run.baselines.get("centralized", float("nan")))


def _values(
    groups: Sequence[Group], trained: Sequence[list[Point]], central: Sequence[list[Point]]
) -> Iterator[Sequence[Any]]:
    """The numbers of the picture, as HEAD names them."""
    for group, federated, centralized in zip(groups, trained, central, strict=True):
        for training, curve in (("federated", federated), ("centralized", centralized)):
            for p in curve:
                yield group.label, training, p.round, p.seen, p.accuracy, p.low, p.high, len(group.runs)


def mean(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """Curves of several seeds as one: the mean accuracy at each step, its range, and the mean of seen.

    A run that stopped early keeps its last model, so it is carried on at its last point.
    """
    curves = [[point for point in curve if is_finite(point.accuracy)] for curve in curves]
    steps = max(map(len, curves))
    points = []
    for step in range(steps):
        step_points = [curve[min(step, len(curve) - 1)] for curve in curves if curve]
        longest = max(curves, key=len)[step]
        shares = [point.accuracy for point in step_points]
        low, high = (min(shares), max(shares)) if len(shares) > 1 else (None, None)  # one seed has no range
        seen = [point.seen for point in step_points if is_finite(point.seen)]
        average = float(np.mean(seen)) if seen else None
        points.append(Point(float(np.mean(shares)), longest.round, seen=average, low=low, high=high))
    return points
