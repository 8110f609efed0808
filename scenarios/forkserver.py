"""The process that workers are forked from: it loads what they need once, before any graph is built and any thread started, and
they share that memory. It can be started before anything else is loaded here.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

from core.config.scenario import Scenario
from scenarios.environment import FOR_SOCKETS
from scenarios.interrupts import withheld

SCENARIO = "FORKSERVER_SCENARIO"  # in its environment: whose data it loads
LONGEST = 100_000  # bytes of one variable that every system takes


def started(scenario: Scenario) -> ForkServerContext:
    """The context whose processes are forked from it; it runs from now on, and has this scenario's engine.

    There is one a process: the first scenario's data are loaded in it, too; workers of a later run load their own.
    """
    context = multiprocessing.get_context("forkserver")
    first = "scenarios.following"  # so that the server does not outlive a run that ends meanwhile
    context.set_forkserver_preload([first, f"core.engines.{scenario.engine}", "scenarios.backends.preloaded"])
    text = scenario.json()
    with short(), withheld():  # a Ctrl-C would end it while it loads, and then nothing could say why it is gone
        os.environ[SCENARIO] = text if len(text.encode()) < LONGEST else ""
        forkserver.ensure_running()
        del os.environ[SCENARIO]
    return context


@contextmanager
def short() -> Iterator[None]:
    """The fork server's unix socket, whose path has at most 107 bytes, is made where Ray's are, not in the run's folder."""
    previous, folder = tempfile.tempdir, os.environ.get("RAY_TMPDIR", tempfile.gettempdir())
    tempfile.tempdir = folder if len(os.fsencode(folder)) <= FOR_SOCKETS else "/tmp"
    try:
        yield
    finally:
        tempfile.tempdir = previous
