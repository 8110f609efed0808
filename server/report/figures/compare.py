"""One picture over several runs: a line for each kind of run, a band over its seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from server.report.figures import style
from server.report.figures.formatting import flat, known, percent, some, span
from server.report.figures.lines import Line, panels

Report = Mapping[str, Any]
CENTRALIZED = "centralized training on the same data, in the same colour"


def compare(runs: Sequence[Report], folder: Path) -> Path:
    """Draw compare.png: mean test accuracy of runs that differ only by seed, with the range over their seeds.

    A thin dashed line of the same colour is their centralized baseline. Raises ValueError if no run has a round.
    """
    groups = grouped([run for run in runs if any(known(row.get("accuracy")) for row in run.get("history", []))])
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
        kind = json.dumps({**run.get("settings", {}), "name": run["scenario"], "seed": 0}, sort_keys=True)
        groups.setdefault(kind, []).append(run)
    named: dict[str, list[Report]] = {}
    for group in groups.values():
        scenario, own = group[0]["scenario"], flat(group[0].get("settings", {}))
        others = [flat(other[0].get("settings", {})) for other in groups.values() if other[0]["scenario"] == scenario]
        differs = [f"{k}={v}" for k, v in own.items() if k != "seed" and any(other.get(k) != v for other in others)]
        named[f"{', '.join([scenario, *differs])} ({some(len(group), 'seed')})"] = group
    return named


def _lines(name: str, group: Sequence[Report], index: int, band: str) -> list[Line]:
    colour = style.PALETTE[index % len(style.PALETTE)]
    lines = [Line(name, colour, mean([run["history"] for run in group]), marked=False, band=band)]
    curves = [run.get("curves", {}).get("centralized") or _level(run) for run in group]
    if curves := [curve for curve in curves if any(known(p.get("accuracy")) for p in curve)]:
        points = [{k: v for k, v in p.items() if k not in ("low", "high")} for p in mean(curves)]
        lines.append(Line(CENTRALIZED, colour, points, "--", 1.0, labelled=False))
    return lines


def _level(run: Report) -> list[dict[str, Any]]:
    return [{"accuracy": run.get("baselines", {}).get("centralized")}]


def mean(curves: Sequence[Sequence[Report]]) -> list[dict[str, float]]:
    """Curves of several seeds as one: the mean accuracy at each step, its range, and the mean of seen.

    A run that stopped early keeps its last model, so it is carried on at its last point.
    """
    curves = [[point for point in curve if known(point.get("accuracy"))] for curve in curves]
    steps = max(map(len, curves))
    points = []
    for step in range(steps):
        there = [curve[min(step, len(curve) - 1)] for curve in curves if curve]
        longest = max(curves, key=len)[step]
        shares = [point["accuracy"] for point in there]
        point = {"accuracy": float(np.mean(shares))}
        if len(shares) > 1:  # one seed has no range
            point |= {"low": min(shares), "high": max(shares)}
        if known(longest.get("round")):
            point["round"] = longest["round"]
        if seen := [p["seen"] for p in there if known(p.get("seen"))]:
            point["seen"] = float(np.mean(seen))
        points.append(point)
    return points
