"""What every command must keep to: it ends in time, within memory, without a traceback; and a folder to try it in."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import numpy as np

from core.data import read

MOST = 1_000_000  # kB of memory
WAITS = 10  # how many times its seconds a case may take on a busy machine


class Broken(AssertionError):
    """The law was broken; the message says by what, and how to see it again."""


def code_and_stderr(command: Callable[[list[str]], int], words: list[str]) -> tuple[Any, str]:
    """A command's exit code, and its words on standard error."""
    stderr = io.TextIOWrapper(io.BytesIO(), errors="backslashreplace")
    with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
        try:
            code: Any = command(words)
        except SystemExit as stop:
            code = stop.code or 0
    stderr.seek(0)
    return code, stderr.read()


@contextlib.contextmanager
def law(case: str, seconds: float) -> Iterator[None]:
    """What happens here ends in time and within memory, and raises nothing. Raises Broken, naming the case."""
    before, kinds = most_taken(), {signal.ITIMER_PROF: signal.SIGPROF, signal.ITIMER_REAL: signal.SIGALRM}
    earlier = {number: signal.signal(number, _late) for number in kinds.values()}
    signal.setitimer(signal.ITIMER_PROF, seconds)  # of the processor's time: the machine may be busy with others
    signal.setitimer(signal.ITIMER_REAL, WAITS * seconds)
    try:
        yield
    except Exception as error:
        raise Broken(f"{case[:3000]}: {type(error).__name__}: {str(error)[:1000]}") from error
    finally:
        for timer, number in kinds.items():
            signal.setitimer(timer, 0)
            signal.signal(number, earlier[number])
    if most_taken() - before > MOST:  # what ran in this process before is not this case's
        raise Broken(f"{case[:3000]}: {most_taken():,} kB of memory")


def _late(number: int, frame: FrameType | None) -> None:
    raise TimeoutError("it hangs")


def most_taken() -> int:
    """kB that this process has taken at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextlib.contextmanager
def elsewhere() -> Iterator[Path]:
    """A folder of its own, in which commands leave what they leave."""
    with (
        tempfile.TemporaryDirectory() as name,
        contextlib.chdir(name),
        mock.patch.dict(os.environ, {"CLIENTS_HOME": f"{name}/clients"}),
    ):
        Path("file").touch()
        yield Path(name)


def small_data(home: Path) -> Path:
    train, test = read("mnist")
    path = home / "few.npz"
    np.savez(path, x_train=train.x[:300], y_train=train.y[:300], x_test=test.x[:60], y_test=test.y[:60])
    return path
