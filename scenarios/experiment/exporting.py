"""A version's files are made in a process of its own, forked from one that has TensorFlow and the data: this one needs neither."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from clients.sources.simulated import world
from core.config.scenario import Scenario
from scenarios import forkserver
from scenarios.backends import worker
from scenarios.experiment.options import Experiment
from server import versions
from server.export import export
from server.record import Exports


@contextmanager
def exporter(this: Experiment) -> Iterator[Callable[[Path], Exports]]:
    """What makes the files of a version's folder, as every run leaves them, and verifies them."""
    context = forkserver.started(this.scenario)
    with ProcessPoolExecutor(1, context, initializer=worker.begin, initargs=(this.environment,)) as pool:

        def made(version: Path) -> Exports:
            with forkserver.short():
                return pool.submit(_exported, this.scenario.json(), this.folder, version).result()

        yield made


def _exported(scenario: str, folder: Path, version: Path) -> Exports:
    wanted = Scenario.of(scenario)
    data, _ = world(wanted.json())
    return export(versions.weights(version), wanted, data, version, origin=versions.origin(folder, version))
