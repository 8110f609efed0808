"""What memory buys: accuracy against the bytes that a client keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from server.report.figures import style
from server.report.figures.formatting import percent, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TICKS = (0, 10, 30, 100, 300, 1000, 10_000, 100_000)  # kB


@dataclass(frozen=True)
class MemoryPoint:
    """One method with one budget, over its seeds."""

    name: str
    panel: str  # what it was measured on
    kilobytes: float  # a client keeps
    accuracy: float  # mean, share 0 … 1
    deviation: float | None  # standard deviation over seeds, None for one
    seeds: int


def against_memory(points: Sequence[MemoryPoint], folder: Path) -> Path:
    """Draw memory.png: a panel for each setting, a line for each method through its budgets, bars over seeds."""
    panels, names = (list(dict.fromkeys(getattr(p, key) for p in points)) for key in ("panel", "name"))
    best = max([p for p in points if p.name != "joint"] or points, key=lambda p: p.accuracy)  # joint is the upper bound
    title = f"Most, {percent(best.accuracy)}, is read by {best.name}, which keeps {best.kilobytes:,.0f} kB a client"
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with style.applied():
        figure = style.figure(4.7 * columns, 3.4 * rows + 0.1 * len(names) + 0.4, title)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for i, axes in enumerate(grid.flat):
            axes.set_visible(i < len(panels))
            if i < len(panels):
                _draw(axes, [p for p in points if p.panel == panels[i]], names)
                _scale(axes, points)
            if i >= len(panels) - columns:
                axes.set_xlabel("Memory a client (kB)")
                axes.tick_params(labelbottom=True)
        _legend(figure, points, columns)
        return style.save(figure, folder / "memory.png")


def _draw(axes: Axes, points: Sequence[MemoryPoint], names: Sequence[str]) -> None:
    """A line a method, with a bar where there is more than one seed."""
    for i, name in enumerate(names):
        mine = sorted((p for p in points if p.name == name), key=lambda p: p.kilobytes)
        if mine:
            bars = [np.nan if p.deviation is None else 100 * p.deviation for p in mine]
            axes.errorbar(
                [p.kilobytes for p in mine], [100 * p.accuracy for p in mine], bars, label=name,
                color=style.PALETTE[i % len(style.PALETTE)], marker="os^Dv"[i // len(style.PALETTE) % 5],
                markersize=5, linewidth=1.3, capsize=2,
            )  # fmt: skip
            axes.set_title(mine[0].panel, loc="left", fontsize=9.5)


def _scale(axes: Axes, points: Sequence[MemoryPoint]) -> None:
    """One scale for all panels."""
    style.accuracy_axis(axes, [p.accuracy + side * (p.deviation or 0.0) for p in points for side in (-1, 1)])
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xlim(-3, 2.2 * max(10.0, *(p.kilobytes for p in points)))
    axes.set_xticks([t for t in TICKS if t <= axes.get_xlim()[1]], minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _legend(figure: Figure, points: Sequence[MemoryPoint], columns: int) -> None:
    """The methods, and what bars are; nothing is said of bars if there is one seed of each."""
    from matplotlib.lines import Line2D

    marks: dict[str, Any] = {}
    for axes in figure.axes:
        marks |= {label: mark for mark, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if counts := [p.seeds for p in points if p.deviation is not None]:
        marks[f"bar: ± standard deviation over {span(counts)} seeds"] = Line2D(
            [], [], color=style.GREY, linestyle="", marker="|", markersize=9
        )
    figure.legend(list(marks.values()), list(marks), loc="outside lower center", ncols=2 * columns + 1, fontsize=8.5)
