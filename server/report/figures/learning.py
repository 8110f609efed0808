"""Pictures of how the model came about: accuracy and drift, round by round."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from core.curves import Point
from server.record import Report
from server.report.figures import style
from server.report.figures.formatting import gap, is_finite, listed, number, percent, sentence
from server.report.figures.lines import COLUMNS, Dash, Line, panels
from server.report.figures.picture import Curves, Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BASELINES: dict[str, tuple[str, Dash]] = {
    "centralized": (style.INK, "--"), "fedavg": (style.GREEN, "--"), "local": (style.ORANGE, ":"),
    "joint": (style.GREY, "-."),
}  # fmt: skip

MEANINGS = {
    "centralized": "the same model trained on everybody's data in one place",
    "fedavg": "the same federation with plain FedAvg",
    "local": "the mean of clients that train alone, from the worst to the best of them",
    "joint": "a federation whose clients keep all that they met",
}


def accuracy(report: Report) -> Picture | None:
    """Accuracy, round by round

    Share of test images read right after each round, and for the training examples it took; on a logarithmic axis equal
    steps up are equal cuts of the error.
    """
    rounds = [row.point for row in report.history if is_finite(row.accuracy)]
    if not rounds:
        return None
    lines = [Line("federated", style.BLUE, rounds, width=2.4)]
    for name, (colour, dash) in BASELINES.items():
        points = report.curves.get(name) or [Point(report.baselines.get(name, float("nan")))]
        if any(is_finite(point.accuracy) for point in points):
            band = "local: bar from the worst client alone to the best" if name == "local" else ""
            lines.append(Line(name, colour, points, dash, 1.6, band=band))
    title = _finding(lines, report.diverged)
    rows = [row for line in lines for row in line.rows()]
    beside = "; ".join(f"{line.name} is {MEANINGS[line.name]}" for line in lines[1:])
    return Picture(
        title,
        _curves(lines, title),
        partial(panels, title, lines),
        COLUMNS,
        rows,
        Curves(lines),
        f"{sentence(beside)}." if beside else "",
    )


def _curves(lines: list[Line], title: str) -> str:
    """The picture in words."""
    first = lines[0].points[0]
    ends = [f"{line.name} {percent(line.last)}{_between(line)}" for line in lines]
    return (
        f"Curves of test accuracy over rounds and over gradient examples. {title}. "
        f"After round {first.round}: {percent(first.accuracy)}. At the end: {listed(ends)}."
    )


def _between(line: Line) -> str:
    end = line.points[-1]
    return f" (from {percent(end.low)} to {percent(end.high)})" if line.band and is_finite(end.low) else ""


def _finding(lines: list[Line], diverged: Mapping[str, str]) -> str:
    """What everything ends with; a training that broke is named as one, not compared in silence."""
    federated = lines[0].last
    broken = {line.name: ", which diverged" if line.name in diverged else "" for line in lines}
    others = [f"{gap(federated, line.last)} {line.name}{broken[line.name]}" for line in lines[1:]]
    if broken["federated"]:
        return f"Federated training diverged and ends at {percent(federated)}" + "".join(f", {one}" for one in others)
    return ": ".join([f"Federated reaches {percent(federated)}", ", ".join(others)][: 1 + bool(others)])


def drift(report: Report) -> Picture | None:
    """How far clients pull apart

    Each dot is how far one client's own training moved the weights from the global ones it was given, and the line is
    the round's median: clients with unusual data stand out.
    """
    dots = [
        (row.round, value, client) for row in report.history for client, value in row.drift.items() if is_finite(value)
    ]
    if not dots:
        return None
    x, y = np.array([d[0] for d in dots], float), np.array([d[1] for d in dots], float)
    rounds = np.unique(x)
    medians = np.array([np.median(y[x == number]) for number in rounds])
    title, far = _settling(rounds, medians), dots[int(np.argmax(y))]
    alt = f"A dot for each client and round, and a line through the medians. {title}. "
    alt += f"The farthest is client {far[2]} in round {far[0]}: {_rounded(100 * far[1])} %."
    unit = "(share of the global weights' norm)"
    columns = ("round", "client", f"distance {unit}", f"median of the round {unit}")
    median = dict(zip(rounds, medians, strict=True))
    rows = [(number, client, value, median[number]) for number, value, client in dots]
    falls = "the rate falls and " * (report.settings.schedule.name != "constant")
    draw = partial(_dots, title, x, y, rounds, medians, far)
    return Picture(title, alt, draw, columns, rows, reading=f"Dots sink as {falls}the model settles.")


def _dots(
    title: str, x: np.ndarray, y: np.ndarray, rounds: np.ndarray, medians: np.ndarray, far: tuple[int, float, int]
) -> Figure:
    figure = style.figure(7.6, 3.9, title)
    axes = figure.subplots()
    axes.scatter(x, 100 * y, s=16, color=style.SKY, edgecolors="none", alpha=0.75)
    axes.plot(rounds, 100 * medians, color=style.BLUE, marker="o" if len(rounds) <= 25 else None)
    number, most, client = far
    axes.annotate(f"client {client}", (number, 100 * most), (6, 0), textcoords="offset points", color=style.GREY)
    axes.set_ylim(0, 108 * most or 1)
    style.label_ends(axes, [(100 * medians[-1], "median", style.BLUE)])
    axes.set_ylabel("Distance from the global weights\n(% of their norm)")
    style.rounds_axis(axes, rounds)
    axes.grid(axis="y")
    return figure


def _rounded(percent: float) -> str:
    """With one digit after the point, or with two significant ones where that would be 0.0."""
    return number(percent, 1) if percent >= 0.1 else f"{percent:.2g}"


def _settling(rounds: np.ndarray, medians: np.ndarray) -> str:
    ends = [
        f"{_rounded(100 * float(medians[i]))} % in round {rounds[i]:.0f}" for i in ([0, -1] if len(rounds) > 1 else [0])
    ]
    return f"Clients move the weights by {', by '.join(ends)} (median)"
