"""What the benches share: children in processes of their own, their memory, one closing table.

Each simulation runs in a fresh process, so nothing of Ray or TensorFlow leaks into the next, and in a session of its own, so
all that it starts can be found, measured and ended. It tells facts on its standard output, a line of JSON each.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from core import processes

HOME = Path(__file__).parents[2]
Facts = dict[str, Any]
Tell = Callable[[Facts], None]


def child(function: str, **settings: Any) -> Iterator[Facts]:
    """Run `function(tell, folder, **settings)` (named "module:name") in a new process; yield what it tells.

    The folder is its own and temporary.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield from lines(sys.executable, "-m", "tests.bench.measure", function, json.dumps(settings), folder)


def lines(*command: str) -> Iterator[Facts]:
    """Run a command that prints JSON; yield each line's facts, `at`, the seconds since the process was started, and its `session`.

    Its standard error is kept aside and shown if it fails. However this ends, so do the process and all it started.
    """
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": log}
        process = subprocess.Popen(command, cwd=HOME, start_new_session=True, **pipes)
        try:
            for line in process.stdout or ():
                yield json.loads(line) | {"at": time.perf_counter() - start, "session": process.pid}
            if process.wait():
                log.seek(0)
                stderr = log.read().decode(errors="replace")[-3000:]
                raise SystemExit(f"{' '.join(command)} failed ({process.returncode}):\n{stderr}")
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a child and its whole session: asked first, then made to."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
    for pid in family(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def family(session: int) -> list[int]:
    """The processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            after = stat.read_text(errors="replace").rpartition(")")[2].split()  # a name may hold spaces and brackets
            if int(after[3]) == session and after[0] != "Z":
                found.append(int(stat.parent.name))
    return found


def spent(session: int) -> float:
    """Processor seconds of a session's processes so far."""
    return sum(processes.cpu_seconds(pid) for pid in family(session))


def memory(session: int = 0, all_but: int = 0, kind: str = "Pss") -> float:
    """MB that the processes of a session (this one's; but for one) hold: their proportional set sizes, so that what they share
    counts once; or by another `kind` of smaps_rollup's."""
    return sum(processes.memory(pid, kind) for pid in set(family(session or os.getsid(0))) - {all_but})


def machine() -> str:
    """This machine, in a line, and how busy it was: a load that is not ours makes every figure doubtful."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = models[0].split(":")[1].strip() if models else platform.machine()
    return f"{name}, {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f} now"


def parser(bench: str, doc: str | None) -> argparse.ArgumentParser:
    """A bench's command line; its help is its docstring."""
    p = argparse.ArgumentParser(
        prog=f"python -m tests.bench.{bench}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--repeats", type=int, default=3, help="how often everything is measured, in turn (%(default)s)")
    return p


def spread(values: Sequence[float], unit: str = "") -> str:
    """Median, and from least to greatest."""
    low, middle, high = (f"{v:.{2 if max(values) < 100 else 0}f}" for v in (min(values), median(values), max(values)))
    return f"{middle}{unit}" + (f"  ({low} – {high})" if len(values) > 1 else "")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The closing table, on standard output, with the machine under it."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=title, title_justify="left", caption=machine(), caption_justify="left")
    for number, column in enumerate(columns):
        shown.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        shown.add_row(*row)
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(shown)


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def run(main: Callable[[], None]) -> None:
    """Run a bench's main. Ctrl-C and SIGTERM end its children, then itself."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs ignore SIGINT unless they say so
        signal.signal(number, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)


def _inside() -> None:
    """The child's side of `child`: facts go to standard output, whatever libraries print to standard error."""
    function, settings, folder = sys.argv[1:]
    with os.fdopen(os.dup(1), "w", buffering=1) as out:
        os.dup2(2, 1)
        module, name = function.split(":")
        facts_of = getattr(importlib.import_module(module), name)
        facts_of(lambda facts: print(json.dumps(facts), file=out), Path(folder), **json.loads(settings))


if __name__ == "__main__":
    _inside()
