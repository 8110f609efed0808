"""Pictures of how good the model is: for each client, and for each digit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from server.record import Report, Shard
from server.report.figures import formatting, style
from server.report.figures.formatting import listed, percent
from server.report.figures.picture import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def clients(report: Report) -> Picture | None:
    """How well it serves each client

    The finished global model on test images as each client sees them; a larger dot is a client with more training
    images, and bars are 95 % intervals for so many test images (Wilson 1927), so what overlaps widely may be equal.
    """
    tested = [(shard.accuracy, shard.client, shard) for shard in report.shards if shard.accuracy is not None]
    if not tested:
        return None
    tested = sorted(tested, key=lambda one: one[:2])
    shards, shares = [shard for *_, shard in tested], np.array([share for share, *_ in tested])
    low, high = wilson(shares, np.array([shard.tested or np.nan for shard in shards], float))
    title = _fairness(shards, shares) + report.asked
    best = f"The best served, client {shards[-1].client}, gets {percent(shares[-1])}. " if len(shards) > 1 else ""
    amount = formatting.counted(len(shards), "client")
    alt = f"A dot for each of {amount}, from worst to best, with a 95 % interval. {title}. {best}"
    unit = "(share of the client's test images)"
    columns = (
        "client",
        "training images",
        "test images",
        f"accuracy {unit}",
        f"95 % from {unit}",
        f"95 % to {unit}",
    )
    rows = [
        (shard.client, shard.examples, shard.tested, *ends)
        for shard, *ends in zip(shards, shares, low, high, strict=True)
    ]
    return Picture(title, alt.strip(), partial(_served, title, shards, shares, low, high), columns, rows)


def _served(title: str, shards: Sequence[Shard], shares: np.ndarray, low: np.ndarray, high: np.ndarray) -> Figure:
    sizes = np.array([shard.examples for shard in shards], float)
    ranks = np.arange(len(shards))
    figure = style.figure(float(np.clip(2.5 + 0.33 * len(shards), 7, 9.4)), 4.0, title)
    axes = figure.subplots()
    axes.vlines(ranks, 100 * low, 100 * high, color="#C9DDEC", linewidth=2.5 if len(shards) <= 40 else 1.5, zorder=1)
    colours = [style.ORANGE] + [style.BLUE] * (len(shards) - 1)
    areas = 12 + 110 * sizes / max(sizes.max(), 1)
    axes.scatter(ranks, 100 * shares, s=areas, c=colours, edgecolors="white", zorder=3)
    axes.axhline(100 * shares.mean(), color=style.INK, linestyle="--", linewidth=1)
    style.label_ends(axes, [(100 * shares.mean(), f"mean {100 * shares.mean():.2f}", style.INK)])
    _name(axes, shards, shares)
    _legend(figure, axes, sizes, areas)
    return figure


def wilson(shares: np.ndarray, counts: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """The interval in which the true share lies, for z = 1.96 in 95 of 100 cases: (low, high); NaN where count is."""
    middle = (shares + z * z / (2 * counts)) / (1 + z * z / counts)
    half = z / (1 + z * z / counts) * np.sqrt(shares * (1 - shares) / counts + (z / (2 * counts)) ** 2)
    return middle - half, middle + half


def _fairness(shards: Sequence[Shard], shares: np.ndarray) -> str:
    if len(shards) == 1:
        return f"Client {shards[0].client} gets {formatting.percent(float(shares[0]))} right"
    worst = f"client {shards[0].client}, gets {formatting.percent(float(shares[0]))}"
    return f"The worst served, {worst} right; the mean is {formatting.percent(float(shares.mean()))}"


def _name(axes: Axes, shards: Sequence[Shard], shares: np.ndarray) -> None:
    axes.set(xlabel="Client, from worst to best", ylabel="Accuracy on the client's test images (%)")
    axes.grid(axis="y")
    axes.margins(x=0.03)
    if style.number_clients(axes, [shard.client for shard in shards]):
        return
    ends = {0: (8, -3, "left"), len(shards) - 1: (0, 9, "right")}
    for rank, (right, up, side) in ends.items():
        at = (rank, 100 * shares[rank])
        name = f"client {shards[rank].client}"
        axes.annotate(name, at, (right, up), textcoords="offset points", ha=side, fontsize=8.5)


def _legend(figure: Figure, axes: Axes, sizes: np.ndarray, areas: np.ndarray) -> None:
    """The smallest and the largest dot, and what they stand for."""
    for count, area in sorted({(sizes.min(), areas.min()), (sizes.max(), areas.max())}):
        axes.scatter([], [], s=area, c=style.BLUE, label=f"{count:,.0f} training images")
    figure.legend(loc="outside lower right", ncols=2, fontsize=8.5)


def confusion(report: Report) -> Picture | None:
    """What it mixes up

    One row a true digit, one column what the model read: coloured cells are mistakes, stronger for more, and grey cells
    and the share on the right are what it read right.
    """
    counts = np.array(report.confusion, int)
    if counts.ndim != 2 or not counts.sum():
        return None
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    title = _mistakes(report, counts, wrong)
    names = [report.called(label) for label in range(len(counts))]
    right = [f"{name} {percent(row[i] / row.sum(), 1)}" for i, (name, row) in enumerate(zip(names, counts, strict=True))
             if row.sum()]  # fmt: skip
    kinds = report.kinds
    alt = f"A table of true {kinds} against what the model read. {title}. Read right of each: {listed(right)}."
    columns = (f"true {report.kind}", "read as", "test images")
    rows = [(names[true], names[read], count) for (true, read), count in np.ndenumerate(counts)]
    return Picture(title, alt, partial(_confusion, report, title, counts, wrong), columns, rows)


def _confusion(report: Report, title: str, counts: np.ndarray, wrong: np.ndarray) -> Figure:
    wider = 0.5 * (not report.numbers)
    figure = style.figure(6.6 + wider, 5.4 + wider, title)
    axes = figure.subplots()
    axes.imshow(np.ma.masked_equal(wrong, 0), cmap="Oranges", vmin=0, vmax=max(1, wrong.max()) * 1.15)
    for (true, read), count in np.ndenumerate(counts):
        _cell(axes, true, read, int(count), count > 0.6 * wrong.max())
    for digit, row in enumerate(counts):
        right = formatting.percent(row[digit] / row.sum(), 1) if row.sum() else formatting.NONE
        axes.text(len(counts) - 0.3, digit, right, va="center", color=style.GREY, fontsize=8.5)
    axes.text(len(counts) - 0.3, -0.85, "read right", va="center", color=style.GREY, fontsize=8.5)
    names = [report.called(label) for label in range(len(counts))]
    axes.set_xticks(range(len(counts)), names, rotation=0 if report.numbers else 90)
    axes.set_yticks(range(len(counts)), names)
    edges = np.arange(len(counts) + 1) - 0.5
    axes.hlines(edges, edges[0], edges[-1], color=style.PALE, linewidth=0.7, clip_on=False)
    axes.vlines(edges, edges[0], edges[-1], color=style.PALE, linewidth=0.7, clip_on=False)
    axes.set(xlabel="Read as", ylabel=f"True {report.kind}")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _cell(axes: Axes, true: int, read: int, count: int, dark: bool) -> None:
    from matplotlib.patches import Rectangle

    if true == read:
        axes.add_patch(Rectangle((read - 0.5, true - 0.5), 1, 1, facecolor=style.PALE))
    if count:
        colour = style.GREY if true == read else "white" if dark else style.INK
        axes.text(read, true, f"{count:,}", ha="center", va="center", fontsize=8.5, color=colour, in_layout=False)


def _mistakes(report: Report, counts: np.ndarray, wrong: np.ndarray) -> str:
    title = f"{wrong.sum():,} of {counts.sum():,} misread" + (", images as they are" if report.conditions else "")
    if not wrong.sum():
        return title
    true, read = np.unravel_index(np.argmax(wrong), wrong.shape)
    mistake = f"{_one(report, int(true))} as {_one(report, int(read))}"
    return f"{title}; most often {mistake} ({formatting.counted(int(wrong.max()), 'time')})"


def _one(report: Report, label: int) -> str:
    """One example of a class, in a sentence."""
    return f"a {label}" if report.numbers else f"“{report.called(label)}”"
