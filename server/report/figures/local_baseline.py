"""The picture of what joining brings: each client alone, against all together, on its own digits and on all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from server.record import Report
from server.report.figures import formatting, style
from server.report.figures.picture import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Client:
    """One client's own model and the global one, as shares of test images read right; None where it was not measured."""

    number: int
    examples: int
    alone: float | None  # its own model, on its own digits: test images in its own mix, as it sees them
    joined: float | None  # the global model, on the same images
    everywhere: float | None  # its own model, on the whole test set
    tested: int = 0  # its test images in its own mix

    def gains(self) -> int:
        """Is the global model clearly better on them (1), clearly worse (−1), or neither (0)?

        By a hundredth of them at least, and by twice the standard error of a difference of two such shares: of 200 images two
        models that are equally good differ by more than two in most cases.
        """
        if self.alone is None or self.joined is None or not self.tested:
            return 0
        variance = sum(share * (1 - share) for share in (self.alone, self.joined)) / self.tested
        difference = self.joined - self.alone
        return int(np.sign(difference)) if abs(difference) >= max(CLEAR, 2 * variance**0.5) else 0


def own_models(report: Report) -> list[Client]:
    """The clients that tested the global model and have a model of their own, from fewest to most training images."""
    clients = []
    for shard in report.shards:
        own, everywhere = (
            _share(report.local_own_accuracies, shard.client),
            _share(report.local_accuracies, shard.client),
        )
        if shard.examples and not (own is None and everywhere is None):
            clients.append(Client(shard.client, shard.examples, own, shard.accuracy, everywhere, shard.tested))
    return sorted(clients, key=lambda one: (one.examples, one.number))


def _share(shares: Sequence[float | None], i: int) -> float | None:
    return shares[i] if i < len(shares) else None


def on_own_digits(report: Report) -> list[tuple[float, float]]:
    """(alone, together) of each client whose own model and the global one were tested on its own digits."""
    return [(one.alone, one.joined) for one in own_models(report) if one.alone is not None and one.joined is not None]


def joining(report: Report) -> str:
    """What is compared with a client's own model; where clients have personal models, too, it is not what they got by joining."""
    return "the global model" if any(shard.personal_accuracy is not None for shard in report.shards) else "joining"


def helped_and_harmed(report: Report) -> str:
    """How many of the clients with a model of their own joining clearly helps, and how many it harms, on their own digits."""
    clients = own_models(report)
    gained, lost = (sum(client.gains() == side for client in clients) for side in (1, -1))
    many = formatting.counted(len(on_own_digits(report)), "client")
    return f"{joining(report)} clearly helps {gained} of {many} and harms {lost}"


CLEAR = 0.01  # share of its test images by which a client is clearly better or worse off, at least


def alone(report: Report) -> Picture | None:
    """What joining brings

    Orange is a client's own model, trained on nothing but its own images. On the left it is tested on the client's own
    digits, in its own mix and as it sees them, and so is the global model (blue): that is what a client gains or loses by
    joining. On the right it is tested on all digits, also those that it may never have seen; lines are the models
    that learned from everybody, tested on the same.
    """
    clients, pairs = own_models(report), on_own_digits(report)
    if not clients or report.accuracy is None:
        return None
    title, joined = _finding(report, clients, pairs), _joined(report)
    others = [f"{name} {formatting.percent(share)}" for share, name, *_ in joined]
    everywhere = [client.everywhere for client in clients if client.everywhere is not None]
    alt = f"A dot for each of {formatting.counted(len(clients), 'client')}'s own models. {title}. On {report.everything}: "
    if everywhere:
        alt += f"own models from {formatting.percent(min(everywhere))} to {formatting.percent(max(everywhere))}; "
    alt += f"{formatting.listed(others)}."
    draw = partial(_alone, report, title, clients, bool(pairs))
    return Picture(title, alt, draw, COLUMNS, list(_rows(report, clients, joined)))


COLUMNS = ("model", "client", "training images", "tested on", "accuracy (share of test images)")
Joined = list[tuple[float, str, str, str]]  # accuracy on the whole test set, name, colour, dashes


def _rows(report: Report, clients: list[Client], joined: Joined) -> Iterator[tuple[Any, ...]]:
    own_digits, all_digits = f"its own {report.kinds}", report.everything
    for client in clients:
        results = (
            ("its own", own_digits, client.alone),
            ("global", own_digits, client.joined),
            ("its own", all_digits, client.everywhere),
        )
        yield from (
            (model, client.number, client.examples, on, share) for model, on, share in results if share is not None
        )
    yield from ((name, None, None, all_digits, share) for share, name, *_ in joined)


def _joined(report: Report) -> Joined:
    """The models that learned from everybody."""
    diverged = " (diverged)" if "centralized" in report.diverged else ""
    models = [
        (report.accuracy, "federated", style.BLUE, "-"),
        (report.baselines.get("centralized"), f"centralized{diverged}", style.INK, "--"),
    ]
    return [(share, name, colour, dash) for share, name, colour, dash in models if share is not None]


def _alone(report: Report, title: str, clients: list[Client], paired: bool) -> Figure:
    figure = style.figure(9.4, 4.1, title)
    panels = figure.subplots(1, 1 + paired, squeeze=False)[0]
    if paired:
        _own(panels[0], report, clients)
    _everywhere(panels[-1], report, clients)
    for axes in panels:
        axes.set_xlabel("Client, from fewest to most training images")
        style.number_clients(axes, [client.number for client in clients], large=12, most=25, width=8.1 / len(panels))
        axes.margins(x=0.04)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=2, fontsize=8.5)
    return figure


def _own(axes: Axes, report: Report, clients: list[Client]) -> None:
    """A stroke a client, from its own model to the global one."""
    y = np.array([[client.alone, client.joined] for client in clients], float).T
    x = np.arange(len(clients))
    axes.set_title(f"On the client's own {report.kinds}", loc="left", fontsize=9.5)
    axes.vlines(x, *(100 * y), color=style.PALE, linewidth=2, zorder=1)
    for shares, colour, name in zip(y, (style.ORANGE, style.BLUE), ("its own model", "the global model"), strict=True):
        axes.scatter(x, 100 * shares, s=28, color=colour, edgecolors="white", label=name, zorder=2)
    style.accuracy_axis(axes, y, of_clients=True)


def _everywhere(axes: Axes, report: Report, clients: list[Client]) -> None:
    """A dot a client, and a line for each model that learned from everybody."""
    y = np.array([client.everywhere for client in clients], float)
    axes.set_title(f"On {report.everything}", loc="left", fontsize=9.5)
    axes.scatter(range(len(clients)), 100 * y, s=28, color=style.ORANGE, edgecolors="white", label="its own model")
    lines = _joined(report)
    for share, _, colour, dash in lines:
        axes.axhline(100 * share, color=colour, linestyle=dash, linewidth=1.6)
    style.accuracy_axis(axes, [*y, *[line[0] for line in lines]], of_clients=True)
    style.label_ends(axes, [(100 * share, f"{100 * share:.2f} {name}", colour) for share, name, colour, _ in lines])


def _finding(report: Report, clients: list[Client], pairs: list[tuple[float, float]]) -> str:
    if not pairs:
        federated = report.accuracy or 0.0
        gained = sum(client.everywhere is not None and client.everywhere < federated for client in clients)
        return f"On {report.everything} joining helps {gained} of {formatting.counted(len(clients), 'client')}"
    means = [formatting.percent(fmean(shares), 1) for shares in zip(*pairs, strict=True)]
    helps = f"On its own {report.kinds} {helped_and_harmed(report)}"
    return f"{helps}: alone they read {means[0]} on average, together {means[1]}"
