"""What finished runs come to: mean and deviation over seeds, a line a method, memory, skew and pace; and the table of it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.config.scenario import Scenario, typed
from core.metrics import behind
from core.safe_json import read_object
from scenarios.compare import Spread, spread
from scenarios.studies.split_mnist import ALPHAS, PACES, SPLIT, Cell

Facts = dict[str, Any]


def results(wanted: Sequence[Cell], runs: Path) -> dict[Cell, Facts]:
    """What is finished of it: its scenario must be the one that is wanted, not one of an older protocol."""
    found = {}
    for cell in wanted:
        file = runs / cell.name / "report.json"
        if file.exists():
            facts = read_object(file, "settings")
            if typed(f"settings in {file}", facts["settings"], Scenario) == cell.scenario():
                found[cell] = facts
    return found


def summary(found: Mapping[Cell, Facts]) -> list[Facts]:
    """A line for each method, memory, skew and pace: mean and standard deviation over seeds, in points."""
    groups: dict[tuple[str, int, float, str], dict[int, Facts]] = {}
    for cell, facts in found.items():
        groups.setdefault((cell.row, cell.images, cell.alpha, cell.pace), {})[cell.seed] = facts
    lines = []
    for (row, images, alpha, pace), seeds in groups.items():
        joint = groups.get(("joint", 0, alpha, pace), {})
        measures = [facts["continual"]["measures"] for facts in seeds.values()]
        others = joint if row != "joint" else {}
        gaps = [behind(one["continual"], others[s]["continual"]["matrix"]) for s, one in seeds.items() if s in others]
        lines.append({
            "method": row, "images": images, "alpha": alpha, "pace": pace, "seeds": sorted(seeds),
            "accuracy": _points([facts["accuracy"] for facts in seeds.values()]),
            "forgetting": _points([one["forgetting"] for one in measures]),
            "incremental": _points([one["incremental_accuracy"] for one in measures]),
            "intransigence": _points(gaps),
            "memory_bytes": max(facts["continual"]["memory_bytes"] for facts in seeds.values()),
            "megabytes_received": statistics.mean(facts["continual"]["megabytes"]["received"] for facts in seeds.values()),
        })  # fmt: skip
    return lines


def _points(shares: Sequence[float]) -> Spread | None:
    """[mean, standard deviation] in points (scenarios.compare.spread)."""
    return spread([100 * share for share in shares])


def grid(lines: Sequence[Facts]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a row a method and memory, a column a pace and skew; accuracy ± deviation, and what was forgotten."""
    columns = [(pace, alpha) for pace in PACES for alpha in ALPHAS if any(_at(lines, pace, alpha))]
    head = ["method", "memory a client", *(f"{pace}, Dirichlet {alpha:g}" for pace, alpha in columns)]
    rows = []
    order = list(SPLIT)
    for row, images in sorted(
        {(one["method"], one["images"]) for one in lines}, key=lambda k: (order.index(k[0]), k[1])
    ):
        mine = [one for one in lines if (one["method"], one["images"]) == (row, images)]
        line = [next((one for one in mine if (one["pace"], one["alpha"]) == column), None) for column in columns]
        memory = f"{max(one['memory_bytes'] for one in mine) / 1000:,.0f} kB"
        rows.append([f"{row}, {images} images" if images else row, memory, *map(_shown, line)])
    return head, rows


def _at(lines: Sequence[Facts], pace: str, alpha: float) -> list[Facts]:
    return [one for one in lines if (one["pace"], one["alpha"]) == (pace, alpha)]


def _shown(one: Facts | None) -> str:
    if one is None:
        return "–"
    accuracy, lost = one["accuracy"], one["forgetting"]
    deviation = "" if accuracy[1] is None else f" ± {accuracy[1]:.1f}"
    return f"{accuracy[0]:.1f}{deviation} / {lost[0]:.1f} ({len(one['seeds'])})"


def shares(one: Facts) -> tuple[float, float | None]:
    """Mean and deviation of the accuracy, 0 … 1; None for the deviation of one seed."""
    mean, deviation = one["accuracy"]
    return mean / 100, None if deviation is None else deviation / 100


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table as README files take it."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
