"""Checks of what comes in: it is foreign until all of them have passed. Each raises ValueError, saying what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import ArrayRecord

from core.arrays import DAMAGE, Arrays, parsed
from core.config.scenario import Scenario
from core.data import dataset, mnist
from core.stream import course
from core.text import cleaned

Numbers = Mapping[str, Any]
STYPE = "numpy.ndarray"  # how Flower says that an array is numpy's own file
SECONDS = 1e6  # of a client's work
LETTERS = 200  # of a word
CLIENTS = ROUNDS = 1_000_000  # more than any federation has
MEMORY = 10**12  # bytes; more than any client keeps
BATTERY = (-1, 1)  # how full it is; -1: there is none
LOSS = 1e6  # nats an example, on average: a model that far off has diverged
HEADER = 4096  # bytes of an array's file beside its numbers


@dataclass(frozen=True)
class Limits:
    """The most that a reply may say, as far as it depends on the scenario; what does not are the constants above, and each
    field's range is in `wire.update`."""

    examples: int = 1_000_000  # that a client learns from in a round, or holds
    rows: int = 10**12  # gradient examples of a round
    looks: int = 100
    tasks: int = 100_000
    classes: int = mnist.SPEC.classes

    @classmethod
    def of(cls, scenario: Scenario) -> Limits:
        """Those of a scenario. A client takes at most a step for each of its examples and passes, and one more."""
        most, batch, passes = scenario.max_examples, scenario.local.batch, max(1.0, scenario.local.epochs)
        return cls(
            most,
            batch * (int(2 * most * passes) + 1),
            len(scenario.looks),
            len(course(scenario).tests),
            dataset(scenario).classes,
        )


def whole(numbers: Numbers, name: str, low: int, high: int) -> int:
    value = numbers[name]
    if type(value) is not int or not low <= value <= high:
        raise _nonsense(name, value, low, high)
    return value


def real(numbers: Numbers, name: str, low: float, high: float) -> float:
    value = numbers[name]
    if not isinstance(value, int | float) or not low <= value <= high:  # NaN is not between anything
        raise _nonsense(name, value, low, high)
    return float(value)


def several(numbers: Numbers, name: str, count: int, low: float, high: float) -> list[float]:
    """A list of so many numbers, or of none."""
    values = numbers[name]
    if not isinstance(values, list) or len(values) not in (0, count):
        fault = f"has {len(values):,} {name}" if isinstance(values, list) else f"says {cleaned(values, 40)} for {name}"
        raise ValueError(f"the answer {fault}; there should be {count}, or none")
    if wrong := [value for value in values if not low <= value <= high]:
        raise _nonsense(name, wrong[0], low, high)
    return [float(value) for value in values]


def _nonsense(name: str, value: object, low: float, high: float) -> ValueError:
    found = f"{value:.4g}" if isinstance(value, float) else cleaned(value, 40)
    return ValueError(f"the answer's numbers make no sense: {name} = {found} should be between {low:g} and {high:g}")


def weights(record: ArrayRecord, like: Arrays) -> Arrays:
    """The arrays of a record, which must be like these. How long each may be is checked before any of it is read."""
    if set(record) != {str(i) for i in range(len(like))}:
        raise ValueError(f"the answer has {len(record)} arrays, not {len(like)}")
    arrays = []
    for i, wanted in enumerate(like):
        array = record[str(i)]
        if array.stype != STYPE or len(array.data) > wanted.nbytes + HEADER:
            raise ValueError(
                f"array {i} is {cleaned(array.stype, 40)} of {len(array.data):,} bytes, not {wanted.nbytes:,}"
            )
        try:
            arrays.append(parsed(array.data, wanted.shape))
        except DAMAGE as error:
            raise ValueError(f"the answer's arrays are not readable: {cleaned(error, 100)}") from None
        expected = f"{wanted.dtype} {list(wanted.shape)}"
        if arrays[i].shape != wanted.shape or arrays[i].dtype != wanted.dtype:
            raise ValueError(f"array {i} is {arrays[i].dtype} {list(arrays[i].shape)}, not {expected}")
        if not np.isfinite(arrays[i]).all():
            raise ValueError(f"array {i} holds NaN or infinity")
    return arrays
