"""What the curve of a training says of it: which round was best, and whether it diverged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeGuard, TypeVar

WORSE = 2.0  # times its lowest loss
LOST = 0.01  # of the test images


@dataclass(frozen=True)
class Point:
    """A training after a round. Accuracies are shares of test images, 0 … 1; losses are mean cross-entropy in nats, None where
    they were not measured or are no finite number."""

    accuracy: float
    round: int | None = None
    loss: float | None = None
    validation_loss: float | None = None
    seen: float | None = None  # gradient examples so far
    low: float | None = None  # the lowest accuracy of those that this point stands for (clients, or seeds)
    high: float | None = None  # the highest


class Measured(Protocol):
    """A round of a training: a Point, or a round's whole record."""

    @property
    def round(self) -> int | None: ...
    @property
    def accuracy(self) -> float | None: ...
    @property
    def loss(self) -> float | None: ...
    @property
    def validation_loss(self) -> float | None: ...


M = TypeVar("M", bound=Measured)


def best(curve: Sequence[M]) -> M | None:
    """The round with the lowest validation loss, the first of equals; None if none has one.

    Test images choose nothing: what they chose they could not measure.
    """
    losses = [(point.validation_loss, i) for i, point in enumerate(curve) if finite(point.validation_loss)]
    return curve[min(losses)[1]] if losses else None


def diverged(curve: Sequence[Point], forgets: bool = False) -> str | None:
    """Why a training counts as diverged, in words; None if it does not.

    It has diverged if its last loss is no finite number, or if both its last loss is more than twice that of its best round
    and more than a point of accuracy is gone since. Loss alone would blame a model that grows too sure of itself while it
    still reads more, accuracy alone one that wavers by its noise; on the way to a fair end both go together only by
    accident, for rates fall towards the end. The loss is that of the validation images, or of the test images if there are
    none: this chooses no weights. forgets: a loss that rises is to be expected, as images of earlier stages or of clients
    that left are not trained on any more; forgetting is measured by itself, and only a loss that is not finite counts.
    """
    if not curve:
        return None
    last, name = curve[-1], "validation loss"
    if not finite(last.loss):
        return f"its loss is no finite number after round {last.round}"
    if not best(curve):
        curve, name = [replace(point, validation_loss=point.loss) for point in curve], "test loss"
    top, last_loss = best(curve), curve[-1].validation_loss
    if forgets or top is None or top.validation_loss is None:
        return None
    if not finite(last_loss):
        return f"its {name} is no finite number after round {last.round}"
    if last_loss <= WORSE * top.validation_loss or last.accuracy >= top.accuracy - LOST:
        return None
    return (
        f"its {name} rose from {top.validation_loss:.3g} in round {top.round} to {last_loss:.3g} at the end, "
        f"its test accuracy fell from {100 * top.accuracy:.2f} to {100 * last.accuracy:.2f} %"
    )


def finite(value: float | None) -> TypeGuard[float]:
    """Is it a number, and a finite one?"""
    return value is not None and math.isfinite(value)
