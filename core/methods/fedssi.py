"""FedSSI: synaptic intelligence whose importance is gathered by a surrogate, which stays near the federation.

A client's own weights are thrown back by every average, so the path along which SI sums is broken, and where clients differ it
says little about the federation's model. Here each client trains a surrogate v beside: on the same rows as its weights, by the
gradient of its loss + q/2·|v − w|², w being what it received; importance is what v's steps did for the loss. In a stage's first
round v starts at the weights received; in later rounds it goes on from where it stopped. It takes as many steps again, and stays
on the client. What else pulls the weights (SI itself, FedProx, SCAFFOLD …) does not pull v.

Two things are ours. The paper trains the surrogate once, when a task ends, on that task's images; here it is trained in every
round, as nobody knows which is the last. And q = (1 − λ) / (2λ) is as an earlier paper of its authors has it for such a model
(Re-Fed, CVPR 2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from core.arrays import Arrays, finite, in_order, numbered
from core.engines.base import Engine
from core.methods.base import Memory, own_slot
from core.methods.ewc import anchored
from core.methods.si import Si
from core.models import ModelSpec
from core.plan import Learned, Lesson, Plan, Pull


class FedSsi(Si):
    """SI, Ω being gathered by a surrogate that each client trains beside its weights, held to those received by q/2·|v − w|²,
    q = (1 − λ) / (2λ) (FedSSI, Li et al. 2025, arXiv:2412.13779)"""

    name = "fedssi"
    path = False  # the surrogate's plan has one

    def __init__(
        self,
        model: ModelSpec,
        *,
        strength: float = 0.5,  # c, at least 0
        own: float = 0.5,  # λ, how much the surrogate is the client's own; 1: not held at all; range (0, 1]
        damping: float = 0.01,  # ξ, above 0
        anchor: str = "averaged",  # where weights are held: averaged, local (where the client left them itself)
    ) -> None:
        super().__init__(model, strength=strength, damping=damping, anchor=anchor)
        if not 0 < own <= 1:
            raise ValueError(f"own = {own} of fedssi should be above 0 and at most 1")
        self.q = (1 - own) / (2 * own)

    def auxiliary(self, memory: Memory, lesson: Lesson, plan: Plan) -> Mapping[str, tuple[Arrays, Plan]]:
        ones = [np.ones((), np.float32) for _ in lesson.start]
        proximal = anchored(ones, lesson.start, self.q, lesson)  # which bounds q: a smaller λ holds v no more
        pull = Pull.decay(lesson.start, lesson.scenario.model.l2) + proximal
        return {self.name: (self._surrogate(memory, lesson), replace(plan, pull=pull, path=True))}

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        if self.name not in learned.auxiliary:
            return memory
        surrogate, start = learned.auxiliary[self.name], self._surrogate(memory, lesson)
        # The server never sees the surrogate: where it diverges, the round counts as one in which it took no step.
        if not finite((*surrogate.weights, *surrogate.path)):
            surrogate = replace(surrogate, weights=start, path=[np.zeros_like(w) for w in start])
        moved = [v - s for v, s in zip(surrogate.weights, start, strict=True)]
        return self.gathered(memory, lesson, learned, surrogate.path, moved, numbered("surrogate", surrogate.weights))

    def _surrogate(self, memory: Memory, lesson: Lesson) -> Arrays:
        """The surrogate's weights before this round."""
        return in_order("surrogate", own_slot(memory, self.name, lesson.stage)) or lesson.start
