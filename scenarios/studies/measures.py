"""What a study's table shows of a finished run."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from core.curves import finite
from scenarios.studies.results import Result

TARGET = 0.99  # of the test images, as McMahan et al. 2017 have it for MNIST


@dataclass(frozen=True)
class Measure:
    """How a result is read and shown."""

    head: str  # with its unit
    read: Callable[[Result], float | None]  # None: the run has none
    scale: float = 100.0  # what a value is multiplied with to be shown
    digits: int = 2
    more: bool = True  # is more better?
    unit: str = "points"  # of a difference


def rounds_to(result: Result, target: float = TARGET) -> float | None:
    """The first round after which at least this share of the test images is read; None if there is none."""
    return next((float(point.round or 0) for point in result.curve if point.accuracy >= target), None)


def rounds_to_smoothed(result: Result, target: float = TARGET) -> float | None:
    """Where the curve crosses the target once it is made monotone, by linear interpolation between rounds.

    Monotone: each round has the best accuracy so far (McMahan et al. 2017, arXiv:1602.05629, section 3).
    """
    before, best = 0.0, 0.0  # round, accuracy
    for point in result.curve:
        if finite(point.accuracy) and point.accuracy > best:
            if point.accuracy >= target:
                number = float(point.round or 0)
                step = number - before
                return number - step * (point.accuracy - target) / (point.accuracy - best) if before else number
            best = point.accuracy
        before = float(point.round or 0)
    return None


def late(result: Result) -> float | None:
    """Mean test accuracy over the last tenth of the rounds: where one round's cohort moves the model much, the last one is luck."""
    last = [point.accuracy for point in result.curve][-max(1, len(result.curve) // 10) :]
    return statistics.mean(last) if last and all(map(finite, last)) else None


MEASURES: dict[str, Measure] = {
    "accuracy": Measure("accuracy (%)", lambda one: one.accuracy),
    "late": Measure("accuracy, mean of the last tenth of the rounds (%)", late),
    "validation_accuracy": Measure("validation accuracy (%)", lambda one: one.validation_accuracy),
    "best": Measure("accuracy of the best round by validation loss (%)", lambda one: one.best),
    "average": Measure("average over tasks (%)", lambda one: one.measures.average_accuracy if one.measures else None),
    "incremental": Measure(
        "incremental accuracy (%)", lambda one: one.measures.incremental_accuracy if one.measures else None
    ),
    "forgetting": Measure(
        "forgetting (points)", lambda one: one.measures.forgetting if one.measures else None, more=False
    ),
    "rounds_to_99": Measure("rounds to 99 %, raw", rounds_to, 1.0, 1, False, "rounds"),
    "rounds_to_99_smoothed": Measure("rounds to 99 %, monotone", rounds_to_smoothed, 1.0, 1, False, "rounds"),
    "megabytes": Measure("MB received", lambda one: one.megabytes.received, 1.0, 1, False, "MB"),
    "memory": Measure(
        "memory a client (kB)", lambda one: one.memory_bytes / 1000 if one.measures else None, 1.0, 0, False, "kB"
    ),
}
