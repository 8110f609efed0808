"""Many runs of a study side by side: processes that runs are given to.

Apart from what one of them does (`one_run`), which says what a result is; nothing here can change one.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from core.config.scenario import Scenario
from scenarios.interrupts import withheld
from scenarios.studies.one_run import BUSY, begin, work

LOST = 5  # times that a lost process is replaced before the study gives up

Job = tuple[Path, Scenario]


@dataclass(frozen=True)
class Ended:
    """A run that ended: done, busy (another command is at it), stopped, or failed with an error."""

    folder: Path
    state: str
    error: str = ""


class Pool:
    """Processes that runs are given to; a process that is lost is replaced."""

    def __init__(self, workers: int, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._context = multiprocessing.get_context("spawn")
        self._stop, self._log, self.workers, self._left = self._context.Event(), log, workers, LOST
        self._others = set(multiprocessing.active_children())  # are not this pool's
        self._pool = self._opened()

    def _opened(self) -> ProcessPoolExecutor:
        asked = (self._stop, self._log)
        return ProcessPoolExecutor(self.workers, mp_context=self._context, initializer=begin, initargs=asked)

    def close(self) -> None:
        """Runs stop after the round that they are in; at a Ctrl-C meanwhile at once."""
        try:
            self._stop.set()
            self._pool.shutdown(cancel_futures=True)
        except KeyboardInterrupt:
            mine = set(multiprocessing.active_children()) - self._others
            for process in mine:
                process.kill()
            for process in mine:
                process.join()
            raise

    def fill(self, choose: Callable[[set[Path]], Job | None], code: str, rounds: int = 0) -> Iterator[Ended]:
        """Carry out what `choose` gives, given the folders that were given before; until it gives nothing and all have ended.

        What another command is at is looked at again once there is nothing else to do, until it is finished.
        """
        asked: dict[Future[str], Job] = {}
        given: set[Path] = set()
        again: list[Job] = []
        while True:
            while len(asked) < self.workers and (job := choose(given) or (again.pop(0) if again else None)):
                given.add(job[0])
                asked[self._submit(job, code, rounds)] = job
            if not asked:
                return
            for future in wait(asked, return_when=FIRST_COMPLETED).done:
                job = asked.pop(future)
                ended = self._ended(job[0], future)
                if ended is None:  # its process was lost, and all others of the pool with it
                    again += [job, *asked.values()]
                    asked.clear()
                    break
                again += [job] * (ended.state == BUSY)
                yield ended

    def _submit(self, job: Job, code: str, rounds: int) -> Future[str]:
        try:
            with withheld():  # it may start a process
                return self._pool.submit(work, job[1].json(), job[0], code, rounds)
        except BrokenExecutor as error:  # a process was lost just now
            lost: Future[str] = Future()
            lost.set_exception(error)
            return lost

    def _ended(self, folder: Path, future: Future[str]) -> Ended | None:
        error = future.exception()
        if not isinstance(error, BrokenExecutor):
            return (
                Ended(folder, "failed", f"{type(error).__name__}: {error}") if error else Ended(folder, future.result())
            )
        self._left -= 1
        if self._left < 0:
            raise RuntimeError(f"a process was lost {LOST + 1} times, for want of memory perhaps; try fewer --workers")
        self._pool.shutdown()
        self._pool = self._opened()
        return None
