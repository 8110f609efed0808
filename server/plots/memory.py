"""What memory buys: accuracy against the bytes that a client keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from server.plots import paper
from server.plots.words import percent

TICKS = (0, 10, 30, 100, 300, 1000, 10_000, 100_000)  # kB


@dataclass(frozen=True)
class Held:
    """One method with one budget, over its seeds."""

    name: str
    panel: str  # what it was measured on
    kilobytes: float  # a client keeps
    accuracy: float  # mean, share 0 … 1
    deviation: float  # over seeds


def against_memory(points: Sequence[Held], folder: Path) -> Path:
    """Draw memory.png: a panel for each setting, a line for each method through its budgets, bars over seeds."""
    panels, names = (list(dict.fromkeys(getattr(p, key) for p in points)) for key in ("panel", "name"))
    best = max([p for p in points if p.name != "joint"] or points, key=lambda p: p.accuracy)  # joint is the upper bound
    title = f"Most, {percent(best.accuracy)}, is read by {best.name}, which keeps {best.kilobytes:,.0f} kB a client"
    columns = min(2, len(panels))
    reach = np.array([p.accuracy + side * p.deviation for p in points for side in (-1, 1)])  # one scale for all panels
    rows = -(-len(panels) // columns)
    with paper.style():
        figure = paper.figure(4.7 * columns, 3.4 * rows + 0.1 * len(names) + 0.4, title)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for place, panel in enumerate(panels):
            axes = grid[divmod(place, columns)]
            for i, name in enumerate(names):
                mine = sorted((p for p in points if (p.name, p.panel) == (name, panel)), key=lambda p: p.kilobytes)
                if mine:
                    axes.errorbar(
                        [p.kilobytes for p in mine], [100 * p.accuracy for p in mine], [100 * p.deviation for p in mine],
                        label=name, color=paper.PALETTE[i % len(paper.PALETTE)], marker="os^Dv"[i // len(paper.PALETTE) % 5],
                        markersize=5, linewidth=1.3, capsize=2,
                    )  # fmt: skip
            paper.accuracy_axis(axes, reach)
            axes.set_xscale("symlog", linthresh=10)
            axes.set_xlim(-3, 2.2 * max(10.0, *(p.kilobytes for p in points)))
            axes.set_xticks([t for t in TICKS if t <= axes.get_xlim()[1]], minor=False)
            axes.set_xticks([], minor=True)
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.set_title(panel, loc="left", fontsize=9.5)
            if place >= len(panels) - columns:
                axes.set_xlabel("Memory a client (kB)")
                axes.tick_params(labelbottom=True)
        for place in range(len(panels), rows * columns):
            grid[divmod(place, columns)].set_visible(False)
        marks: dict[str, Any] = {}
        for axes in figure.axes:
            marks |= {label: mark for mark, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(
            list(marks.values()), list(marks), loc="outside lower center", ncols=2 * columns + 1, fontsize=8.5
        )
        return paper.save(figure, folder / "memory.png")
