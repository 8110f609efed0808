"""Processes of this computer: those that carry a mark in their environment, with all they started; and how they are ended.

Flower starts processes in sessions of their own, which go on after whoever started them, so neither parents nor groups tell all
of them; what they inherit does. (A process that hides its environment is found by its parent.)
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process that has not ended."""

    pid: int
    started: int  # clock ticks after the computer's start: a number that is given again has another one


def marked(name: str, value: str) -> set[Process]:
    """The processes whose environment has this value, and all that descend from them; but not this process."""
    mark, parents = f"{name}={value}".encode(), dict(_all())
    tree = {process for process in parents if mark in _environment(process)}
    while more := {p for p, parent in parents.items() if parent in {one.pid for one in tree}} - tree:
        tree |= more
    return {process for process in tree if process.pid != os.getpid()}


def by_pid(pid: int) -> Process | None:
    """The process that has this number now; none if there is none, or it has ended."""
    entry = _read(pid)
    return entry[0] if entry else None


def family() -> dict[Process, int]:
    """This process and all that descend from it, each with its parent's number; this one's is given as 0."""
    parents = dict(_all())
    tree = {process: 0 for process in parents if process.pid == os.getpid()}
    while more := {p: n for p, n in parents.items() if n in {one.pid for one in tree} and p not in tree}:
        tree |= more
    return tree


def cpu_seconds(pid: int) -> float:
    """Processor seconds that a process has taken."""
    fields = _fields(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def memory(pid: int, kind: str = "Pss") -> float:
    """MB that a process holds: its proportional set size, in which what several share counts once; or another of smaps_rollup's."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1000


def end_with_starter() -> None:
    """Let the system end this process when the thread that started it ends: at once, whatever it is at."""
    set_death_signal = 1  # PR_SET_PDEATHSIG of Linux
    ctypes.CDLL(None).prctl(set_death_signal, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)


def let_go_of_files() -> None:
    """Unmap the pages of files (libraries, above all) that this process has read and never changed. They stay in the system's
    cache, and whoever needs one again finds it there.

    To load TensorFlow touches 300 MB of it once. A process that has loaded it only to be forked would keep them mapped.
    """
    advise, dont_need = ctypes.CDLL(None).madvise, 4  # MADV_DONTNEED of Linux
    for start, end, mode, path, anonymous in _mapped():
        if mode in ("r--p", "r-xp") and path.startswith("/") and not anonymous:
            advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), dont_need)


def _mapped() -> Iterator[tuple[int, int, str, str, int]]:
    """This process's memory: from, to, what may be done there, whose file it is, how many kB of it are no longer the file's."""
    start, end, mode, path = 0, 0, "", ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *rest = line.split(maxsplit=5)
        if name == "Anonymous:":
            yield start, end, mode, path, int(rest[0])
        elif not name.endswith(":"):
            start, end = (int(number, 16) for number in name.split("-"))
            mode, path = rest[0], rest[4] if len(rest) > 4 else ""


def age() -> float:
    """Seconds since this process was started."""
    up = float(Path("/proc/uptime").read_text().split()[0])
    return up - int(_fields(os.getpid())[19]) / os.sysconf("SC_CLK_TCK")


def end(find: Callable[[], set[Process]], grace: float) -> None:
    """Ask these processes to end; after so many seconds, make them."""
    signalled: set[Process] = set()
    last = time.monotonic() + grace
    while (remaining := find()) and time.monotonic() < last:
        _signal(remaining - signalled, signal.SIGTERM)
        signalled |= remaining
        time.sleep(0.1)
    _signal(remaining, signal.SIGKILL)


def _signal(processes: set[Process], number: signal.Signals) -> None:
    for process in processes:
        if (current := _read(process.pid)) and current[0] == process:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)


def _all() -> Iterator[tuple[Process, int]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (entry := _read(int(folder.name))):
            yield entry


def _read(pid: int) -> tuple[Process, int] | None:
    """A process and its parent's number; none if it has ended, be it that nobody has asked for its exit code yet."""
    fields = _fields(pid)
    return None if not fields or fields[0] in "ZX" else (Process(pid, int(fields[19])), int(fields[1]))


def _fields(pid: int) -> list[str]:
    """What the system says of a process, from its state on (proc(5), /proc/pid/stat, field 3); nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _environment(process: Process) -> list[bytes]:
    try:
        return Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    except OSError:  # another user's, or it has ended
        return []
