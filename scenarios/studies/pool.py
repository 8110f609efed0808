"""Many runs of a study side by side: processes that runs are given to.

What a run does, and what its result is, stands in `one_run`; nothing here can change a result.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
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


def _next_retry(retries: list[Job], fits: Callable[[Scenario], bool]) -> Job | None:
    """Take the first that fits out of these; those before it, which do not, are given up."""
    while retries:
        job = retries.pop(0)
        if fits(job[1]):
            return job
    return None


class Pool:
    """Processes that runs are given to; a process that is lost is replaced."""

    def __init__(self, workers: int, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._context = multiprocessing.get_context("spawn")
        self._stop, self._log, self.workers, self._replacements_left = self._context.Event(), log, workers, LOST
        self._others = set(multiprocessing.active_children())  # are not this pool's
        self._pool = self._opened()

    def _opened(self) -> ProcessPoolExecutor:
        arguments = (self._stop, self._log)
        return ProcessPoolExecutor(self.workers, mp_context=self._context, initializer=begin, initargs=arguments)

    def close(self) -> None:
        """Runs stop after the round that they are in; at a Ctrl-C meanwhile at once."""
        try:
            self._stop.set()
            self._pool.shutdown(cancel_futures=True)
        except KeyboardInterrupt:
            children = set(multiprocessing.active_children()) - self._others
            for process in children:
                process.kill()
            for process in children:
                process.join()
            raise

    def fill(
        self,
        choose: Callable[[set[Path]], Job | None],
        code: str,
        rounds: int = 0,
        but: Iterable[Path] = (),
        fits: Callable[[Scenario], bool] = lambda scenario: True,
    ) -> Iterator[Ended]:
        """Carry out what `choose` gives for the folders started so far, until it gives nothing and all have ended.

        What another command is at is looked at again once there is nothing else to do, until it is finished, or would not be in
        time. but: folders of runs that are not to be started; fits: is there time for such a run now?
        """
        running: dict[Future[str], Job] = {}
        started = set(but)
        retries: list[Job] = []
        while True:
            while len(running) < self.workers and (job := choose(started) or _next_retry(retries, fits)):
                started.add(job[0])
                running[self._submit(job, code, rounds)] = job
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                ended = self._ended(job[0], future)
                if ended is None:  # its process was lost, and all others of the pool with it
                    retries += [job, *running.values()]
                    running.clear()
                    break
                retries += [job] * (ended.state == BUSY)
                yield ended

    def _submit(self, job: Job, code: str, rounds: int) -> Future[str]:
        try:
            with withheld():  # it may start a process
                return self._pool.submit(work, job[1].json(), job[0], code, rounds)
        except BrokenExecutor as error:  # a process was lost just now
            failed: Future[str] = Future()
            failed.set_exception(error)
            return failed

    def _ended(self, folder: Path, future: Future[str]) -> Ended | None:
        error = future.exception()
        if not isinstance(error, BrokenExecutor):
            return (
                Ended(folder, "failed", f"{type(error).__name__}: {error}") if error else Ended(folder, future.result())
            )
        self._replacements_left -= 1
        if self._replacements_left < 0:
            raise RuntimeError(f"a process was lost {LOST + 1} times, for want of memory perhaps; try fewer --workers")
        self._pool.shutdown()
        self._pool = self._opened()
        return None
