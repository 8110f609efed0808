"""One run of a study, in one process and in a folder that one process holds. Whatever is killed goes on from its newest
checkpoint, and what is finished is one small file."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from contextlib import suppress
from multiprocessing.synchronize import Event
from pathlib import Path

from core.config.scenario import Scenario
from core.data import load
from core.engines import default
from scenarios.backends import local
from scenarios.backends.grid import serve
from scenarios.check import check
from scenarios.environment import prepare, temporary
from scenarios.studies import results
from scenarios.studies.results import Mark
from scenarios.terminal import redirect
from server import record, run, run_folder
from server.record import RoundRecord

DONE, BUSY, STOPPED = "done", "busy", "stopped"
PAUSE = 1.0  # seconds until a run that another command is at is looked at again
MARKS = 40  # rounds whose cost is kept of a finished run


class Watching:
    """Watches a run: writes down what each round costs, and stops it when asked to, or when whoever wanted the study is gone."""

    def __init__(self, folder: Path, rounds: int, stop: Event, parent: int) -> None:
        """rounds: stop after so many rounds of this process; 0: go on to the end."""
        self.folder, self.rounds, self.stop, self.parent = folder, rounds, stop, parent
        self.marks = results.marks(folder)
        self.began = len(self.marks)
        self._spent = time.process_time()

    def stopped(self) -> bool:
        enough = bool(self.rounds) and len(self.marks) - self.began >= self.rounds
        return enough or self.stop.is_set() or os.getppid() != self.parent

    def replied(self, round: int, done: int, of: int) -> None: ...

    def ended(self, row: RoundRecord) -> None:
        now, wall = time.process_time(), row.seconds.train + row.seconds.evaluate
        spent, self._spent = now - self._spent, now
        share = row.seconds.evaluate / wall if wall else 0.0
        self.marks.append(Mark(row.round, spent, spent * share, row.examples, len(self.marks) == self.began))
        record.write(self.folder / results.SPENT, json.dumps(record.plain(self.marks)) + "\n")

    def rest(self) -> float:
        """Processor seconds since the last round."""
        return time.process_time() - self._spent


def work(scenario: str, folder: Path, code: str, rounds: int = 0) -> str:
    """Run a scenario in its folder, from its newest checkpoint; leave its result alone. In a process of the pool.

    rounds: stop after so many, which the next call goes on from. Returns DONE, BUSY or STOPPED. Raises RuntimeError if the
    code is not that of the folder's name: its result would be mixed with those of other code; ValueError if its folder is none.
    """
    if results.load(folder):
        return DONE
    with suppress(run_folder.InUse), run_folder.driver_lock(folder):
        return _carry_out(scenario, folder, code, rounds)
    time.sleep(PAUSE)
    return BUSY


def _carry_out(scenario: str, folder: Path, code: str, rounds: int) -> str:
    try:
        if not results.load(folder):  # whoever held it before may have finished it
            with temporary(folder / run_folder.TEMPORARY):
                _run(Scenario.of(scenario), folder, code, rounds)
    except ValueError as error:
        raise RuntimeError(str(error)) from error
    if not results.load(folder):
        return STOPPED
    swept(folder)
    return DONE


def _run(scenario: Scenario, folder: Path, code: str, rounds: int) -> None:
    _check_code(code)
    check(scenario)  # what its row and its column are together
    if not (folder / run_folder.SCENARIO).exists():
        record.write(folder / run_folder.SCENARIO, scenario.page())
    environment = prepare(folder)
    default(scenario)  # libraries and data are loaded once a process, and are no run's cost
    load(scenario)
    watch = Watching(folder, rounds, *_watched)
    with local.opened(scenario, 1, environment) as backend:
        serve(run.build(scenario, folder, watch), backend.grid)
    if (folder / run_folder.REPORT).exists():
        _check_code(code)
        spent = sum(mark.processor for mark in watch.marks) + watch.rest()
        results.save(folder, record.load(folder), _thinned(watch.marks), spent)


def _check_code(code: str) -> None:
    if results.code() != code:
        raise RuntimeError(
            "the code changed while the study ran; start it again, and what other code made is left aside"
        )


def _thinned(marks: list[Mark]) -> list[Mark]:
    """The first of each process, and as many of the others as are kept, evenly."""
    step = -(-len(marks) // MARKS)
    return [mark for i, mark in enumerate(marks) if mark.first or i % step == 0]


def swept(folder: Path) -> None:
    """Take away all of a finished run but its settings and result; nothing, if somebody went on with it as a run of its own."""
    with suppress(FileNotFoundError):
        if (folder / run_folder.OPTIONS).exists():
            return
        for path in folder.iterdir():
            if path.name not in (results.RESULT, run_folder.SCENARIO):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def begin(stop: Event, log: Path) -> None:
    """A process of the pool: Ctrl-C is the parent's to hear; what libraries say goes to a file."""
    global _watched
    _watched = (stop, os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    redirect(log)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for work for ever; its run goes on from the newest checkpoint anyway."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


_watched: tuple[Event, int]
