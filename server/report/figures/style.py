"""How our pictures look: one style, one palette, one accuracy axis, one way to render.

Colours: Okabe and Ito (2008), Color Universal Design, told apart by colour-blind readers; lines also differ in dashes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.disk import placed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

BLUE, ORANGE, GREEN, PINK, SKY, GOLD = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
INK, GREY, PALE = "#222222", "#6E6E6E", "#E4E4E4"
PALETTE = (BLUE, ORANGE, GREEN, PINK, GOLD, SKY, INK)
DPI = 170
LINE = 1.25  # height of a line of text, times the size of its letters
MARKS = 9  # numbers that fit side by side below an axis
LINES = 22  # numbers above each other, at most
TICKS = (0, 20, 40, 60, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.99)  # accuracy, %
IN_NINES = ", logarithmic in the error"  # behind what such an axis shows
LEAST = 0.005  # error, %, that such an axis shows: 100 % is drawn at 99.995 %
STYLE: dict[Any, Any] = {
    "font.size": 9.5, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.labelcolor": GREY, "text.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "xtick.color": GREY,
    "ytick.color": GREY, "axes.grid": False, "grid.color": PALE, "grid.linewidth": 0.8, "axes.axisbelow": True,
    "lines.linewidth": 1.8, "lines.markersize": 4, "legend.frameon": False, "figure.facecolor": "white",
    "savefig.facecolor": "white", "image.interpolation": "nearest", "figure.constrained_layout.w_pad": 0.1,
    "figure.constrained_layout.h_pad": 0.1, "text.parse_math": False,  # a $ in a name is a $
    "svg.fonttype": "path", "svg.hashsalt": "figure",  # letters as they are here, the same bytes every time
}  # fmt: skip


@contextmanager
def applied() -> Iterator[None]:
    """Our style inside the block, whatever the user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def figure(width: float, height: float, title: str) -> Figure:
    """An empty figure, inches, whose title says the finding."""
    from matplotlib.figure import Figure

    wrapped = textwrap.fill(title, int(width * 10))  # about ten letters an inch at this size
    blank = Figure((width, height + 0.2 * wrapped.count("\n")), layout="constrained")
    blank.suptitle(wrapped, x=0.015, ha="left", fontsize=12, fontweight="bold")
    return blank


def render(picture: Figure, path: Path) -> Path:
    """Write the PNG, and the same drawing as SVG beside it. Equal figures give equal bytes: no date, no version inside."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from PIL import Image

    canvas = FigureCanvasAgg(picture)
    picture.set_dpi(DPI)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    image = Image.fromarray(pixels).convert("RGB")
    with placed(path) as file:
        image.quantize(256, dither=Image.Dither.NONE).save(file, format="png", optimize=True, dpi=(DPI, DPI))
    with placed(path.with_suffix(".svg")) as file:
        FigureCanvasSVG(picture).print_svg(file, metadata={"Date": None, "Creator": None})
    return path


def fits(labels: Sequence[str], size: float, width: float = 8.1) -> bool:
    """Have these labels room beside one another below an axis? size: of their letters, points; width: of the axis, inches."""
    return len(labels) * (0.0084 * size * max(map(len, labels), default=0) + 0.03) <= width


def number_clients(axes: Axes, clients: Sequence[int], large: int = 25, most: int = 40, width: float = 8.1) -> bool:
    """Write clients' numbers below the axis, the first at 0, if there is room for them. Returns whether there is.

    large: up to how many in large letters; most: how many at all; width: of the axis, inches.
    """
    numbers, size = [str(client) for client in clients], 9.5 if len(clients) <= large else 7
    shown = len(numbers) <= most and fits(numbers, size, width)
    axes.set_xticks(range(len(numbers)) if shown else [], numbers if shown else [])
    axes.tick_params(axis="x", labelsize=size)
    return shown


def rounds_axis(axes: Axes, rounds: np.ndarray) -> None:
    """Scale the x-axis to these round numbers, whole ones only."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("Round")
    if np.isfinite(rounds).any():
        first, last = np.nanmin(rounds), np.nanmax(rounds)
        axes.set_xlim(first - 0.03 * (last - first) - 0.4, last + 0.03 * (last - first) + 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def accuracy_axis(
    axes: Axes, shares: Any, head: str = "Test accuracy (%)", across: bool = False, of_clients: bool = False
) -> None:
    """Scale the y-axis, in percent, to these accuracies: linear, or logarithmic in the error once any reaches 90 %.

    So 98 → 99 % takes as much room as 80 → 90 %: both halve the error. The axis still shows accuracy. head: what it shows;
    across: scale the x-axis. of_clients: a dot each, not curves, which all begin low; so it is linear, if any is below 60 %: one
    client that reads everything would press the others into a corner.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    values = 100 * np.asarray(shares, float)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    axis, limit = (axes.xaxis, axes.set_xlim) if across else (axes.yaxis, axes.set_ylim)
    axes.grid(axis="x" if across else "y")
    axis.set_label_text(head)
    if not in_nines(shares) or (of_clients and low < 60):
        limit(max(0, low - 5), min(101 if of_clients else 100, high + 5))  # a dot at 100 % is drawn whole
        return
    (axes.set_xscale if across else axes.set_yscale)("function", functions=(_nines, _accuracy))
    top = _nines(high) + 0.06
    bottom = min(_nines(low) - 0.06, top - 0.4)  # a factor of 2.5 in the error at least: a tick, wherever it lies
    ends = limit(float(_accuracy(bottom)), float(_accuracy(top)))
    # Numbers side by side need more room than numbers above each other.
    ticks = _ticks(ends, (top - bottom) / (MARKS if across else LINES))
    if len(ticks) < 2:  # so short an axis is nearly linear
        ticks = [tick for tick in MaxNLocator(4, steps=(1, 2, 5, 10)).tick_values(*ends) if 100 - tick >= LEAST]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_label_text(head + IN_NINES)


def _ticks(ends: tuple[float, float], distance: float) -> list[float]:
    """The TICKS between these ends, the highest first, each at least this distance, in nines, from the one before."""
    ticks: list[float] = []
    for tick in reversed(TICKS):
        if ends[0] <= tick <= ends[1] and (not ticks or _nines(ticks[-1]) - _nines(tick) >= distance):
            ticks.append(tick)
    return ticks


def in_nines(shares: Any) -> bool:
    """Is the axis of these accuracies logarithmic in the error?"""
    return float(np.nanmax(np.asarray(shares, float))) >= 0.9


def _nines(percent: Any) -> Any:
    return -np.log10(np.maximum(100 - np.asarray(percent, float), LEAST))


def _accuracy(nines: Any) -> Any:
    return 100 - 10 ** -np.asarray(nines, float)


def label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write (y in data units, text, colour) at the right edge, level with y, moved apart where labels would collide.

    Labels find their positions whenever they are measured or drawn, so the axis may get its scale and limits after this.
    """
    # Letters of 9 points; fewer if so many lines do not fit into the axes, which take at least two thirds of the height.
    height = axes.figure.bbox.height / axes.figure.dpi  # inches
    letters = min(9.0, 48 * height / LINE / max(1, len(ends)))
    levels = [level for level, _, _ in ends]
    for i, (level, text, colour) in enumerate(ends):
        axes.annotate(
            text, (1.02, level), xycoords=partial(_beside, axes, levels, i, letters), annotation_clip=False,
            color=colour, va="center", fontsize=letters,
        )  # fmt: skip


def _beside(axes: Axes, levels: Sequence[float], i: int, letters: float, renderer: Any) -> Transform:
    """From (share of the axes' width, the i-th level) to pixels, as the axes are now. letters: their size, points."""
    from matplotlib.transforms import Affine2D

    axes.get_ylim()  # limits that wait for autoscaling exist once somebody asks for them
    to_share = axes.transScale + axes.transLimits
    wanted = [float(to_share.transform((axes.get_xlim()[1], level))[1]) for level in levels]
    line = LINE * letters / 72 * axes.figure.dpi / axes.bbox.height
    middle = spread(wanted, line, line / 2, 1 - line / 2)[i]
    return Affine2D().translate(0, middle - levels[i]) + axes.transAxes


def spread(wanted: Sequence[float], distance: float, low: float = 0.0, high: float = 1.0) -> list[float]:
    """The positions nearest to those wanted (least squares), in the same order, at least this distance apart, from low to high.

    Isotonic regression: once the distances are taken away, all that is left to ask is that no position lies below the one
    before; those that would are put at their mean (Barlow et al. 1972). If there are too many, the lowest leave at the bottom.
    """
    order, steps = np.argsort(wanted, kind="stable"), distance * np.arange(len(wanted))
    blocks: list[tuple[float, int]] = []  # mean, how many
    for value in np.asarray(wanted, float)[order] - steps:
        blocks.append((float(value), 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (one, n), (other, m) = blocks.pop(-2), blocks.pop()
            blocks.append(((n * one + m * other) / (n + m), n + m))
    means = np.repeat([mean for mean, _ in blocks], [count for _, count in blocks])
    result = np.empty(len(steps))
    result[order] = np.minimum(np.maximum(means, low), high - steps[-1:]) + steps
    return result.tolist()
