"""Ditto: each client has a model of its own, trained beside the global one and held near it (Li et al. 2021, arXiv:2012.04221).

A client that is asked trains twice on the same rows: the received weights w as in FedAvg, and its own v by the gradient of
F(v) + λ/2·|v − w|². Only what became of w goes to the server, so the global model is FedAvg's to the last bit; v stays in the
client's memory. A client's first v is the w that it receives first (the authors begin with the run's first weights: the same, if
all clients are asked in the first round).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from core.arrays import Arrays, finite, in_order, numbered
from core.config.scenario import Scenario
from core.engines.base import Engine
from core.methods import closed_forms
from core.methods.base import Finetune, Memory
from core.models import ModelSpec, of
from core.plan import Learned, Lesson, Plan, Pull
from fl.strategies.base import within
from fl.strategies.flower import Flower, fedavg


class PersonalModel(Finetune):
    """A personal model, held to the received weights"""

    name = "ditto"
    personal = True

    def __init__(self, model: ModelSpec, strength: float) -> None:
        super().__init__(model)
        self.strength = strength

    def auxiliary(self, memory: Memory, lesson: Lesson, plan: Plan) -> Mapping[str, tuple[Arrays, Plan]]:
        pull = plan.pull + Pull.towards(lesson.start, self.strength) if self.strength else plan.pull
        return {self.name: (self.serve(memory, lesson.start), replace(plan, pull=pull, path=False))}

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        personal = learned.auxiliary[self.name].weights if self.name in learned.auxiliary else []
        # The server would never see that it is broken, so nothing but this ends a client's divergence.
        if not personal or not finite(personal):
            return memory
        return {**memory, self.name: {lesson.stage: numbered("v", personal)}}  # one slot, whatever the stage

    def serve(self, memory: Memory, arrays: Arrays) -> Arrays:
        slot = next(iter(memory.get(self.name, {}).values()), {})
        return in_order("v", slot) if slot else arrays


def ditto(
    scenario: Scenario,
    *,
    strength: float = 1.0,  # λ, each client's pull to the received weights; range [0, 1 / local.rate]
) -> Flower:
    """FedAvg, and beside it a personal model a client, held near it by λ/2·|v - w|² (Ditto, Li et al. 2021, arXiv:2012.04221)"""
    within("strength", strength, 0, 1e6)
    if strength * scenario.local.rate > 1:
        raise ValueError(
            f"strategy.strength = {strength:g} at local.rate = {scenario.local.rate:g} makes a step overshoot the weights that it "
            f"pulls to; their product should be at most 1"
        )
    if heads := closed_forms(scenario):
        raise ValueError(
            f"strategy = ditto cannot be had with methods = {heads[0].name}: once clients send sums nobody trains, and personal "
            f"models would stay as they are"
        )
    return replace(fedavg(scenario), methods=(PersonalModel(of(scenario), strength),))
