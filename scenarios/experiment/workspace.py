"""A run's folder made ready: nobody else's, with a log for what libraries say and a place for temporary files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clients import memory
from core.config.scenario import Scenario
from core.disk import placed
from scenarios.environment import prepare, temporary
from scenarios.experiment import continuation
from scenarios.terminal import redirect
from server import run_folder


@contextmanager
def opened(scenario: Scenario, folder: Path, source: Path | None, real: bool = False) -> Iterator[dict[str, str]]:
    """Hold the folder from its first write to its last; gives what a worker needs in its environment.

    source: the finished run that this one goes on from; real: on real nodes. Raises ValueError if the folder cannot be made or
    written, or is another process's, in which nothing changes.
    """
    with ExitStack() as stack:
        stack.enter_context(run_folder.driver_lock(folder))
        if (folder / run_folder.SCENARIO).exists() and Scenario.read(folder / run_folder.SCENARIO) != scenario:
            raise ValueError(f"{folder} holds another run by now, which began in the meantime; name another with --out")
        try:
            stack.enter_context(temporary(folder / run_folder.TEMPORARY))
            memory.unmarked(folder / run_folder.CLIENTS)
            if source:
                continuation.begin(source, folder, real)
            with placed(folder / run_folder.SCENARIO) as file:
                file.write(scenario.page().encode())
            redirect(folder / run_folder.LOG)
        except OSError as error:
            raise ValueError(f"{folder} cannot be written to: {error.strerror or error}") from None
        yield prepare(folder) | {"TMPDIR": os.environ["TMPDIR"]}
