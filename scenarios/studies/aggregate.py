"""What finished runs come to: mean and deviation over seeds, a line a method, memory, skew and pace; and the table of it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.metrics import behind
from scenarios.studies.split_mnist import ALPHAS, PACES, SPLIT, Cell
from server import record, run_folder
from server.record import Continual, Report
from server.report.figures.results import Spread, spread


@dataclass(frozen=True)
class Line:
    """A method with a memory, skew and pace, over its seeds. Mean and standard deviation are in points."""

    method: str
    images: int  # that a client may keep; 0 where the method keeps none
    alpha: float
    pace: str
    seeds: tuple[int, ...]
    accuracy: Spread
    forgetting: Spread
    incremental: Spread
    intransigence: Spread | None
    memory_bytes: int  # the most that a client kept
    megabytes_received: float  # by the server, mean over seeds


def results(wanted: Sequence[Cell], runs: Path) -> dict[Cell, Report]:
    """What is finished of it: its scenario must be the one that is wanted, not one of an older protocol."""
    found = {}
    for cell in wanted:
        if (runs / cell.name / run_folder.REPORT).exists():
            report = record.load(runs / cell.name)
            if report.settings == cell.scenario():
                found[cell] = report
    return found


def summary(found: Mapping[Cell, Report]) -> list[Line]:
    """A line for each method, memory, skew and pace."""
    groups: dict[tuple[str, int, float, str], dict[int, Report]] = {}
    for cell, report in found.items():
        groups.setdefault((cell.row, cell.images, cell.alpha, cell.pace), {})[cell.seed] = report
    lines = []
    for (row, images, alpha, pace), seeds in groups.items():
        staged = {seed: report.continual for seed, report in seeds.items() if report.continual}
        joint = groups.get(("joint", 0, alpha, pace), {}) if row != "joint" else {}
        gaps = [_behind(one, joint[seed]) for seed, one in staged.items() if seed in joint]
        measures = [one.measures for one in staged.values()]
        lines.append(
            Line(
                row, images, alpha, pace, tuple(sorted(seeds)),
                accuracy=_points([report.accuracy or 0.0 for report in seeds.values()]),
                forgetting=_points([one.forgetting for one in measures]),
                incremental=_points([one.incremental_accuracy for one in measures]),
                intransigence=_points(gaps) if gaps else None,
                memory_bytes=max(one.memory_bytes for one in staged.values()),
                megabytes_received=statistics.mean(one.megabytes.received for one in staged.values()),
            )
        )  # fmt: skip
    return lines


def _behind(one: Continual, joint: Report) -> float:
    return behind(one.matrix, one.stages, joint.continual.matrix if joint.continual else ())


def _points(shares: Sequence[float]) -> Spread:
    """Mean and standard deviation in points (server.report.figures.results.spread); there is at least one."""
    found = spread([100 * share for share in shares])
    assert found
    return found


def grid(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a row a method and memory, a column a pace and skew; accuracy ± deviation, and what was forgotten."""
    columns = [
        (pace, alpha)
        for pace in PACES
        for alpha in ALPHAS
        if any((one.pace, one.alpha) == (pace, alpha) for one in lines)
    ]
    head = ["method", "memory a client", *(f"{pace}, Dirichlet {alpha:g}" for pace, alpha in columns)]
    rows = []
    order = list(SPLIT)
    for row, images in sorted({(one.method, one.images) for one in lines}, key=lambda k: (order.index(k[0]), k[1])):
        mine = [one for one in lines if (one.method, one.images) == (row, images)]
        line = [next((one for one in mine if (one.pace, one.alpha) == column), None) for column in columns]
        memory = f"{max(one.memory_bytes for one in mine) / 1000:,.0f} kB"
        rows.append([f"{row}, {images} images" if images else row, memory, *map(_shown, line)])
    return head, rows


def _shown(one: Line | None) -> str:
    if one is None:
        return "–"
    (mean, deviation), (lost, _) = one.accuracy, one.forgetting
    spread = "" if deviation is None else f" ± {deviation:.1f}"
    return f"{mean:.1f}{spread} / {lost:.1f} ({len(one.seeds)})"


def shares(one: Line) -> Spread:
    """Mean and deviation of the accuracy, 0 … 1; None for the deviation of one seed."""
    mean, deviation = one.accuracy
    return mean / 100, None if deviation is None else deviation / 100


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table as README files take it."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
