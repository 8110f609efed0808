"""What a strategy is: how the server makes one model of many, and what it asks of clients for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.arrays import Arrays
from core.config.scenario import Scenario
from core.methods.base import Finetune

# {name: array}: what a strategy carries from round to round; a checkpoint keeps it as it is.
State = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Contribution:
    """What of a client's reply counts."""

    client: int
    arrays: Arrays  # its new weights
    weight: float  # how much it counts in a mean
    steps: int  # that it took, as far as they are believed; at least 1


class Strategy(Protocol):
    """Frozen: what changes is its state. Built with the scenario, so it knows how many clients there are."""

    def client(self) -> Sequence[Finetune]:
        """Its half on the client: methods that join the scenario's own; none for a rule that only aggregates."""

    def start(self, arrays: Arrays) -> State:
        """Its state before the first round, with these weights."""

    def aggregate(
        self, state: State, arrays: Arrays, contributions: Sequence[Contribution], round: int
    ) -> tuple[State, Arrays]:
        """Its new state, and the new global weights of the old ones and these contributions (at least one).

        Raises ValueError if it promises nothing of so few.
        """

    def finish(self, state: State, arrays: Arrays) -> Arrays:
        """The global weights after the last round."""


def mean(contributions: Sequence[Contribution], i: int) -> np.ndarray:
    """Of array i, weighed as the clients are; the plain mean if nobody weighs anything."""
    weights = np.array([one.weight for one in contributions])
    stacked = np.stack([one.arrays[i] for one in contributions]).astype(np.float64)
    return np.average(stacked, 0, weights if weights.any() else None).astype(np.float32)


def median(contributions: Sequence[Contribution], i: int) -> np.ndarray:
    """Of each number of array i, all clients counting alike."""
    return np.median(np.stack([one.arrays[i] for one in contributions]), 0).astype(np.float32)


def within(name: str, value: float, low: float, high: float) -> float:
    """The value of a setting. Raises ValueError, naming it, if it is out of range."""
    if not low <= value <= high:
        raise ValueError(f"strategy.{name} = {value} should be {low} … {high}")
    return value


def its_own_softmax(scenario: Scenario, name: str) -> None:
    """Raises ValueError if the scenario names a softmax option beside a strategy that brings its own."""
    if scenario.softmax.name != "plain":
        raise ValueError(
            f"strategy {name} brings its own softmax; softmax = {scenario.softmax.name} cannot be had with it"
        )
