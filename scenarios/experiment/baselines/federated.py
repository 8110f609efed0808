"""Baselines that are federations themselves: plain FedAvg, and `joint`, whose clients keep everything."""

from __future__ import annotations

from pathlib import Path

from core.config.scenario import Scenario
from scenarios.backends import local
from scenarios.backends.grid import serve
from scenarios.environment import prepare
from scenarios.experiment.baselines import Result, finished
from server import best, checkpoint, record, run, run_folder
from server.run import Watch


def federated(scenario: Scenario, folder: Path, watch: Watch) -> None:
    """Run the federation, as `reduced` has made it; leave the result in the folder, if nobody stops it."""
    with local.opened(scenario, 1, prepare(folder)) as backend:
        serve(run.build(scenario, folder, watch), backend.grid)
    state, _ = checkpoint.newest(folder)
    if (folder / run_folder.REPORT).exists() and state:
        best.write(folder / best.LAST, state.round, state.arrays)
        report = record.load(folder)
        matrix = report.continual.matrix if report.continual else ()
        accuracy = report.history[-1].accuracy or 0.0  # tested anew, where it stopped early
        sha256 = report.weights_sha256
        best_round = report.best["federated"]
        own_accuracies = tuple(shard.accuracy for shard in report.shards if shard.accuracy is not None)
        result = Result(
            accuracy,
            tuple(row.point for row in report.history),
            best_round,
            report.loss,
            sha256,
            matrix=matrix,
            own_accuracies=own_accuracies,
        )
        finished(folder, result)
