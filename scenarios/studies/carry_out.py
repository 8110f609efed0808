"""A study carried out: trials first, then cells; what is finished is never run again, and time may be limited."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from core.config.scenario import Scenario
from scenarios.studies import estimate, results
from scenarios.studies.estimate import FIRST, Estimates
from scenarios.studies.one_run import DONE, swept
from scenarios.studies.outcome import CELLS, Outcome, in_turn, outcome
from scenarios.studies.pool import Ended, Job, Pool
from scenarios.studies.study import Cell, Study, Trial

T = TypeVar("T", Cell, Trial)


@dataclass(frozen=True)
class Work:
    """A study in its folder, with the code of now."""

    study: Study
    out: Path
    code: str = field(default_factory=results.code)

    def folder(self, scenario: Scenario) -> Path:
        """Where a run of this scenario works."""
        return results.folder(self.out / CELLS, scenario, self.code)

    def outcome(self) -> Outcome:
        """What there is so far."""
        return outcome(self.study, self.out, self.code)

    def trials(self) -> dict[Path, tuple[Scenario, list[Trial]]]:
        """The runs of the trials. Trials of equal settings are one run."""
        return self._runs((trial, self.study.scenario(trial)) for trial in self.study.trials())

    def cells(self, current: Outcome) -> dict[Path, tuple[Scenario, list[Cell]]]:
        """The runs of the cells; where tuning has not chosen yet, with the first point of the row's grid."""
        tuning = self.study.tuning
        return self._runs(
            (cell, current.scenarios.get(cell) or self.study.scenario(cell, tuning.grid(cell.row)[0] if tuning else ()))
            for cell in self.study.cells()
        )

    def _runs(self, entries: Iterable[tuple[T, Scenario]]) -> dict[Path, tuple[Scenario, list[T]]]:
        runs: dict[Path, tuple[Scenario, list[T]]] = {}
        for entry, scenario in entries:
            runs.setdefault(self.folder(scenario), (scenario, []))[1].append(entry)
        return runs


@dataclass(frozen=True)
class Plan:
    """What is left to do."""

    cells: int
    cells_finished: int
    trials: int
    trials_finished: int
    processor: float | None  # seconds of all runs that are left; None: for some of them there is no estimate
    longest: float  # processor seconds of the longest of them
    estimates: Estimates

    def wall(self, workers: int) -> float:
        """Seconds, if that many cores are free: runs are not divided."""
        at_once = max(1, min(workers, os.cpu_count() or 1))
        return self.estimates.pace * max((self.processor or 0.0) / at_once, self.longest)


def plan(work: Work) -> Plan:
    """From what is on the disk; runs nothing."""
    current = work.outcome()
    trials, cells = work.trials(), work.cells(current)
    runs = {folder: scenario for folder, (scenario, _) in [*trials.items(), *cells.items()]}
    estimates = estimate.estimates(runs)
    costs = [estimates.of(scenario) for folder, scenario in runs.items() if not results.load(folder)]
    known_costs = [cost for cost in costs if cost is not None]
    trials_finished = sum(len(entries) for folder, (_, entries) in trials.items() if results.load(folder))
    trials_count = sum(len(entries) for _, entries in trials.values())
    total = sum(known_costs) if len(known_costs) == len(costs) else None
    return Plan(
        len(work.study.cells()),
        len(current.results),
        trials_count,
        trials_finished,
        total,
        max(known_costs, default=0.0),
        estimates,
    )


def unseen(work: Work) -> dict[Path, Scenario]:
    """One run of each kind that nothing is known of."""
    runs = {folder: scenario for folder, (scenario, _) in work.trials().items()}
    runs |= {folder: scenario for folder, (scenario, _) in work.cells(work.outcome()).items()}
    return {work.folder(one): one for one in estimate.estimates(runs).missing(list(runs.values()))}


def timed(work: Work, pool: Pool) -> Generator[Ended, None, None]:
    """Run the first rounds of a run of each kind that nothing is known of. They are not lost: its run goes on from them."""
    yield from pool.fill(_in_order(unseen(work)), work.code, FIRST)


def carried_out(work: Work, pool: Pool, minutes: float | None) -> Iterator[tuple[Ended, Sequence[Cell | Trial]]]:
    """Run all that is not finished; yield each as it ends, with its cells or trials. minutes: start none that would end later."""
    deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
    trials, cells = work.trials(), work.cells(work.outcome())
    failed = set[Path]()
    if minutes is not None:
        entries: dict[Path, Sequence[Cell | Trial]] = {folder: found for folder, (_, found) in cells.items()}
        entries |= {folder: found for folder, (_, found) in trials.items()}
        with closing(timed(work, pool)) as first:
            for ended in first:
                if time.monotonic() > deadline:
                    return
                if ended.state == "failed":
                    failed.add(ended.folder)
                    yield ended, entries[ended.folder]
    for folder in [*trials, *cells]:
        if results.load(folder):
            swept(folder)  # what was killed just when it was finished
    fits_now = _fitting(work, deadline)

    def fits(scenario: Scenario) -> bool:
        return fits_now()(scenario)

    trial_runs = {folder: scenario for folder, (scenario, _) in trials.items()}
    for ended in pool.fill(_in_order(trial_runs, fits_now), work.code, but=failed, fits=fits):
        yield ended, trials[ended.folder][1]
    by_folder = {folder: cells for folder, (_, cells) in work.cells(work.outcome()).items()}
    for ended in pool.fill(_next_cell(work, fits_now, minutes is not None), work.code, but=failed, fits=fits):
        yield ended, by_folder.get(ended.folder, [])


Fits = Callable[[Scenario], bool]


def _fitting(work: Work, deadline: float) -> Callable[[], Fits]:
    """A function that makes a test from what is known when it is called: would a run that starts then end in time?"""

    def fits_now() -> Fits:
        if math.isinf(deadline):
            return lambda scenario: True
        runs = {folder: one for folder, (one, _) in [*work.trials().items(), *work.cells(work.outcome()).items()]}
        estimates, seconds_left = estimate.estimates(runs), deadline - time.monotonic()
        return lambda scenario: estimates.pace * (estimates.of(scenario) or 0.0) < seconds_left

    return fits_now


def _in_order(
    runs: Mapping[Path, Scenario], fits_now: Callable[[], Fits] | None = None
) -> Callable[[set[Path]], Job | None]:
    """The first that is neither started nor finished, and fits."""

    def choose(started: set[Path]) -> Job | None:
        open_ = [job for job in runs.items() if job[0] not in started and not results.load(job[0])]
        fits = fits_now() if fits_now and open_ else lambda scenario: True
        return next((job for job in open_ if fits(job[1])), None)

    return choose


def _next_cell(work: Work, fits_now: Callable[[], Fits], informative: bool) -> Callable[[set[Path]], Job | None]:
    """The next cell by `in_turn`."""
    start = work.outcome()

    def choose(started: set[Path]) -> Job | None:
        current = work.outcome() if informative else start
        folders = {cell: work.folder(scenario) for cell, scenario in current.scenarios.items()}
        started_cells = {cell for cell, folder in folders.items() if folder in started}
        open_ = [cell for cell in in_turn(current, started_cells, informative) if not results.load(folders[cell])]
        fits = fits_now() if open_ else lambda scenario: True
        cell = next((cell for cell in open_ if fits(current.scenarios[cell])), None)
        return (folders[cell], current.scenarios[cell]) if cell else None

    return choose


def finished(ended: Ended) -> bool:
    """Did it leave a result?"""
    return ended.state == DONE
