"""The picture of what joining brings: each client alone, against all together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from server.plots import paper, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def alone(report: Mapping[str, Any]) -> Figure | None:
    """What joining brings

    Each dot is a client that trained on nothing but its own images, judged on the whole test set with digits it may
    never have seen; lines are the models that learned from everybody, judged on the same.
    """
    shares = {i: share for i, share in enumerate(report.get("local_accuracies") or []) if words.known(share)}
    sizes = {shard["client"]: shard.get("examples") for shard in report.get("shards", [])}
    there = [client for client in shares if sizes.get(client)]
    if not there or not words.known(report.get("accuracy")):
        return None
    y = np.array([shares[client] for client in there])
    joined = report["accuracy"]
    gained = int((y < joined).sum())
    title = f"Joining helps {gained} of {words.some(len(there), 'client')}: alone they reach {_range(y)}"
    figure = paper.figure(7.2, 3.9, title)
    axes = figure.subplots()
    axes.scatter([sizes[client] for client in there], 100 * y, s=28, color=paper.ORANGE, alpha=0.85, edgecolors="white")
    lines = {"federated": (joined, paper.BLUE, "-")}
    lines["centralized"] = (report.get("baselines", {}).get("centralized"), paper.INK, "--")
    lines = {name: line for name, line in lines.items() if words.known(line[0])}
    for share, colour, dash in lines.values():
        axes.axhline(100 * share, color=colour, linestyle=dash, linewidth=1.6)
    paper.accuracy_axis(axes, [*y, *[line[0] for line in lines.values()]])
    paper.label_ends(axes, [(100 * s, f"{100 * s:.2f} {name}", colour) for name, (s, colour, _) in lines.items()])
    axes.set_xlabel("Training images of the client")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    return figure


def _range(shares: np.ndarray) -> str:
    return f"{words.percent(float(shares.min()), 1)} to {words.percent(float(shares.max()), 1)}"
