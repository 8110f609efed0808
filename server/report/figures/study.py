"""A study in two pictures: curves with their spread over seeds, and each row's figure with its seeds; a panel a column."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.curves import Point
from server.report.figures import picture, style
from server.report.figures.compare import DASHES, colour, mean, wrapped
from server.report.figures.formatting import SPACE, is_finite, sentence, span
from server.report.figures.lines import SHARE, Line
from server.report.figures.results import unbeaten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES = ("row", "column", "round", f"mean accuracy {SHARE}", f"lowest {SHARE}", f"highest {SHARE}", "seeds")
POINTS = ("row", "column", "seed", "value")
ACROSS = 3  # panels side by side, at most
WIDE, HIGH = 3.6, 3.1  # inches of a panel
LETTERS = 11.0  # that an inch of a legend's line holds
LABEL = 38  # letters that stand above or below a panel in one line
ROW = 24  # … beside a row
LEGEND = 60  # … in a line of the legend
Y_LABEL = 26  # … in a line beside a panel, which is not as high as it is wide
AT_THE_END = f" at{SPACE}the{SPACE}end"  # stays in one line


@dataclass(frozen=True)
class FigureFormat:
    """How a study's figure is shown."""

    head: str  # what it is, with its unit
    unit: str  # behind a number
    digits: int = 2
    more: bool = True  # is more better?
    accuracy: bool = True  # is it one, in percent?
    aside: Collection[str] = ()  # rows that stand there for comparison, and are not called the best

    def best(self, values: Mapping[str, Mapping[int, float]], when: str = "") -> str:
        """The best of these rows, by the seeds that it shares with each other one, and its mean over all that it has."""
        if not (values := {name: one for name, one in values.items() if one}):
            return "no row has a value"
        candidates = [name for name in values if name not in self.aside] or list(values)
        rows = unbeaten({name: values[name] for name in candidates}, self.more)
        if not rows:
            return "too few seeds to name the best"
        mean = statistics.mean(values[rows[0]].values())
        return f"Best: {rows[0]}, {mean:,.{self.digits}f}\N{NO-BREAK SPACE}{self.unit}{when}"


ACCURACY = FigureFormat("test accuracy (%)", "%")


@dataclass(frozen=True)
class Series:
    """A row of a study in one of its columns, over its finished seeds."""

    row: str
    column: str
    curves: Mapping[int, Sequence[Point]]  # by seed
    values: dict[int, float]  # the study's figure by seed, as it is shown


def curves(
    series: Sequence[Series], folder: Path, rows: Sequence[str], meaning: str, aside: Collection[str] = ()
) -> Path:
    """Draw curves.png, .svg and .csv: mean test accuracy round by round, a band from the lowest to the highest seed.

    rows: all of the study's, so that a row has one colour whatever is finished. Returns the PNG's path.
    """
    series = [one for one in series if any(one.curves.values())]
    columns = list(dict.fromkeys(one.column for one in series))
    means = {(one.row, one.column): mean(tuple(one.curves.values())) for one in series}
    marks, across = _marks(series, rows), _across(len(columns))
    legend_columns = _legend_columns(marks, across)
    with style.applied():
        legend_lines = -(-len(marks) // legend_columns) * _most_lines(marks)
        figure, panels = _panels(columns, meaning, HIGH, 0.2 * legend_lines)
        for i, (name, axes) in enumerate(zip(columns, panels, strict=True)):
            panel_series = [one for one in series if one.column == name]
            for one in panel_series:
                _line(one.row, rows.index(one.row), means[one.row, name]).draw(axes, "round", 1.0)
            panel_points = [point for one in panel_series for point in means[one.row, name]]
            shares = [
                share
                for point in panel_points
                for share in (point.accuracy, point.low, point.high)
                if share is not None
            ]
            style.accuracy_axis(axes, shares)
            style.rounds_axis(axes, np.array([point.round or 0 for point in panel_points], float))
            last = {one.row: _last(one) for one in panel_series}
            letters = int(LABEL * _width(across) / across / WIDE)
            _title(axes, name, replace(ACCURACY, aside=aside).best(last, AT_THE_END), letters)
            axes.set_ylabel("" if i % across else wrapped(axes.get_ylabel(), Y_LABEL))
        figure.legend(list(marks.values()), list(marks), loc="outside lower left", ncols=legend_columns, fontsize=8.5)
        return picture.save(figure, folder / "curves.png", CURVES, _curve_rows(series, means))


def points(series: Sequence[Series], folder: Path, rows: Sequence[str], meaning: str, shown: FigureFormat) -> Path:
    """Draw points.png, .svg and .csv: each row's figure, its mean ± standard deviation, and every seed's by itself.

    Returns the PNG's path.
    """
    series = [one for one in series if one.values]
    columns = list(dict.fromkeys(one.column for one in series))
    drawn_rows = [row for row in rows if any(one.row == row for one in series)]
    counts, label = [len(one.values) for one in series], sentence(shown.head)
    label_lines = _below(label + style.IN_NINES * shown.accuracy).count("\n")
    with style.applied():
        row_labels = [wrapped(name, ROW) for name in reversed(drawn_rows)]
        high = 1.05 + (0.13 + 0.14 * _most_lines(row_labels)) * len(drawn_rows) + 0.17 * label_lines
        figure, panels = _panels(columns, meaning, high, 0.2, share_rows=True)
        for name, axes in zip(columns, panels, strict=True):
            panel_series = [one for one in series if one.column == name]
            for one in panel_series:
                _dots(
                    axes,
                    len(drawn_rows) - 1 - drawn_rows.index(one.row),
                    colour(rows.index(one.row)),
                    list(one.values.values()),
                )
            axes.set_yticks(range(len(drawn_rows)), row_labels)
            axes.set_ylim(-0.6, len(drawn_rows) - 0.4)
            if shown.accuracy:
                shares = _range([list(one.values.values()) for one in panel_series]) / 100
                style.accuracy_axis(axes, shares, label, across=True)
            else:
                axes.grid(axis="x")
                axes.set_xlabel(label)
            axes.set_xlabel(_below(axes.get_xlabel()))
            whole = [one for one in panel_series if len(one.values) >= len(one.curves)]  # all of its seeds have a value
            values = {one.row: one.values for one in whole}
            _title(axes, name, shown.best(values) if values else "no row has it with every seed")
        note = (
            f"large: mean, ± standard deviation over {span(counts)} seeds; small: each seed"
            if max(counts) > 1
            else "one seed"
        )
        figure.supxlabel(note, x=0.015, ha="left", fontsize=8.5, color=style.GREY)
        lines = ((one.row, one.column, seed, value) for one in series for seed, value in one.values.items())
        return picture.save(figure, folder / "points.png", POINTS, lines)


def _last(series: Series) -> dict[int, float]:
    """Accuracy at the end by seed, in percent."""
    shares = {seed: curve[-1].accuracy for seed, curve in series.curves.items() if curve}
    return {seed: 100 * share for seed, share in shares.items() if is_finite(share)}


def _title(axes: Axes, column: str, best: str, letters: int = LABEL) -> None:
    axes.set_title(f"{wrapped(column, letters)}\n{wrapped(best, letters)}", loc="left", fontsize=9.5)


def _below(label: str) -> str:
    """A label below a panel, in lines; what the axis is stays together."""
    kept = style.IN_NINES.strip(", ")
    return wrapped(label.replace(kept, kept.replace(" ", SPACE)), LABEL)


def _range(rows: Sequence[Sequence[float]]) -> np.ndarray:
    """What an axis in percent must hold of these rows' values over seeds: each seed, and the bar mean ± standard deviation.

    A bar may go beyond what there can be, which is 0 … 100, and close to 100 an axis that is logarithmic in the error has no end.
    So its upper end counts as no less than a quarter of the best seed's error; a longer bar runs to the picture's edge.
    """
    seeds = np.concatenate([np.asarray(row, float) for row in rows])
    bars = [(statistics.mean(row), statistics.stdev(row)) for row in rows if len(row) > 1]
    ends = [mean + side * deviation for mean, deviation in bars for side in (-1, 1)]
    highest = 100 - (100 - seeds.max()) / 4
    return np.concatenate([seeds, np.clip(np.asarray(ends, float), 0, highest)])


def _across(panels: int) -> int:
    """How many panels stand side by side: of four two, not three and one."""
    return -(-panels // -(-panels // ACROSS))


def _width(across: int) -> float:
    """Of a picture with so many panels side by side, inches."""
    return max(6.4, WIDE * across)


def _panels(
    columns: Sequence[str], title: str, high: float, below: float, share_rows: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each column; below: inches for what stands below them."""
    across = _across(len(columns))
    down = -(-len(columns) // across)
    figure = style.figure(_width(across), high * down + below + 0.5, sentence(title))
    grid = figure.subplots(down, across, squeeze=False, sharey=share_rows)
    for i, axes in enumerate(grid.flat):
        axes.set_visible(i < len(columns))
    return figure, list(grid.flat)[: len(columns)]


def _line(name: str, i: int, points: Sequence[Point]) -> Line:
    dash = DASHES[i // len(style.PALETTE) % len(DASHES)]
    return Line(name, colour(i), points, dash, 1.4, marked=False, band="seeds")


def _dots(axes: Axes, level: float, shade: str, values: Sequence[float]) -> None:
    """The mean of the seeds with its deviation, and just below it each seed."""
    if len(values) > 1:
        axes.plot(
            values, [level - 0.28] * len(values), "o", color=shade, markersize=3, alpha=0.6, markeredgewidth=0,
            clip_on=False,
        )  # fmt: skip
        bar = statistics.stdev(values)
        axes.errorbar(statistics.mean(values), level, xerr=bar, fmt="none", ecolor=shade, capsize=2.5, linewidth=1.3)
    axes.plot(statistics.mean(values), level, "o", color=shade, markersize=6, clip_on=False)  # whole at 100 %, too


def _marks(series: Sequence[Series], rows: Sequence[str]) -> dict[str, Any]:
    """The legend: the rows, and what bands are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    drawn_rows = {one.row for one in series}
    marks: dict[str, Any] = {}
    for i, row in enumerate(rows):
        if row in drawn_rows:
            line = _line(row, i, ())
            marks[wrapped(row, LEGEND)] = Line2D([], [], color=line.colour, linestyle=line.dash, linewidth=line.width)
    if counts := [len(one.curves) for one in series if len(one.curves) > 1]:
        marks[f"band: lowest to highest of {span(counts)} seeds"] = Patch(color=style.GREY, alpha=0.3, linewidth=0)
    return marks


def _legend_columns(marks: dict[str, Any], across: int) -> int:
    """How many of these stand side by side in a legend below so many panels."""
    longest = max(len(line) for name in marks for line in name.splitlines())
    return max(1, int(_width(across) / (longest / LETTERS + 0.6)))


def _most_lines(texts: Collection[str]) -> int:
    """Of the text that has most."""
    return max(text.count("\n") + 1 for text in texts)


def _curve_rows(series: Sequence[Series], means: dict[tuple[str, str], list[Point]]) -> Iterator[Sequence[Any]]:
    for one in series:
        for point in means[one.row, one.column]:
            yield one.row, one.column, point.round, point.accuracy, point.low, point.high, len(one.curves)
