"""Pictures of what clients have: which digits, how many, and how they look."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from server.record import Report, Shard
from server.report.figures import formatting, style
from server.report.figures.formatting import counted, number
from server.report.figures.picture import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURED = 20  # clients of whom images are shown, at most
COUNTED = 25  # clients up to which each cell shows its count


def labels(report: Report) -> Picture | None:
    """Who holds which digits

    One column a client: bars are how many training images it has, cells how many of each digit, stronger for more (by
    the square root, so that a few still show).
    """
    shards = [shard for shard in report.shards if any(shard.labels)]
    if not shards:
        return None
    counts = np.array([shard.labels for shard in shards])  # [clients, digits]
    title, sizes = _shares(report, counts), counts.sum(1)
    most, least = shards[int(sizes.argmax())], shards[int(sizes.argmin())]
    alt = f"A bar for each of {counted(len(shards), 'client')}, and below it a table of its {report.kinds}. {title}. "
    alt += f"The most has client {most.client}, {number(int(sizes.max()))}; "
    alt += f"the fewest client {least.client}, {number(int(sizes.min()))}."
    names = [report.called(label) for label in range(counts.shape[1])]
    columns = ("client", report.kind, "training images")
    rows = [(shards[i].client, names[label], count) for (i, label), count in np.ndenumerate(counts)]
    return Picture(title, alt, partial(_labels, report, title, shards, counts), columns, rows)


def _labels(report: Report, title: str, shards: Sequence[Shard], counts: np.ndarray) -> Figure:
    from matplotlib.colors import PowerNorm

    figure = style.figure(float(np.clip(2 + 0.37 * len(shards), 6.5, 9.4)), 4.7, title)
    top, heat = figure.subplots(2, 1, sharex=True, height_ratios=[1, 2.7])
    sizes = top.bar(np.arange(len(shards)), counts.sum(1), color=style.GREY, width=0.8)
    cells = heat.imshow(counts.T, aspect="auto", cmap="Blues", norm=PowerNorm(0.5, 0, counts.max()))
    heat.set_yticks(range(counts.shape[1]), [report.called(label) for label in range(counts.shape[1])])
    heat.set(xlabel="Client", ylabel=report.kind.capitalize())
    top.set_ylabel("Images")
    top.yaxis.set_major_formatter("{x:,.0f}")
    top.tick_params(bottom=False, labelbottom=False)
    numbers = [str(shard.client) for shard in shards]
    every = next(n for n in (1, 5, 10, 20, len(numbers)) if len(numbers) <= 40 * n and style.fits(numbers[::n], 9.5))
    heat.set_xticks(range(0, len(numbers), every), numbers[::every])
    if len(shards) <= COUNTED:
        top.bar_label(
            sizes, [formatting.number(int(n)) for n in counts.sum(1)], fontsize=7, color=style.GREY, padding=1
        )
        _write(heat, counts)
    else:
        bar = figure.colorbar(
            cells,
            ax=[top, heat],
            label=f"Images of the {report.kind}",
            pad=0.01,
            aspect=35,
        )
        bar.outline.set_visible(False)
    return figure


def _shares(report: Report, counts: np.ndarray) -> str:
    everybody, listed = report.settings.clients, len(counts)
    who = "Clients hold" if everybody > 1 else "The only client holds"
    who = who if listed >= everybody else f"The {listed} of {everybody:,} clients shown hold"
    digits = (counts > 0).sum(1).tolist()
    classes = f"{formatting.span(digits)} of the {counts.shape[1]} {report.kinds}"
    return f"{who} {formatting.span(counts.sum(1).tolist())} images and {classes}"


def _write(heat: Axes, counts: np.ndarray) -> None:
    for (client, digit), count in np.ndenumerate(counts):
        if count:
            dark = count > 0.36 * counts.max()
            text = f"{count:,}" if count < 10_000 else f"{count / 1000:.0f}k"
            look: dict[str, Any] = {
                "fontsize": 8 if len(counts) <= 12 else 6.5,
                "color": "white" if dark else style.INK,
            }
            heat.text(client, digit, text, ha="center", va="center", in_layout=False, **look)


def looks(report: Report, contact: np.ndarray | None = None) -> Picture | None:
    """What clients see

    One row a client: some of its own training images as its camera shows them, and what is particular to that camera,
    in training and in test.
    """
    # contact: uint8 [clients, k, height, width], of the first shards; without it there are words about it, no images.
    pictured = report.shards[: PICTURED if contact is None else len(contact)]
    if not pictured:
        return None
    images = np.zeros((len(pictured), 0, 1, 1), np.uint8) if contact is None else contact
    everybody = report.settings.clients
    rows = [(f"client {shard.client}", formatting.looks(shard.looks)) for shard in pictured]
    own_looks = any(formatting.looks(shard.looks) for shard in report.shards)
    title = f"Each client sees {report.kinds} in its own way" if own_looks else f"All clients see {report.kinds} alike"
    if everybody > len(rows):
        title += f" ({len(rows)} of {everybody:,} clients)"
    alt = f"Rows of training images, one a client, as its own camera shows them. {title}"
    descriptions = [f"{client}: {caption or 'plain'}" for client, caption in rows[:3]]
    alt += f". For example {'; '.join(descriptions)}." if own_looks else "."
    return Picture(title, alt, partial(_contact, title, images, rows))


def _contact(title: str, contact: np.ndarray, rows: Sequence[tuple[str, str]]) -> Figure:
    """rows: each client's name, and what is particular to its camera."""
    sheet = _sheet(contact)
    figure = style.figure(9.2, 0.8 + 0.42 * len(contact), title)
    axes = figure.subplots()
    axes.imshow(sheet, cmap="gray_r", vmin=0, vmax=255)
    axes.set_anchor("W")
    middles = [32 * row + 16 for row in range(len(rows))]
    axes.set_yticks(middles, [client for client, _ in rows])
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False)
    for middle, (_, caption) in zip(middles, rows, strict=True):
        axes.text(sheet.shape[1] + 6, middle, textwrap.fill(caption, 60), va="center", fontsize=7.5, color=style.GREY)
    return figure


def _sheet(contact: np.ndarray) -> np.ndarray:
    """All images on one sheet, two blank pixels around each: uint8 [clients · 32, k · 32]."""
    padded = np.pad(contact, ((0, 0), (0, 0), (2, 2), (2, 2)))
    clients, k, side, _ = padded.shape
    return padded.transpose(0, 2, 1, 3).reshape(clients * side, k * side)
