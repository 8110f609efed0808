"""What the curve of a training says of it: which round was best, and whether it diverged.

A curve is a mapping a round, in order, with `round`, `accuracy` (share of test images), `loss` and `validation_loss` (mean
cross-entropy, nats; None where it was not measured or is no finite number).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

WORSE = 2.0  # times its lowest loss
LOST = 0.01  # of the test images

Point = Mapping[str, Any]


def best(curve: Sequence[Point]) -> Point | None:
    """The round with the lowest validation loss, the first of equals; None if none has one.

    Test images choose nothing: what they chose they could not judge.
    """
    measured = [point for point in curve if _finite(point.get("validation_loss"))]
    return min(measured, key=lambda point: point["validation_loss"], default=None)


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
    last = curve[-1]
    if "loss" in last and not _finite(last["loss"]):
        return f"its loss is no finite number after round {last['round']}"
    key, name = ("validation_loss", "validation loss") if best(curve) else ("loss", "test loss")
    top = best([{**point, "validation_loss": point.get(key)} for point in curve])
    if forgets or top is None:
        return None
    if not _finite(last.get(key)):
        return f"its {name} is no finite number after round {last['round']}"
    if last[key] <= WORSE * top[key] or last["accuracy"] >= top["accuracy"] - LOST:
        return None
    return (
        f"its {name} rose from {top[key]:.3g} in round {top['round']} to {last[key]:.3g} at the end, "
        f"its test accuracy fell from {100 * top['accuracy']:.2f} to {100 * last['accuracy']:.2f} %"
    )


def _finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
