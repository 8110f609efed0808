"""FedProx: each client is held near the weights that it received."""

from __future__ import annotations

from core.config.scenario import Scenario
from core.methods.base import Finetune, Memory
from core.models import ModelSpec, of
from core.plan import Lesson, Pull
from fl.strategies.base import within
from fl.strategies.flower import Flower


class Proximal(Finetune):
    """mu/2·|w − w₀|² beside the loss, w₀ being the received weights"""

    name = "proximal"

    def __init__(self, model: ModelSpec, mu: float) -> None:
        super().__init__(model)
        self.mu = mu

    def pull(self, memory: Memory, lesson: Lesson) -> Pull:
        return Pull.towards(lesson.start, self.mu) if self.mu else Pull.none(lesson.start)


def fedprox(
    scenario: Scenario,
    *,
    mu: float = 0.01,  # pull to the received weights; range [0, 1000000]
) -> Flower:
    """FedAvg whose clients are held to the received weights by mu/2·|w - w₀|² (Li et al. 2020, arXiv:1812.06127)"""
    return Flower("FedAvg", methods=(Proximal(of(scenario), within("mu", mu, 0, 1e6)),))
