"""The picture of personalization: each client's personal model beside the global one, on the client's own test images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from server.record import Report
from server.report.figures import formatting, style
from server.report.figures.formatting import percent
from server.report.figures.local_baseline import own_models
from server.report.figures.picture import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RIGHT = "accuracy (share of the client's test images)"
KINDS = {"personal": ("its personal model", style.GREEN), "joined": ("the global model", style.BLUE),
         "alone": ("trained alone", style.ORANGE)}  # fmt: skip


@dataclass(frozen=True)
class Client:
    """What serves one client, as shares of its own test images read right."""

    number: int
    personal: float  # the model that it keeps for itself, which the strategy gives it
    joined: float  # the global model
    alone: float | None  # a model trained on nothing but its own images, if there is that baseline


def clients(report: Report) -> list[Client]:
    """The clients that have a personal model and tested it, from the one that the global model serves worst."""
    alone = {one.number: one.alone for one in own_models(report)}
    found = [
        Client(shard.client, shard.personal_accuracy, shard.accuracy, alone.get(shard.client))
        for shard in report.shards
        if shard.personal_accuracy is not None and shard.accuracy is not None
    ]
    return sorted(found, key=lambda one: (one.joined, one.number))


def shares(served: Sequence[Client]) -> dict[str, list[float]]:
    """The accuracies of each kind of model, by its name in KINDS; those that every client has."""
    columns = {kind: [getattr(one, kind) for one in served] for kind in KINDS}
    return {kind: column for kind, column in columns.items() if column and None not in column}


def worst_tenth(accuracies: Sequence[float]) -> float:
    """Mean over the worst tenth of clients, at least one; each kind of model has its own."""
    return fmean(sorted(accuracies)[: math.ceil(len(accuracies) / 10)])


def personal(report: Report) -> Picture | None:
    """What a personal model brings each client

    Green is the model that a client keeps for itself, blue the global one, orange, if that baseline was run, a model
    trained on nothing but the client's own images. All are tested on test images as the client sees them, in its own mix.
    A stroke up from blue to green is what personalization brings; dashed lines are means over clients.
    """
    served = clients(report)
    if not served:
        return None
    accuracies = shares(served)
    title = _finding(accuracies)
    means = [
        f"{KINDS[kind][0]} {percent(fmean(each))}, worst tenth {percent(worst_tenth(each))}"
        for kind, each in accuracies.items()
    ]
    alt = f"A stroke for each of {formatting.counted(len(served), 'client')}, from the global model to its personal one. {title}. "
    alt += f"Means over clients: {'; '.join(means)}."
    rows = [(one.number, KINDS[kind][0], getattr(one, kind)) for one in served for kind in accuracies]
    return Picture(title, alt, partial(_personal, title, served, accuracies), ("client", "model", RIGHT), rows)


def _finding(accuracies: dict[str, list[float]]) -> str:
    personalized, joined = accuracies["personal"], accuracies["joined"]
    averages = (
        f"Personal models read {percent(fmean(personalized))} on average, the global one {percent(fmean(joined))}"
    )
    return f"{averages}; the worst tenth of clients {percent(worst_tenth(personalized))} and {percent(worst_tenth(joined))}"


def _personal(title: str, served: Sequence[Client], accuracies: dict[str, list[float]]) -> Figure:
    figure = style.figure(float(np.clip(3.5 + 0.33 * len(served), 7, 9.4)), 4.0, title)
    axes: Axes = figure.subplots()
    ranks = np.arange(len(served))
    personalized, joined = np.array(accuracies["personal"]), np.array(accuracies["joined"])
    axes.vlines(ranks, 100 * joined, 100 * personalized, color=style.PALE, linewidth=2, zorder=1)
    size = 30 if len(served) <= 40 else 12
    for kind, each in reversed(accuracies.items()):  # personal models are drawn last, above the others
        name, colour = KINDS[kind]
        offset = 0.2 * (kind == "alone")  # else hidden below the personal model, where both read all
        axes.scatter(
            ranks + offset, 100 * np.array(each), s=size, color=colour, edgecolors="white", linewidth=0.6, label=name,
            zorder=2, clip_on=False,
        )  # fmt: skip
        axes.axhline(100 * fmean(each), color=colour, linestyle="--", linewidth=1, zorder=0)
    axes.set(
        xlabel="Client, from the one that the global model serves worst", ylabel="Accuracy on its own test images (%)"
    )
    style.number_clients(axes, [one.number for one in served])
    axes.margins(x=0.03)
    axes.grid(axis="y")
    style.label_ends(
        axes, [(100 * fmean(each), f"mean {100 * fmean(each):.2f}", KINDS[k][1]) for k, each in accuracies.items()]
    )
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], loc="outside lower right", ncols=len(accuracies), fontsize=8.5)
    return figure
