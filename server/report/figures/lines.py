"""Lines of accuracy in two panels: over rounds, and over the gradient examples they cost; and their numbers as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from core.curves import Point
from server.report.figures import style
from server.report.figures.formatting import is_finite

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Dash = Literal["-", "--", ":", "-."] | tuple[int, tuple[int, ...]]
SHARE = "(share of test images)"
COLUMNS = ("training", "round", "gradient examples", f"accuracy {SHARE}", f"lowest {SHARE}", f"highest {SHARE}")


@dataclass(frozen=True)
class Line:
    """One line of accuracy, with what is known of round, seen, low and high."""

    name: str
    colour: str
    points: Sequence[Point]
    dash: Dash = "-"
    width: float = 2.0
    marked: bool = True  # a dot at each of a few points
    labelled: bool = True
    band: str = ""  # what low and high are, in words; without words they are not drawn

    def rows(self) -> list[tuple[Any, ...]]:
        """Its points as rows of COLUMNS; lowest and highest where they are drawn."""
        ends = [(p.low, p.high) if self.band else (None, None) for p in self.points]
        return [(self.name, p.round, p.seen, p.accuracy, *e) for p, e in zip(self.points, ends, strict=True)]

    def values(self, key: str) -> np.ndarray:
        """f64 [points], NaN where unknown."""
        return np.array([v if is_finite(v := getattr(point, key)) else np.nan for point in self.points], float)

    @property
    def last(self) -> float:
        """The accuracy it ends with."""
        shares = self.values("accuracy")
        return float(shares[np.isfinite(shares)][-1])

    def draw(self, axes: Axes, key: str, unit: float) -> None:
        """Draw it over `key` (divided by unit), with its band; a single point or unknown x becomes a level."""
        x, y = self.values(key) / unit, 100 * self.values("accuracy")
        low, high = 100 * self.values("low"), 100 * self.values("high")
        finite = np.isfinite(x) & np.isfinite(y)
        style: dict[str, Any] = {"color": self.colour, "linestyle": self.dash, "linewidth": self.width}
        if finite.sum() < 2 and (self.dash != "-" or not finite.any()):
            axes.axhline(100 * self.last, **style)
        else:
            few = finite.sum() == 1 or (finite.sum() <= 25 and self.marked and self.dash == "-")
            axes.plot(x[finite], y[finite], marker="o" if few else None, **style)
        banded = bool(self.band) & finite & np.isfinite(low) & np.isfinite(high)
        if banded.sum() >= 2:
            axes.fill_between(x[banded], low[banded], high[banded], color=self.colour, alpha=0.15, linewidth=0)
        elif banded.any():
            ends = np.stack([low[banded], high[banded]])
            axes.vlines(x[banded], *ends, color=self.colour, linewidth=1.2)
            axes.plot(np.repeat(x[banded], 2), ends.ravel(), "_", color=self.colour, markersize=8)


def panels(title: str, lines: Sequence[Line], legend: bool = False) -> Figure:
    """Both panels. Lines are named at their ends, or with `legend` below (their ends then show only the value)."""
    figure = style.figure(9.4, 4.1 + 0.22 * legend * sum(line.labelled for line in lines), title)
    left, right = figure.subplots(1, 2)
    seen = np.concatenate([line.values("seen") for line in lines])
    unit, word = (1e6, "millions") if np.nanmax(seen, initial=0) >= 2e6 else (1e3, "thousands")
    shares = np.concatenate([line.values(key) for line in lines for key in ("accuracy", "low", "high")])
    for axes, key, scale in ((left, "round", 1.0), (right, "seen", unit)):
        for line in lines:
            line.draw(axes, key, scale)
        style.accuracy_axis(axes, shares)
        ends = [line for line in lines if line.labelled]
        texts = [f"{100 * line.last:.2f}" + ("" if legend else f" {line.name}") for line in ends]
        style.label_ends(axes, [(100 * e.last, text, e.colour) for e, text in zip(ends, texts, strict=True)])
    style.rounds_axis(left, np.concatenate([line.values("round") for line in lines]))
    right.set_xlabel(f"Gradient examples seen ({word})")
    right.set_ylabel("")
    _legend(figure, lines, legend)
    return figure


def _legend(figure: Figure, lines: Sequence[Line], name_lines: bool) -> None:
    """Below the panels: what bands are, and with name_lines each line's name."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    grey = [replace(line, colour=style.GREY) for line in lines if not line.labelled]
    named = [line for line in lines if line.labelled] + grey[:1]  # one entry for all dashed lines
    named = named if name_lines else []
    keys: dict[str, Any] = {
        line.name: Line2D([], [], color=line.colour, linestyle=line.dash, linewidth=line.width) for line in named
    }
    for line in lines:
        if line.band and (points := np.isfinite(line.values("low")).sum()):
            bar = Line2D([], [], color=line.colour, linestyle="", marker="|", markersize=9)
            if points > 1 or line.band not in keys:
                keys[line.band] = bar if points == 1 else Patch(color=style.GREY, alpha=0.3, linewidth=0)
    if keys:
        figure.legend(list(keys.values()), list(keys), loc="outside lower left", fontsize=None if named else 8.5)
