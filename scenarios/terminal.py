"""What a person sees of a run: live progress; everything that libraries say goes to the run's log instead."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from server.record import RoundRecord

KEPT = {  # is a round finished?
    True: ": the last finished round is kept",
    False: ": no round is finished, so nothing is kept yet",
    None: "",  # not known before the rounds begin: the run may be a resumed one
}
STOPPING = "stopping{} (again to end at once) …\n"


class Terminal:
    """Watches a run: progress on standard error, results on standard output, Ctrl-C and SIGTERM as a wish to stop."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        self.screen = Console(file=os.fdopen(os.dup(2), "w", buffering=1), quiet=quiet, highlight=False, markup=False)
        self._stop = threading.Event()
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}
        self._total = 0  # rounds in all
        self._finished: bool | None = None  # is any of them?
        self._first: tuple[int, float] | None = None  # this process's first round, and when it ended

    # ── what server.run.Watch asks for ──

    def stopped(self) -> bool:
        return self._stop.is_set()

    def replied(self, round: int, done: int, of: int) -> None:
        """Clients answer: the bar moves by fractions of a round."""
        if "rounds" in self._bars and round:
            self._update("rounds", round - 1 + done / of)

    def ended(self, record: RoundRecord) -> None:
        """A round is over."""
        self._finished = True
        number, share = record.round, f"{100 * (record.accuracy or 0):.2f} %"
        who = [*["the server's own step"] * bool(record.server_error), *(f"client {c}" for c in record.failed)]
        left_out = f", left out: {', '.join(who)}" if who else ""
        if self._progress:
            self._update("rounds", number, text=f"round {number}/{self._total}  accuracy {share}{left_out}")
        elif self._total:
            self.say(f"round {number}/{self._total}  accuracy {share}{left_out}{self._time_left(number)}")

    def _time_left(self, number: int) -> str:
        """By the rounds after the first, in which workers start and functions are traced; nothing after that and the last one."""
        now = time.monotonic()
        if self._first is None:
            self._first = number, now
        if number in (self._first[0], self._total):
            return ""
        first, began = self._first
        return f"  about {(now - began) / (number - first) * (self._total - number):.0f} s left"

    # ── progress ──

    def begin(self, rounds: int, done: int, title: str) -> None:
        """Show the bar of the rounds."""
        self._total, self._first, self._finished = rounds, None, done > 0
        if not self.screen.is_terminal or self.quiet:
            self.say(title)
            return
        columns = (
            TextColumn("{task.fields[text]}"),
            BarColumn(28),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=self.screen, refresh_per_second=4)
        self._progress.start()
        self.bar("rounds", rounds, f"{title}: starting")
        self._update("rounds", done)

    def bar(self, name: str, total: float, text: str) -> None:
        """Add a bar; without a terminal, a line."""
        if not self._progress:
            self.say(text)
        elif name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=total, text=text)

    def advance(self, name: str, done: float, text: str | None = None) -> None:
        """Move a bar."""
        if name in self._bars:
            self._update(name, done, text)

    def _update(self, name: str, done: float, text: str | None = None) -> None:
        if self._progress:
            task = self._bars[name]
            text = text or self._progress.tasks[task].fields["text"]
            self._progress.update(task, completed=done, text=text)

    def rest(self) -> None:
        """Take the bars away."""
        if self._progress:
            self._progress.stop()
        self._progress, self._bars = None, {}

    # ── words ──

    def say(self, text: str) -> None:
        """A line for the person, on standard error."""
        self.screen.print(text, markup=False, soft_wrap=True)

    def fail(self, text: str) -> None:
        """The last line of what failed, which even --quiet must not swallow, in place of the bars."""
        self.rest()
        self.screen.quiet = False
        self.say(text)

    def broke(self, error: Exception, log: Path, how: str = "") -> None:
        """What ended a run, while it is being handled; its traceback goes to the run's log, with all else. how: to go on, where
        the error is none of the run's."""
        traceback.print_exc()
        on = f"\nwhen that is mended, go on with: {how}" * bool(how)
        self.fail(f"failed: {type(error).__name__}: {error}\nwhat was said on the way is in {log}{on}")

    def line(self, text: str) -> None:
        """A line of the result, on standard output."""
        print(text, file=self._out, flush=True)

    def print(self, table: Table) -> None:
        """A table of the result, on standard output."""
        Console(file=self._out, highlight=False, markup=False).print(table)

    def beside(self, table: Table) -> None:
        """A table that was asked for beside the result, on standard error."""
        Console(file=self.screen.file, highlight=False, markup=False).print(table)

    # ── stopping ──

    def listen(self) -> None:
        """From now on Ctrl-C and SIGTERM ask to stop; a second one ends at once."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def pause(self, seconds: float = 0.0) -> None:
        """Wait so long. Raises KeyboardInterrupt if somebody asked to stop."""
        if self._stop.wait(seconds):
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():
            os._exit(130)
        self._stop.set()
        with suppress(RuntimeError):  # the signal came while a line was being written; bars are taken away later, too
            self.rest()
        if not self.quiet:  # past Python's buffer, which cannot be entered twice
            os.write(self.screen.file.fileno(), STOPPING.format(KEPT[self._finished]).encode())


def redirect(log: Path) -> None:
    """Send file descriptors 1 and 2, and Flower's logger, to this file: absl, TensorFlow and Ray write past Python."""
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    logging.captureWarnings(True)
