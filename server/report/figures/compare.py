"""One picture over several runs: a line for each kind of run, a band over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.curves import Point
from server.record import Report, plain
from server.report.figures import style
from server.report.figures.formatting import flat, known, percent, some, span
from server.report.figures.lines import Line, panels

CENTRALIZED = "centralized training on the same data, in the same colour"


def compare(runs: Sequence[Report], folder: Path) -> Path:
    """Draw compare.png: mean test accuracy of runs that differ only by seed, with the range over their seeds.

    A thin dashed line of the same colour is their centralized baseline. Raises ValueError if no run has a round.
    """
    groups = grouped([run for run in runs if any(known(row.accuracy) for row in run.history)])
    if not groups:
        raise ValueError(f"none of {some(len(runs), 'run')} has a finished round to compare")
    counts = [len(group) for group in groups.values() if len(group) > 1]
    band = f"band: lowest to highest of {span(counts)} seeds" if counts else ""
    lines = [line for i, (name, group) in enumerate(groups.items()) for line in _lines(name, group, i, band)]
    best = max((line for line in lines if line.labelled), key=lambda line: line.last)
    title = f"{best.name}, {percent(best.last)}"
    title = f"Best of {len(groups)}: {title}" if len(groups) > 1 else title
    folder.mkdir(parents=True, exist_ok=True)
    with style.applied():
        return style.save(panels(title, lines, legend=True), folder / "compare.png")


def grouped(runs: Sequence[Report]) -> dict[str, list[Report]]:
    """The runs by what they have in common but the seed, named by scenario and by the settings in which they differ."""
    groups: dict[str, list[Report]] = {}
    for run in runs:
        groups.setdefault(replace(run.settings, seed=0).json(), []).append(run)
    named: dict[str, list[Report]] = {}
    for group in groups.values():
        scenario, own = group[0].name, flat(plain(group[0].settings))
        others = [flat(plain(other[0].settings)) for other in groups.values() if other[0].name == scenario]
        differs = [f"{k}={v}" for k, v in own.items() if k != "seed" and any(other.get(k) != v for other in others)]
        named[f"{', '.join([scenario, *differs])} ({some(len(group), 'seed')})"] = group
    return named


def _lines(name: str, group: Sequence[Report], index: int, band: str) -> list[Line]:
    colour = style.PALETTE[index % len(style.PALETTE)]
    lines = [Line(name, colour, mean([[row.point for row in run.history] for run in group]), marked=False, band=band)]
    curves = [run.curves.get("centralized") or _level(run) for run in group]
    if curves := [curve for curve in curves if any(known(point.accuracy) for point in curve)]:
        points = [replace(point, low=None, high=None) for point in mean(curves)]
        lines.append(Line(CENTRALIZED, colour, points, "--", 1.0, labelled=False))
    return lines


def _level(run: Report) -> tuple[Point, ...]:
    return (Point(run.baselines.get("centralized", float("nan"))),)


def mean(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """Curves of several seeds as one: the mean accuracy at each step, its range, and the mean of seen.

    A run that stopped early keeps its last model, so it is carried on at its last point.
    """
    curves = [[point for point in curve if known(point.accuracy)] for curve in curves]
    steps = max(map(len, curves))
    points = []
    for step in range(steps):
        there = [curve[min(step, len(curve) - 1)] for curve in curves if curve]
        longest = max(curves, key=len)[step]
        shares = [point.accuracy for point in there]
        low, high = (min(shares), max(shares)) if len(shares) > 1 else (None, None)  # one seed has no range
        seen = [point.seen for point in there if known(point.seen)]
        average = float(np.mean(seen)) if seen else None
        points.append(Point(float(np.mean(shares)), longest.round, seen=average, low=low, high=high))
    return points
