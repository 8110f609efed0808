"""What a study's table shows of a finished run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace

from core.curves import Point, best, finite
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

    @property
    def accuracy(self) -> bool:
        """Is it the share of some images that are read, in percent?"""
        return self.head.endswith("(%)")


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


SOON = 0.98  # of the validation images
PATIENCE = 5  # rounds without a better validation loss


def to_validation(result: Result, target: float = SOON, examples: bool = False) -> float | None:
    """Where the share of validation images that are read crosses the target, monotone and between rounds as above.

    In rounds; examples: in gradient examples of all clients together, which are steps times `local.batch`.
    """
    numbers = [(point.seen if examples else point.round) or 0 for point in result.curve]
    shares = [math.nan if share is None else share for share in result.validation]
    curve = tuple(Point(share, int(number)) for share, number in zip(shares, numbers, strict=False))
    return rounds_to_smoothed(replace(result, curve=curve), target)


def stopping(result: Result, patience: int = PATIENCE) -> int | None:
    """The round in which early stopping would have ended the run: after so many without a better validation loss, as
    `core.schedule.plateau` counts them. None if that never came: the run was too short to say."""
    least, waited = math.inf, 0
    for point in result.curve:
        loss = point.validation_loss if finite(point.validation_loss) else math.inf
        least, waited = (loss, 0) if loss < least else (least, waited + 1)
        if waited >= patience:
            return point.round
    return None


def stopped(result: Result, patience: int = PATIENCE) -> float | None:
    """Test accuracy of the weights that early stopping restores: those of the best round by validation loss until then."""
    last = stopping(result, patience)
    found = best([point for point in result.curve if last is None or (point.round or 0) <= last])
    return found.accuracy if found else None


MEASURES: dict[str, Measure] = {
    "accuracy": Measure("accuracy (%)", lambda one: one.accuracy),
    "late": Measure("accuracy, mean of the last tenth of the rounds (%)", late),
    "validation_accuracy": Measure("validation accuracy (%)", lambda one: one.validation_accuracy),
    "best": Measure("accuracy of the best round by validation loss (%)", lambda one: one.best),
    "served": Measure("clients' own images, mean (%)", lambda one: statistics.mean(one.served) if one.served else None),
    "worst_served": Measure("clients' own images, worst client (%)", lambda one: min(one.served, default=None)),
    "average": Measure("average over tasks (%)", lambda one: one.measures.average_accuracy if one.measures else None),
    "incremental": Measure(
        "incremental accuracy (%)", lambda one: one.measures.incremental_accuracy if one.measures else None
    ),
    "forgetting": Measure(
        "forgetting (points)", lambda one: one.measures.forgetting if one.measures else None, more=False
    ),
    "clients_forgetting": Measure(
        "forgetting of a client, in its own order (points)",
        lambda one: one.clients_measures.forgetting if one.clients_measures else None,
        more=False,
    ),
    "rounds_to_99": Measure("rounds to 99 %, raw", rounds_to, 1.0, 1, False, "rounds"),
    "rounds_to_99_smoothed": Measure("rounds to 99 %, monotone", rounds_to_smoothed, 1.0, 1, False, "rounds"),
    "rounds_to_98_validation": Measure(
        "rounds to 98 % of the validation images, monotone", to_validation, 1.0, 1, False, "rounds"
    ),
    "examples_to_98_validation": Measure(
        "gradient examples to 98 % of the validation images, monotone (thousands)",
        lambda one: to_validation(one, examples=True),
        0.001,
        1,
        False,
        "thousand examples",
    ),
    "stopped": Measure(f"accuracy with early stopping, patience {PATIENCE}, best weights restored (%)", stopped),
    "stopped_round": Measure(f"round of early stopping, patience {PATIENCE}", stopping, 1.0, 1, False, "rounds"),
    "megabytes": Measure("MB received", lambda one: one.megabytes.received, 1.0, 1, False, "MB"),
    "memory": Measure(
        "memory a client (kB)", lambda one: one.memory_bytes / 1000 if one.measures else None, 1.0, 0, False, "kB"
    ),
}
