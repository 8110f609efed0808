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
def exporter(experiment: Experiment) -> Iterator[Callable[[Path], Exports]]:
    """What makes the files of a version's folder, as every run leaves them, and verifies them."""
    context = forkserver.started(experiment.scenario)
    with ProcessPoolExecutor(1, context, initializer=worker.begin, initargs=(experiment.environment,)) as pool:

        def exports_of(version: Path) -> Exports:
            with forkserver.short():
                return pool.submit(_exported, experiment.scenario.json(), experiment.folder, version).result()

        yield exports_of


def _exported(text: str, folder: Path, version: Path) -> Exports:
    scenario = Scenario.of(text)
    data, _ = world(scenario.json())
    return export(versions.weights(version), scenario, data, version, origin=versions.origin(folder, version))
