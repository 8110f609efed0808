"""Where the time of a run went, by phase and by process (`--profile`)."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from rich.table import Table

from core import processes
from core.processes import Process
from server.record import Report

LOOK = 0.5  # seconds between looks at the processes
BEFORE = "before: loading this program"


class Profile:
    """Takes the time of phases, and what processor time and memory this process and all that it starts take meanwhile.

    What ends between two looks is missed for at most that time.
    """

    def __init__(self, done: int) -> None:
        """done: rounds of the run that earlier processes have played."""
        self._done = done
        self.phases = {BEFORE: processes.age()}
        self._names, self._spent = dict[Process, str](), dict[Process, float]()
        self._memory = dict[str, float]()  # MB, the most that all of a name held at one look
        self._phase = ""
        self._over = Event()
        self._thread = Thread(target=self._follow, daemon=True)
        self._thread.start()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Take the time of what happens within."""
        start, self._phase = time.perf_counter(), name
        try:
            yield
        finally:
            self.phases[name] = time.perf_counter() - start

    def _follow(self) -> None:
        while not self._over.wait(LOOK):
            self._look()

    def _look(self) -> None:
        now = defaultdict[str, float](float)
        for process, parent in processes.family().items():
            if process not in self._names:
                self._names[process] = _name(process, parent, self._names, self._phase)
            self._spent[process] = processes.cpu_seconds(process.pid)
            now[self._names[process]] += processes.memory(process.pid)
        for name, megabytes in now.items():
            self._memory[name] = max(megabytes, self._memory.get(name, 0.0))

    def tables(self, report: Report) -> Iterator[Table]:
        """What was found."""
        self._over.set()
        self._thread.join()
        self._look()
        total = sum(self.phases.values())
        table = _table("where the time went", "phase", "seconds", "share")
        for name, seconds in self.phases.items():
            table.add_row(name, f"{seconds:.1f}", f"{100 * seconds / total:.0f} %")
            for part, of_it in _rounds(report, self._done, seconds) if name == "rounds" else ():
                table.add_row(f"  {part}", f"{of_it:.1f}", f"{100 * of_it / total:.0f} %", style="dim")
        table.add_row("all", f"{total:.1f}", "100 %", style="bold")
        yield table
        table = _table("processes", "process", "processor seconds", "cores", "MB at most")
        sums = defaultdict[str, float](float)
        for process, seconds in self._spent.items():
            sums[self._names[process]] += seconds
        for name, seconds in sums.items():
            table.add_row(name, f"{seconds:.1f}", f"{seconds / total:.2f}", f"{self._memory.get(name, 0.0):,.0f}")
        table.add_row("all", f"{sum(sums.values()):.1f}", f"{sum(sums.values()) / total:.2f}", "", style="bold")
        yield table


def _rounds(report: Report, done: int, total: float) -> Iterator[tuple[str, float]]:
    """What the time of the rounds is made of."""
    spent = [row.seconds for row in report.history[done:]]
    clients, train = sum(one.clients for one in spent), sum(one.train for one in spent)
    evaluation = sum(one.evaluate for one in spent)
    yield "clients at work, their replies checked as they come", clients
    yield "messages made, replies made one model", train - clients
    yield "the model tested", evaluation
    yield "the rest: data read, checkpoints written, clients' own accuracy at the end", total - train - evaluation


def _name(process: Process, parent: int, names: dict[Process, str], phase: str) -> str:
    """What a process is, from its command line and the phase in which it was first seen."""
    with suppress(OSError):
        words = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        line = " ".join(words)
        if "scenarios.experiment.baselines" in words:
            return f"{words[words.index('scenarios.experiment.baselines') + 1]} baseline"
        if "multiprocessing.forkserver" in line:
            if not any(one.pid == parent and name == "fork server" for one, name in names.items()):
                return "fork server"
            if phase == "exports":
                return "exporter"
            return f"worker {sum(name.startswith('worker') for name in names.values()) + 1}"
        if line.startswith("ray::"):
            return line.split()[0].split(".")[0]
        if "ray" in line and parent:
            return "Ray"
    return "others" if parent else "server"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="left" if name == columns[0] else "right")
    return table
