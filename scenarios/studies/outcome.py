"""What a study has come to so far: the settings that trials chose, the results of its cells, and which cell to run next."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from core.config.scenario import Scenario
from core.curves import finite
from scenarios.studies import results
from scenarios.studies.measures import MEASURES
from scenarios.studies.results import Result
from scenarios.studies.study import Cell, Changes, Study, Trial

Where = tuple[str, str]  # a row and a column
CELLS = "cells"  # the folder of all runs


@dataclass(frozen=True)
class Outcome:
    """Read anew from the disk by `outcome`."""

    study: Study
    trials: Mapping[Trial, Result]
    chosen: Mapping[Where, int]  # the point of a row's grid, where all of its trials are finished
    scenarios: Mapping[Cell, Scenario]  # of the cells whose settings are known
    results: Mapping[Cell, Result]

    def point(self, cell: Cell) -> Changes:
        """What tuning chose for a cell."""
        where = self.study.tuned_on(cell)
        return self.study.tuning.grid(cell.row)[self.chosen[where]] if self.study.tuning else ()

    def values(self, row: str, column: str, measure: str) -> dict[int, float]:
        """By seed, of the seeds that are finished and have it."""
        by_seed = {seed: self.results.get(Cell(row, column, seed)) for seed in self.study.seeds}
        read = {seed: MEASURES[measure].read(one) for seed, one in by_seed.items() if one}
        return {seed: value for seed, value in read.items() if finite(value)}

    def finished(self, row: str, column: str) -> tuple[int, ...]:
        """The seeds that are finished."""
        return tuple(seed for seed in self.study.seeds if Cell(row, column, seed) in self.results)

    @property
    def missing(self) -> list[Cell]:
        """The cells that are not finished."""
        return [cell for cell in self.study.cells() if cell not in self.results]


def outcome(study: Study, out: Path, code: str) -> Outcome:
    """What there is, of this very code."""
    trials = {trial: one for trial in study.trials() if (one := _load(out, study.scenario(trial), code))}
    chosen = dict(_chosen(study, trials))
    scenarios = {}
    for cell in study.cells():
        if not study.tuning:
            scenarios[cell] = study.scenario(cell)
        elif (where := study.tuned_on(cell)) in chosen:
            scenarios[cell] = study.scenario(cell, study.tuning.grid(cell.row)[chosen[where]])
    ended = {cell: one for cell, scenario in scenarios.items() if (one := _load(out, scenario, code))}
    return Outcome(study, trials, chosen, scenarios, ended)


def _load(out: Path, scenario: Scenario, code: str) -> Result | None:
    return results.load(results.folder(out / CELLS, scenario, code))


def _chosen(study: Study, trials: Mapping[Trial, Result]) -> Iterator[tuple[Where, int]]:
    """The best point of each row and column whose trials are all finished."""
    by_where: dict[Where, dict[int, list[Result | None]]] = {}
    for trial in study.trials():
        by_where.setdefault((trial.row, trial.column), {}).setdefault(trial.point, []).append(trials.get(trial))
    for where, points in by_where.items():
        if all(one for trial_results in points.values() for one in trial_results):
            scores = {point: score([one for one in trial_results if one]) for point, trial_results in points.items()}
            yield where, max(scores, key=lambda point: (*scores[point], -point))


def score(trial_results: Sequence[Result]) -> tuple[float, float]:
    """How good a point is, on validation images only: mean accuracy of the last weights; of equals, the lower mean loss.

    A run that ended without a finite loss read nothing; nor did one of whose replies none counted: its weights are the first ones.
    """
    losses = [
        one.validation_loss if finite(one.validation_loss) and _learned(one) else float("inf") for one in trial_results
    ]
    accuracies = [
        one.validation_accuracy or 0.0 if finite(loss) else 0.0 for one, loss in zip(trial_results, losses, strict=True)
    ]
    return statistics.mean(accuracies), -statistics.mean(losses)


def _learned(result: Result) -> bool:
    return not result.failures or any(point.seen for point in result.curve)


def in_turn(current: Outcome, started: Set[Cell], informative: bool = False) -> list[Cell]:
    """The cells that are neither finished nor started, the next one first.

    A seed of every cell after another. informative: the first two seeds of every cell so, then a further seed of that row and
    column whose place is least sure: where the standard error over seeds is largest against the distance to the column's best
    row, and for the best to the next.
    """
    open_ = [cell for cell in current.missing if cell not in started and cell in current.scenarios]
    if not informative:
        return open_
    order = {cell: i for i, cell in enumerate(open_)}
    first: dict[Where, Cell] = {}
    for cell in open_:
        first.setdefault((cell.row, cell.column), cell)
    begun = {*current.results, *started}
    counts = {where: sum((one.row, one.column) == where for one in begun) for where in first}

    def key(where: Where) -> tuple[float, float, int]:
        count, cell = counts[where], first[where]
        return (count, 0.0, order[cell]) if count < 2 else (2.0, -doubt(current, *where), order[cell])

    return [first[where] for where in sorted(first, key=key)]


def doubt(current: Outcome, row: str, column: str) -> float:
    """Standard error over seeds against the distance to the best; 0 while there are less than two seeds."""
    main = current.study.measures[0]
    by_row = {one: list(current.values(one, column, main).values()) for one in current.study.rows}
    values = by_row.pop(row)
    if len(values) < 2:
        return 0.0
    error = statistics.stdev(values) / len(values) ** 0.5
    sign = 1 if MEASURES[main].more else -1
    others = [sign * statistics.mean(one) for one in by_row.values() if one]
    gap = abs(sign * statistics.mean(values) - max(others)) if others else 0.0
    return error / gap if gap else float("inf") if error else 0.0
