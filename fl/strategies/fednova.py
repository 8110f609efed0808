"""FedNova: clients that take more steps do not pull the model further (Wang et al. 2020, arXiv:2007.07481).

Where clients take different numbers of steps, a plain mean ends at the optimum of another loss, in which a client counts with its
steps too. So each client's movement is divided by its effective steps Eᵢ, and the mean of these, which is a direction, is walked
Σ pᵢEᵢ effective steps far: w⁺ = w + (Σ pᵢEᵢ) · Σ pᵢ (yᵢ − w) / Eᵢ, pᵢ being a client's share of the examples.

Under heavy-ball momentum μ a constant gradient g moves the weights by η·g·E with E = Σₖ (1 − μᵏ) / (1 − μ), k = 1 … K steps: the
paper's ‖a‖₁. Without momentum E = K. With equal steps it is FedAvg.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.arrays import Arrays
from core.config.scenario import Scenario
from core.methods.base import Finetune
from fl.strategies.base import Contribution, State
from fl.strategies.scaffold import reach


@dataclass(frozen=True)
class FedNova:
    """Normalized averaging, for clients that train with this momentum. It has no state."""

    momentum: float

    def client(self) -> Sequence[Finetune]:
        return ()

    def start(self, arrays: Arrays) -> State:
        return {}

    def aggregate(
        self, state: State, arrays: Arrays, contributions: Sequence[Contribution], round: int
    ) -> tuple[State, Arrays]:
        weights = np.array([one.weight for one in contributions])
        effective = np.array([reach(one.steps, 1.0, self.momentum) for one in contributions])
        p = weights / weights.sum()
        factors = p * (p @ effective) / effective
        movements = [
            sum((f * (new.astype(np.float64) - old) for f, new in zip(factors, each, strict=True)), np.zeros(old.shape))
            for old, each in zip(arrays, zip(*(one.arrays for one in contributions), strict=True), strict=True)
        ]
        return state, [(old + m).astype(old.dtype) for old, m in zip(arrays, movements, strict=True)]

    def finish(self, state: State, arrays: Arrays) -> Arrays:
        return arrays


def fednova(scenario: Scenario) -> FedNova:
    """Mean of the clients' movements, each over its number of steps (Wang et al. 2020, arXiv:2007.07481)"""
    return FedNova(scenario.local.momentum)
