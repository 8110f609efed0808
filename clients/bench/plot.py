"""Accuracy against size and against latency, a mark a file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from clients.bench.measure import Measured
from core.packages import pip_install

MARKS = "osD^vP*Xh<>"
# Okabe and Ito's, without yellow
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
)


KINDS = (".png", ".svg", ".pdf")


def check(file: Path) -> None:
    """Raises ValueError, before anything is measured, if matplotlib or the folder is missing, or the name says no kind."""
    if file.suffix not in KINDS:
        raise ValueError(f"--plot {file} should end in {', '.join(KINDS)}")
    if not file.parent.is_dir():
        raise ValueError(f"--plot {file}: there is no folder {file.parent}")
    if find_spec("matplotlib") is None:
        raise ValueError(f"--plot needs matplotlib: {pip_install('matplotlib')}")


def plot(rows: Sequence[Measured], file: Path, size: float, accuracy: float) -> None:
    """Draw it as PNG, SVG or PDF, by the file's name. size: bytes, accuracy: 0 … 1: targets, drawn as lines."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for i, row in enumerate(rows):
        style = {"marker": MARKS[i % len(MARKS)], "color": COLOURS[i % len(COLOURS)], "linestyle": "none"}
        left.plot(row.bytes / 1000, 100 * row.accuracy, label=row.file, **style)
        right.plot(row.alone[0], 100 * row.accuracy, **style)
    left.axvline(size / 1000, color="0.6", linestyle=":")
    for axes, words in ((left, "size, kB"), (right, "one image, ms (median)")):
        axes.axhline(100 * accuracy, color="0.6", linestyle=":")
        axes.set(xscale="log", xlabel=words)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    left.set_ylabel("test accuracy, %")
    targets = f"dotted: this project's targets, at least {100 * accuracy:g} % and at most {size / 1000:,.0f} kB"
    figure.legend(loc="outside lower center", ncols=3, fontsize="small", title=targets, title_fontsize="small")
    figure.savefig(file, dpi=200)
