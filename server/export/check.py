"""Parity, accuracy and latency of an exported file, and the rule that refuses it.

Every format is reduced to a `Predictor`, so all are asked the same images and timed in the same loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from core.data import Examples
from core.predict import Predictor, floats
from server.record import Latency

PAGE = 500  # images a call, when there are many
DIFFERENCE = 1e-4  # greatest difference of a float export's probabilities from Keras'
WRONG = 0.001  # of what is read with enough confidence
DROP = 0.003  # greatest loss of accuracy of a quantized export
ROUNDS, CALLS, WARM = 40, 25, 25  # timing: rounds, calls a contender in each, calls before them


@dataclass(frozen=True)
class ParityTest:
    """What every export is asked, and what Keras probabilities."""

    images: np.ndarray  # f32 [n, 28, 28, 1] in 0 … 1
    labels: np.ndarray  # int64 [n]
    truth: np.ndarray  # f32 [n, 10]: Keras' probabilities

    @classmethod
    def of(cls, reference: Predictor, test: Examples) -> ParityTest:
        """All test images, and what the reference makes of them."""
        images = floats(test.x)
        return cls(images, test.y, ask(reference, images))

    @property
    def accuracy(self) -> float:
        """Keras' own."""
        return float((self.truth.argmax(1) == self.labels).mean())


def ask(predict: Predictor, images: np.ndarray) -> np.ndarray:
    """Probabilities f32 [n, 10], page by page."""
    return np.concatenate([predict(images[i : i + PAGE]) for i in range(0, len(images), PAGE)])


@dataclass(frozen=True)
class Score:
    """What an export makes of the test images, and how near it is to Keras."""

    accuracy: float  # share of images read right, 0 … 1
    difference: float  # the greatest of all probabilities' differences from Keras'
    agreement: float  # share of images for which both say the same class


def score(predict: Predictor, parity: ParityTest) -> Score:
    """Ask an export all test images. Raises ValueError if its probabilities have the wrong shape."""
    probabilities = ask(predict, parity.images)
    if probabilities.shape != parity.truth.shape:
        raise ValueError(f"probabilities should be {list(parity.truth.shape)}, not {list(probabilities.shape)}")
    chosen = probabilities.argmax(1)
    return Score(
        accuracy=float((chosen == parity.labels).mean()),
        difference=float(np.abs(probabilities - parity.truth).max()),
        agreement=float((chosen == parity.truth.argmax(1)).mean()),
    )


def objection(marks: Score, parity: ParityTest, quantized: bool) -> str | None:
    """Why an export with these marks is refused; None if it may go out."""
    fall, difference = round(parity.accuracy - marks.accuracy, 9), marks.difference  # 0.95 - 0.947 > 0.003
    if not math.isfinite(difference):  # NaN is not greater than any limit
        return "probabilities, its own or Keras', are not numbers"
    if quantized:
        most = max(DROP, 1 / len(parity.labels))  # of few test images, one may fall
        return f"accuracy falls by {100 * fall:.2f} points, more than {100 * most:.2f}" if fall > most + 1e-9 else None
    return (
        f"probabilities differ from Keras' by {difference:.2g}, more than {DIFFERENCE}"
        if difference > DIFFERENCE
        else None
    )


class Reliable(NamedTuple):
    """From which probability on a reading is to be relied on, and what that rests on."""

    threshold: float  # the least such probability, 0 … 1
    images: int  # that are read with at least this one
    right: int  # how many of them are read right


def reliable(probabilities: np.ndarray, labels: np.ndarray) -> Reliable | None:
    """The least probability of which it holds: of images read with at least this one, at most WRONG are misread; if there is
    none, the greatest that occurs (int8's are multiples of 1/256, and many images share the last).

    probabilities: f32 [n, classes]; labels: int64 [n]. None if too few images to say so.
    """
    if len(labels) < 1 / WRONG:
        return None
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    order = np.argsort(-confidence, kind="stable")
    count, good = np.arange(1, len(order) + 1), right[order].cumsum()
    last = np.append(np.diff(confidence[order]) < 0, True)  # of those with the same probability
    enough = np.flatnonzero(last & (count - good <= WRONG * count))
    at = int(enough[-1]) if len(enough) else int(np.flatnonzero(last)[0])
    return Reliable(float(confidence[order[at]]), int(count[at]), int(good[at]))


def latencies(contenders: Mapping[str, Predictor], images: np.ndarray) -> dict[str, Latency]:
    """Milliseconds a call at batch 1, median and 95th percentile, each contender as the caller threaded it.

    They take turns in short rounds, so whatever else this machine does hits all alike. images: f32 [n, 28, 28, 1].
    """
    singles = [images[i : i + 1] for i in range(min(CALLS, len(images)))]
    for predict in contenders.values():
        for i in range(WARM):
            predict(singles[i % len(singles)])
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, predict in contenders.items():
            times[name] += [_seconds(predict, singles[i % len(singles)]) for i in range(CALLS)]
    return {name: _summary(seconds) for name, seconds in times.items()}


def _seconds(predict: Predictor, image: np.ndarray) -> float:
    start = time.perf_counter()
    predict(image)
    return time.perf_counter() - start


def _summary(seconds: list[float]) -> Latency:
    median, high = np.percentile(seconds, [50, 95]) * 1000
    return Latency(round(float(median), 4), round(float(high), 4))
