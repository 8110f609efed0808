"""Clients side by side in processes of this machine, forked from one that has loaded what they need."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from core.config.scenario import Scenario
from fl import roster
from scenarios import forkserver
from scenarios.backends import worker
from scenarios.backends.grid import Backend
from scenarios.backends.pool import PoolGrid, judge


@contextmanager
def opened(scenario: Scenario, workers: int, environment: Mapping[str, str]) -> Iterator[Backend]:
    """So many processes of one core each. One that is killed is replaced, and what it was asked is asked again."""
    pool = Processes(workers, environment, scenario)
    try:
        config = {"memory": environment["CLIENTS_HOME"]}
        grid = PoolGrid(pool, roster.nodes(scenario), config)
        yield Backend(grid, judge(pool, grid, scenario))
    finally:
        pool.close()


class Processes:
    """Worker processes, each behind an executor of its own: so one that dies takes no other with it."""

    lost = (BrokenExecutor,)

    def __init__(self, workers: int, environment: Mapping[str, str], scenario: Scenario) -> None:
        self._context = forkserver.started(scenario)
        self._environment, self.files, self._numbers = dict(environment), Path(tempfile.mkdtemp()), count()
        self._executors = dict[int, ProcessPoolExecutor]()
        self._processes = dict[int, Future[int]]()  # their numbers
        for number in range(workers):
            self._start(number)

    def _start(self, number: int) -> None:
        executor = ProcessPoolExecutor(1, self._context, initializer=worker.begin, initargs=(self._environment,))
        self._executors[number] = executor
        with forkserver.short():
            # It starts now, beside whatever the server has to do first.
            self._processes[number] = executor.submit(os.getpid)

    def workers(self) -> Sequence[int]:
        return range(len(self._executors))

    def submit(self, worker: int, function: Any, *arguments: Any) -> Future[Any]:
        try:
            return self._executors[worker].submit(function, *arguments)
        except BrokenExecutor as error:  # it died while it had nothing to do
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed

    def end(self, worker: int) -> None:
        process = self._processes[worker]
        if process.done() and not process.exception():
            with suppress(ProcessLookupError):
                os.kill(process.result(), signal.SIGKILL)  # one that is stopped hears nothing else

    def replace(self, worker: int) -> None:
        self._executors[worker].shutdown(wait=False)
        self._start(worker)

    def share(self, array: np.ndarray) -> Path:
        file = self.files / f"{next(self._numbers)}.npy"
        np.save(file, array, allow_pickle=False)
        return file

    def let_go(self, block: Path) -> None:
        block.unlink(missing_ok=True)

    def close(self) -> None:
        """End them, whatever they are at."""
        for number in self._processes:
            self.end(number)
        for executor in self._executors.values():
            executor.shutdown(cancel_futures=True)
        shutil.rmtree(self.files, ignore_errors=True)
