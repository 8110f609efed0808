"""What trackers are given of a run, as flat names: its settings, each round's numbers, what it comes to."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from core.config import overrides
from core.config.part import Part
from core.config.scenario import Scenario
from core.curves import Point, finite
from core.metrics import first_taught, forgetting
from core.stream import course
from scenarios.check import REGISTRIES
from scenarios.trackers.base import Setting, Values
from server import stages
from server.record import Report, RoundRecord

LONGEST = 60  # letters of a task's name


def settings(scenario: Scenario) -> dict[str, Setting]:
    """All settings, by the names that `--set` takes, those of its pieces that are as usual too."""
    whole = {kind: _whole(kind, getattr(scenario, kind)) for kind in REGISTRIES}
    by_path = overrides.values(dataclasses.replace(scenario, **whole))
    return {
        path: value if isinstance(value, str | int | float) else json.dumps(value) for path, value in by_path.items()
    }


def _whole(kind: str, pieces: Any) -> Any:
    """A piece, or several, with all their settings."""
    if isinstance(pieces, Part):
        return Part(pieces.name, pieces.settings(kind, REGISTRIES[kind]))
    return tuple(_whole(kind, part) for part in pieces)


def scalars(scenario: Scenario, history: Sequence[RoundRecord]) -> dict[str, float]:
    """The newest round's numbers. history: all rounds up to it.

    Accuracies are shares of images, losses nats, times seconds, sizes bytes. What was not measured, or is no finite number,
    is left out.
    """
    row = history[-1]
    trained = bool(row.examples)
    drift = [far for far in row.drift.values() if far is not None]
    split = row.forgetting_split
    numbers = {
        "accuracy/test": row.accuracy,
        "accuracy/train": row.train_accuracy if trained else None,
        "accuracy/validation": row.validation_accuracy,
        "accuracy/clients": fmean(row.clients_accuracy.values()) if row.clients_accuracy else None,
        "loss/test": row.loss,
        "loss/train": row.train_loss,
        "loss/validation": row.validation_loss,
        "rate": row.rate,
        "examples/round": row.examples,
        "examples/seen": row.seen,
        "clients/answered": len(row.clients),
        "clients/idle": len(row.idle),
        "clients/failed": len(row.failed),
        "clients/asked_again": len(row.retried),
        "drift/mean": fmean(drift) if drift else None,
        "drift/max": max(drift, default=None),
        "memory/max": max(row.memory.values(), default=None),
        "battery/min": min(row.battery.values(), default=None),
        "bytes/sent": row.bytes.sent,
        "bytes/received": row.bytes.received,
        "seconds/train": row.seconds.train,
        "seconds/clients": row.seconds.clients,
        "seconds/evaluate": row.seconds.evaluate,
        "forgetting/temporal": split.temporal if split else None,
        "forgetting/spatial": split.spatial if split else None,
    }
    return _finite(numbers | (_staged(scenario, history) if stages.staged(scenario) else {}))


def _staged(scenario: Scenario, history: Sequence[RoundRecord]) -> dict[str, float]:
    """Each task's accuracy, and the report's measures as they would be if the run ended with this round.

    The mean is over the tasks met so far. What a run before this one knew is in no round's record, so forgetting of a run that
    goes on from another is in its report only.
    """
    shared, rows = course(scenario), stages.closing(scenario, history)
    matrix = np.array([row.tasks_accuracy for row in rows])
    first_stages = first_taught(shared.tasks[: len(rows)], matrix.shape[1])
    numbers = {
        f"task/{number} {re.sub(r'[^0-9A-Za-z_.-]+', '-', test.name)[:LONGEST]}": share
        for number, (test, share) in enumerate(zip(shared.tests, rows[-1].tasks_accuracy, strict=True), 1)
    }
    met = [share for share, first in zip(rows[-1].tasks_accuracy, first_stages, strict=True) if first >= 0]
    numbers["accuracy/average"] = fmean(met)
    if not scenario.past and len(rows) > 1 and (lost := forgetting(matrix, first_stages)):
        numbers["forgetting/mean"] = fmean(lost)
    return numbers


def curves(report: Report) -> dict[str, dict[int, Values]]:
    """The baselines' accuracy and loss by round, under the names of the run's own."""
    return {
        kind: {point.round: _point(point) for point in points if point.round is not None}
        for kind, points in report.curves.items()
        if any(point.round is not None for point in points)
    }


def _point(point: Point) -> dict[str, float]:
    named = {"accuracy/test": point.accuracy, "loss/test": point.loss, "loss/validation": point.validation_loss}
    return _finite(named)


def final(report: Report) -> dict[str, float]:
    """What the run comes to: its last weights, its best round, each baseline, the measures of streams, the exported files."""
    served = [shard.accuracy for shard in report.shards if shard.accuracy is not None]
    numbers: dict[str, float | None] = {"accuracy": report.accuracy, "loss": report.loss}
    numbers |= {f"accuracy_{kind}": accuracy for kind, accuracy in report.baselines.items()}
    numbers |= {f"best_accuracy_{who}": best.accuracy for who, best in report.best.items() if best}
    if served:
        numbers |= {"clients_accuracy_mean": fmean(served), "clients_accuracy_min": min(served)}
    if personal := [shard.personal_accuracy for shard in report.shards if shard.personal_accuracy is not None]:
        numbers |= {"clients_personal_accuracy_mean": fmean(personal), "clients_personal_accuracy_min": min(personal)}
    if report.continual:
        numbers |= dataclasses.asdict(report.continual.measures)
    numbers |= {f"seconds_{name}": spent for name, spent in report.seconds.items()}
    for name, file in report.exports.files.items():
        numbers |= {f"{name}_accuracy": file.accuracy, f"{name}_bytes": file.bytes, f"{name}_ms": file.latency_ms}
    return {f"final/{name}": value for name, value in _finite(numbers).items()}


def _finite(numbers: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items() if finite(value)}
