"""A run's rounds on their way to the terminal, and to trackers, none of which can end the run."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from core.config.parse import typed
from core.disk import placed
from core.safe_json import read_object
from core.text import cleaned
from scenarios.experiment.options import Experiment
from scenarios.trackers import TRACKERS, values
from scenarios.trackers.base import Ending, Known, Opening, Tracker
from server import checkpoint, run_folder
from server.record import Report, RoundRecord, plain


class Tracking:
    """Watches a run (server.run.Watch) for the terminal and for the trackers that were asked for, if any.

    A tracker that fails is named once and left out. What each has is noted in RUN/trackers.json, so when the run is resumed it is
    given what it lacks: all of it, if it is named for the first time.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.failures: list[str] = []  # a sentence each
        self._experiment, self._terminal, self._finished = experiment, experiment.terminal, False
        self._rows: dict[int, RoundRecord] = {}
        self._trackers: dict[str, Tracker] = {}
        self._known: dict[str, Known] = {}

    # ── what server.run.Watch asks for ──

    def stopped(self) -> bool:
        return self._terminal.stopped()

    def replied(self, round: int, done: int, of: int) -> None:
        """Clients answer: trackers are given whole rounds."""
        self._terminal.replied(round, done, of)

    def ended(self, record: RoundRecord) -> None:
        """A round is over."""
        self._terminal.ended(record)
        self._rows[record.round] = record
        self._each(self._catch_up)

    # ── a run's beginning and end ──

    def open(self) -> None:
        """Open the trackers, and give them the rounds of earlier processes that they lack."""
        if names := self._experiment.options.track:
            saved, _ = checkpoint.newest(self._experiment.folder)
            self._rows = {row.round: row for row in saved.history} if saved else {}
            for name in names:
                self._guarded(name, self._open)
            self._each(self._catch_up)

    def finish(self, report: Report) -> list[str]:
        """Give them what the run comes to, with its pictures and the model. Returns which failed since the beginning, and how."""
        folder = self._experiment.folder
        if self._trackers:
            self._rows = {row.round: row for row in report.history}
            ending = Ending(
                len(report.history), values.final(report), values.curves(report), sorted(folder.glob("*.png")),
                [folder / name for name in report.exports.files],
            )  # fmt: skip
            self._each(self._catch_up)
            self._each(lambda name: self._finish(name, ending))
        self._finished = True
        return self.failures

    def close(self) -> None:
        """Whether the run is finished or not."""
        self._each(lambda name: self._trackers[name].close(self._finished))

    # ── one tracker ──

    def _open(self, name: str) -> None:
        file, scenario = self._experiment.folder / run_folder.TRACKERS, self._experiment.scenario
        saved = typed(str(file), read_object(file), dict[str, Known]) if file.exists() else {}
        known = saved.get(name, Known())
        self._known = saved | self._known
        self._trackers[name] = TRACKERS[name](
            Opening(self._experiment.folder, scenario.name, values.settings(scenario), known)
        )
        self._note(name, self._trackers[name].known)

    def _catch_up(self, name: str) -> None:
        """Give it the rounds that it lacks."""
        rows = [self._rows[number] for number in sorted(self._rows)]
        missing = [at for at, row in enumerate(rows, 1) if row.round > self._known[name].rounds]
        for at in missing:
            self._trackers[name].log(rows[at - 1].round, values.scalars(self._experiment.scenario, rows[:at]))
        if missing:
            self._note(name, replace(self._known[name], rounds=rows[-1].round))

    def _finish(self, name: str, ending: Ending) -> None:
        """Curves are given once: a finished run that is resumed has the same ones."""
        had = self._known[name].curves
        new = {kind: curve for kind, curve in ending.curves.items() if kind not in had}
        self._trackers[name].finish(replace(ending, curves=new))
        self._note(name, replace(self._known[name], curves=(*had, *new)))

    def _note(self, name: str, known: Known) -> None:
        self._known[name] = known
        with placed(self._experiment.folder / run_folder.TRACKERS) as file:
            file.write(json.dumps(plain(self._known), indent=1).encode())

    def _each(self, step: Callable[[str], None]) -> None:
        for name in list(self._trackers):
            self._guarded(name, step)

    def _guarded(self, name: str, step: Callable[[str], None]) -> None:
        """Do this for a tracker; whatever it raises, it is left out from now on."""
        try:
            step(name)
        except Exception as error:  # a full disk, a server that is away, the library's own: none of it is the run's
            traceback.print_exc()  # into the run's log
            if tracker := self._trackers.pop(name, None):
                with suppress(Exception):
                    tracker.close(False)
            after = f" after round {max(self._rows)}" if self._rows else ""
            self.failures.append(f"tracker {name} was left out{after}: {cleaned(f'{type(error).__name__}: {error}')}")
            self._terminal.say(f"note: {self.failures[-1]}")
