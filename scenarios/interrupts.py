"""Ctrl-C, which the system sends to every process of a terminal at once, is for one of them to hear."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import TracebackType


@contextmanager
def withheld() -> Iterator[None]:
    """A process that is started in here does not hear Ctrl-C, be it still loading; this one hears it afterwards."""
    resource_tracker.ensure_running()  # where multiprocessing has to start this itself, it lets the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def in_a_line() -> None:
    """From now on a Ctrl-C that nothing else answers ends this command with a line, also while it still loads its libraries."""
    previous_hook = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            return previous_hook(kind, error, trace)
        print("stopped; to go on, give the same command again", file=sys.stderr, flush=True)
        os._exit(130)

    sys.excepthook = hook
