"""What memory buys: accuracy against the bytes that a client keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from server.report.figures import picture, style
from server.report.figures.compare import wrapped
from server.report.figures.formatting import percent, span
from server.report.figures.lines import SHARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TICKS = (0, 10, 30, 100, 300, 1000, 10_000, 100_000)  # kB
WIDE = 6.4  # inches, of a picture with one panel
LETTERS = 12.0  # that an inch of a legend's line holds
MARK = 0.6  # inches, of a legend's mark and the space around it
HEAD = {
    "panel": "setting", "name": "method", "kilobytes": "memory a client (kB)", "accuracy": f"accuracy {SHARE}",
    "deviation": f"standard deviation {SHARE}", "seeds": "seeds",
}  # fmt: skip


@dataclass(frozen=True)
class MemoryPoint:
    """One method with one budget, over its seeds."""

    name: str
    panel: str  # what it was measured on
    kilobytes: float  # a client keeps
    accuracy: float  # mean, share 0 … 1
    deviation: float | None  # standard deviation over seeds, None for one
    seeds: int
    bounded: bool = True  # has it a budget? joint keeps all


def against_memory(points: Sequence[MemoryPoint], folder: Path, shared: str = "") -> Path:
    """Draw memory.png, .svg and .csv: a panel for each setting, a line for each method through its budgets, bars over seeds.

    shared: what all points have in common, said above the panels. Returns the PNG's path.
    """
    panels, names = (list(dict.fromkeys(getattr(p, key) for p in points)) for key in ("panel", "name"))
    best = max([p for p in points if p.bounded] or points, key=lambda p: p.accuracy)
    title = f"Most, {percent(best.accuracy)}, is read by {best.name}, which keeps {best.kilobytes:,.0f} kB a client"
    title += f" ({best.panel})" * (len(panels) > 1)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    width = WIDE if columns == 1 else 4.7 * columns
    marks = _marks(points, names, width)
    legend_columns = _columns(marks, width)
    above = wrapped(shared, int(LETTERS * width))
    lines = sum(label.count("\n") + 1 for label in marks) / legend_columns + above.count("\n") + 2
    with style.applied():
        figure = style.figure(width, 3.4 * rows + 0.18 * lines + 0.4, title)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for i, axes in enumerate(grid.flat):
            axes.set_visible(i < len(panels))
            if i < len(panels):
                _draw(axes, [p for p in points if p.panel == panels[i]], names)
                _scale(axes, points)
                axes.set_title(panels[i], loc="left", fontsize=9.5)
            if i >= len(panels) - columns:
                axes.set_xlabel("Memory a client (kB)")
                axes.tick_params(labelbottom=True)
        if above:
            grid[0, 0].set_title(f"{above}\n\n{panels[0]}".rstrip(), loc="left", fontsize=9)
        figure.legend(list(marks.values()), list(marks), loc="outside lower left", ncols=legend_columns, fontsize=8.5)
        values = ([getattr(p, key) for key in HEAD] for p in points)
        return picture.save(figure, folder / "memory.png", list(HEAD.values()), values)


def _draw(axes: Axes, points: Sequence[MemoryPoint], names: Sequence[str]) -> None:
    """A line a method, with a bar where there is more than one seed."""
    for i, name in enumerate(names):
        method_points = sorted((p for p in points if p.name == name), key=lambda p: p.kilobytes)
        if method_points:
            bars = [np.nan if p.deviation is None else 100 * p.deviation for p in method_points]
            axes.errorbar(
                [p.kilobytes for p in method_points], [100 * p.accuracy for p in method_points], bars,
                markersize=5, linewidth=1.3, capsize=2, **_look(i),
            )  # fmt: skip


def _look(i: int) -> dict[str, Any]:
    """Colour and marker of the i-th method: where all colours are taken, markers differ."""
    return {"color": style.PALETTE[i % len(style.PALETTE)], "marker": "os^Dv"[i // len(style.PALETTE) % 5]}


def _scale(axes: Axes, points: Sequence[MemoryPoint]) -> None:
    """One scale for all panels."""
    style.accuracy_axis(axes, [p.accuracy + side * (p.deviation or 0.0) for p in points for side in (-1, 1)])
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xlim(-3, 2.2 * max(10.0, *(p.kilobytes for p in points)))
    axes.set_xticks([t for t in TICKS if t <= axes.get_xlim()[1]], minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _marks(points: Sequence[MemoryPoint], names: Sequence[str], width: float) -> dict[str, Any]:
    """The legend: the methods, and what bars are; nothing is said of bars if there is one seed of each."""
    from matplotlib.lines import Line2D

    letters = int(LETTERS * (width - MARK))
    marks: dict[str, Any] = {wrapped(name, letters): Line2D([], [], **_look(i)) for i, name in enumerate(names)}
    if counts := [p.seeds for p in points if p.deviation is not None]:
        marks[f"bar: ± standard deviation over {span(counts)} seeds"] = Line2D(
            [], [], color=style.GREY, linestyle="", marker="|", markersize=9
        )
    return marks


def _columns(labels: Iterable[str], width: float) -> int:
    """How many columns of these labels fit side by side, so that none is cut off at the picture's edge.

    One column is as wide as the longest label, the others at most as the second longest.
    """
    lengths = sorted(max(map(len, label.split("\n"))) for label in labels)
    second = lengths[-2:][0]
    return max(1, int((width - (lengths[-1] - second) / LETTERS) / (second / LETTERS + MARK)))
