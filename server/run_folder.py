"""A run's folder: what its files are called, and who may write there.

One driver writes, from its first write to its last, and one process that plays the rounds. They are two locks, because on real
nodes the rounds run in a process of Flower's, which may outlive the driver.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from core.disk import hold

SCENARIO = "scenario.json"
ROUNDS = "rounds.jsonl"  # a line a round, while it goes on
REPORT = "report.json"  # all of a finished run
ASIDE = "report.before.json"  # the same, while a finished run is gone on with
PAGE = "report.html"
LOG = "run.log"  # what libraries say
EXPORTS = "export.json"  # what the checks of model.* found
CHECKPOINTS = "checkpoints"  # the newest two rounds
VERSIONS = "versions"  # a folder a stage; of them one is current
CLIENTS = "clients"  # their memories, in a simulation
STEP = "step.tflite"  # a training step, for clients without TensorFlow
TRACKERS = "trackers.json"  # what experiment trackers hold of it (--track)
OPTIONS = "options.json"  # what the run is compared with and which files it makes, for whoever resumes it
SOURCE = "source"  # the run that it goes on from (--from), as it was named
TEMPORARY = ".tmp"
# On real nodes:
ID = "id"  # the name by which nodes know the run
BEFORE = "before"  # the names of the runs that it goes on from, the newest first, whose memories nodes have
NODES = "nodes.json"  # which node plays each client
FEDERATION = "federation.json"  # the home of the nodes that it is on
STOP = "stop"  # is there when the run shall stop after this round


def free_name(folder: Path) -> Path:
    """This folder, or the first of folder-2, folder-3 … that does not exist: no run is ever overwritten."""
    number, candidate = 1, folder
    while os.path.lexists(candidate):  # a link whose place is gone is somebody's, too
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate


def new_folder(folder: Path) -> Path:
    """The same, made at once, so that nobody else takes it. Raises ValueError if it cannot be made."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        while True:
            candidate = free_name(folder)
            with suppress(FileExistsError):
                candidate.mkdir()
                return candidate
    except OSError as error:
        raise ValueError(f"{error.filename} cannot hold a run's folder: {error.strerror}") from None


class InUse(ValueError):
    """Another process drives or plays a run."""


@contextmanager
def driver_lock(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which is made if it is missing, for the process that drives the run.

    Raises ValueError, before anything in it changes, if it cannot be made, InUse if another process drives or plays this run.
    """
    with _locked(folder):
        rounds = folder / CHECKPOINTS
        if rounds.exists():  # whoever drove it may have died while its rounds go on
            with _locked(rounds, folder):
                pass
        yield


@contextmanager
def rounds_lock(folder: Path) -> Iterator[None]:
    """Hold a run's rounds: two processes that play them would mix their checkpoints and clients' memories.

    Raises InUse if another process does.
    """
    with _locked(folder / CHECKPOINTS, folder):
        yield


@contextmanager
def _locked(path: Path, run: Path | None = None) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(hold(path))
        except BlockingIOError:
            raise InUse(f"{run or path} is in use: another process is at a run there") from None
        except OSError as error:
            raise ValueError(f"{path} cannot be used as a run's folder: {error.strerror}") from None
        yield
