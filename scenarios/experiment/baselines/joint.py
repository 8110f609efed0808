"""The upper bound of continual methods: the federation itself, whose clients keep everything."""

from __future__ import annotations

from pathlib import Path

from core.config.scenario import Scenario
from scenarios.backends import local as here
from scenarios.backends.grid import serve
from scenarios.environment import prepare
from scenarios.experiment.baselines import Result, finished
from server import best, checkpoint, record, run, run_folder
from server.run import Watch


def joint(scenario: Scenario, folder: Path, watch: Watch) -> None:
    """Train stage by stage, each client keeping all that it met; leave the result in the folder, if nobody stops it."""
    with here.opened(scenario, 1, prepare(folder)) as backend:
        serve(run.build(scenario, folder, watch), backend.grid)
    state, _ = checkpoint.newest(folder)
    if (folder / run_folder.REPORT).exists() and state:
        best.write(folder / best.LAST, state.round, state.arrays)
        report = record.load(folder)
        matrix = report.continual.matrix if report.continual else ()
        accuracy = state.curve[-1].accuracy
        sha256 = report.weights_sha256
        top = report.best["federated"]
        finished(folder, Result(accuracy, tuple(state.curve), top, report.loss, sha256, matrix=matrix))
