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

LOADED = ["scenarios.backends.worker"]  # and the engine


def started(engine: str) -> ForkServerContext:
    """The context whose processes are forked from it; it runs from now on."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*LOADED, f"core.engines.{engine}"])
    with short():
        forkserver.ensure_running()
    return context


@contextmanager
def short() -> Iterator[None]:
    """It listens on a unix socket, whose path has at most 107 bytes: that is made where Ray's are, not in the run's folder."""
    own, tempfile.tempdir = tempfile.tempdir, os.environ.get("RAY_TMPDIR", tempfile.tempdir)
    try:
        yield
    finally:
        tempfile.tempdir = own
