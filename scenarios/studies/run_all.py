"""Many runs side by side, each in one process; Ctrl-C keeps what is finished."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.synchronize import Event
from pathlib import Path

from core.config.scenario import Scenario
from scenarios.backends import local
from scenarios.backends.grid import serve
from scenarios.environment import prepare, temporary
from scenarios.terminal import redirect
from server import run, run_folder
from server.record import RoundRecord


class Quiet:
    """Watches a run for nobody, and stops it when the event is set or whoever wanted the table is gone."""

    def __init__(self, stop: Event, parent: int) -> None:
        self.stop, self.parent = stop, parent

    def stopped(self) -> bool:
        return self.stop.is_set() or os.getppid() != self.parent

    def replied(self, round: int, done: int, of: int) -> None: ...
    def ended(self, record: RoundRecord) -> None: ...


def work(scenario: str, folder: Path) -> None:
    """Run a scenario in its folder, from its newest checkpoint; leave its report alone. In a process of the pool."""
    with run_folder.driven(folder), temporary(folder / run_folder.TEMPORARY):
        environment, built = prepare(folder), Scenario.of(scenario)
        with local.opened(built, 1, environment) as backend:
            serve(run.build(built, folder, Quiet(*_watched)), backend.grid)
        if (folder / run_folder.REPORT).exists():
            for left in (run_folder.CLIENTS, run_folder.CHECKPOINTS, run_folder.VERSIONS):
                shutil.rmtree(folder / left, ignore_errors=True)


def _begin(stop: Event, log: Path) -> None:
    """A process of the pool: Ctrl-C is the parent's to hear; what libraries say goes to a file."""
    global _watched
    _watched = (stop, os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    redirect(log)


_watched: tuple[Event, int]


def fill(wanted: Mapping[Path, Scenario], log: Path, workers: int) -> Iterator[tuple[Path, Exception | None]]:
    """Carry out what is wanted, in parallel; yield each folder as it ends, with what went wrong. Stops at Ctrl-C."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(stop, log))
    try:
        asked = {pool.submit(work, one.json(), folder): folder for folder, one in wanted.items()}
        for done in as_completed(asked):
            error = done.exception()
            yield asked[done], error if isinstance(error, Exception) else None
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
