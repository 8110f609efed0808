"""Personal layers: a part of the model stays with each client and fits its own data; the rest is learned by all.

FedPer keeps the last layers (Arivazhagan et al. 2019, arXiv:1912.00818), FedBN those that normalize (Li et al. 2021,
arXiv:2102.07623). A client starts each round from the received weights with its own arrays in their place, keeps what it learned of
those in its memory, and sends them back as it received them. So the global model's own arrays of these layers stay what they were
before the first round: what it reads is true, but means little. The clients' own models count.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from core.arrays import Arrays, finite
from core.config.scenario import Scenario
from core.engines.base import Engine
from core.methods import METHODS
from core.methods.base import Finetune, Memory, Payloads, Received
from core.models import ModelSpec, of
from core.plan import Learned, Lesson
from fl.strategies.base import Contribution, State, within
from fl.strategies.flower import Flower, fedavg


class PersonalLayers(Finetune):
    """Some arrays stay with the client, and never leave it"""

    name = "personal"
    personal = True

    def __init__(self, model: ModelSpec, kept: Collection[int]) -> None:
        """kept: which of the model's arrays stay with the client."""
        super().__init__(model)
        self.kept = frozenset(kept)

    def begin(self, memory: Memory, arrays: Arrays) -> Arrays:
        return self.serve(memory, arrays)

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        layers = {str(i): learned.weights[i] for i in sorted(self.kept)}
        # The server would never see that they are broken, so nothing but this ends a client's divergence.
        if not learned.sums.examples or not finite(layers.values()):
            return memory
        return {**memory, self.name: {lesson.stage: layers}}  # one slot, whatever the stage

    def publish(self, received: Arrays, learned: Arrays) -> Arrays:
        return [old if i in self.kept else new for i, (old, new) in enumerate(zip(received, learned, strict=True))]

    def serve(self, memory: Memory, arrays: Arrays) -> Arrays:
        slot = next(iter(memory.get(self.name, {}).values()), {})
        # A run before this one may have kept other layers: what is shared now comes from the server.
        return [slot.get(str(i), array) if i in self.kept else array for i, array in enumerate(arrays)]

    def accept(self, payloads: Payloads, received: Received) -> Payloads:
        """Nothing; a client that sent other personal layers than it received is refused."""
        pairs = enumerate(zip(received.request.arrays, received.arrays, strict=False))  # without a step it sent none
        if any(i in self.kept and not np.array_equal(old, new) for i, (old, new) in pairs):
            raise ValueError("it sent layers that stay with the client, and should come back as they were sent")
        return {}


@dataclass(frozen=True)
class SharedLayers(Flower):
    """A rule of Flower's for the arrays that all share."""

    kept: frozenset[int] = frozenset()  # the others, which stay with clients

    def aggregate(
        self, state: State, arrays: Arrays, contributions: Sequence[Contribution], round: int
    ) -> tuple[State, Arrays]:
        state, weights = super().aggregate(state, arrays, contributions, round)
        # A mean of equal numbers is rounded, and would wander off.
        return state, [old if i in self.kept else new for i, (old, new) in enumerate(zip(arrays, weights, strict=True))]


def fedper(
    scenario: Scenario,
    *,
    layers: int = 1,  # the last layers with weights, so many, stay with the client; at least 0
) -> Flower:
    """FedAvg of the first layers; each client keeps the last ones (FedPer, Arivazhagan et al. 2019, arXiv:1912.00818)"""
    names = [name.partition("/")[0] for name in of(scenario).names]
    layer_names = list(dict.fromkeys(names))
    within("layers", layers, 0, len(layer_names))
    last = layer_names[len(layer_names) - layers :]
    return _personal(scenario, "fedper", [i for i, name in enumerate(names) if name in last])


def fedbn(scenario: Scenario) -> Flower:
    """FedAvg of all but normalization layers, which each client keeps (FedBN, Li et al. 2021, arXiv:2102.07623)"""
    if not (norms := of(scenario).norms()):
        raise ValueError(
            "strategy = fedbn needs model.norm = batch or group: it keeps normalization layers, and this model has none"
        )
    return _personal(scenario, "fedbn", norms)


def _personal(scenario: Scenario, name: str, kept: Collection[int]) -> Flower:
    """FedAvg of the other arrays. Raises ValueError for methods that would send what they make of all of them."""
    rule, model = fedavg(scenario), of(scenario)
    if not kept:
        return rule
    zeros = [np.zeros(shape, np.float32) for shape in model.shapes]
    for part in scenario.methods:
        if part.build("methods", METHODS, model).shapes(zeros):
            raise ValueError(
                f"strategy = {name} cannot be had with methods = {part.name}, which sends what it makes of all layers: "
                f"some stay with the client"
            )
    return SharedLayers(rule.rule, rule.arguments, methods=(PersonalLayers(model, kept),), kept=frozenset(kept))
