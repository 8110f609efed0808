"""Elastic weight consolidation: weights that mattered to earlier stages are held where they were."""

from __future__ import annotations

import numpy as np

from core.arrays import Arrays, in_order, numbered
from core.engines.base import Engine
from core.methods.base import Finetune, Memory, Slot, earlier, kept
from core.models import ModelSpec
from core.plan import Learned, Lesson, Pull
from core.seeds import rng


class Ewc(Finetune):
    """Online EWC: λ/2 · Σ F (w − w*)², F = γF + the new stage's true Fisher (Kirkpatrick et al. 2017, arXiv:1612.00796;
    Schwarz et al. 2018, arXiv:1805.06370)"""

    name = "ewc"

    def __init__(
        self,
        model: ModelSpec,
        *,
        strength: float = 1000.0,  # λ, at least 0
        decay: float = 1.0,  # γ, what older stages count; range [0, 1]
        samples: int = 200,  # images for the Fisher information, at least 1
    ) -> None:
        super().__init__(model)
        check(self.name, strength, samples)
        if not 0 <= decay <= 1:
            raise ValueError(f"decay = {decay} of ewc should be 0 … 1")
        self.strength, self.decay, self.samples = strength, decay, samples

    def pull(self, memory: Memory, lesson: Lesson) -> Pull:
        slot = newest(memory, self.name, lesson.stage)
        if not slot or not self.strength:
            return Pull.none(lesson.start)
        return anchored(in_order("f", slot), in_order("w", slot), self.strength, lesson)

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        before = newest(memory, self.name, lesson.stage)
        if not len(lesson.examples):
            return memory
        fisher = information(lesson, learned.weights, engine, self.samples)
        if before:
            fisher = [f + np.float32(self.decay) * old for f, old in zip(fisher, in_order("f", before), strict=True)]
        slots = earlier(memory, self.name, lesson.stage)
        last = {s: slots[s] for s in list(slots)[-1:]}  # older ones are in its running sum
        return kept(memory, self.name, last | {lesson.stage: numbered("f", fisher) | numbered("w", learned.weights)})


def newest(memory: Memory, method: str, stage: int) -> Slot:
    """The slot of the last stage before this one; empty if there is none."""
    slots = earlier(memory, method, stage)
    return slots[max(slots)] if slots else {}


def information(lesson: Lesson, learned: Arrays, engine: Engine, samples: int) -> Arrays:
    """The diagonal of the Fisher information on (some of) a lesson's images, with labels drawn from the model's answers."""
    draw = rng(lesson.scenario.seed, "fisher", lesson.client, lesson.round)
    x = lesson.examples.x[draw.permutation(len(lesson.examples))[:samples]]
    z = engine.logits(learned, x)
    labels = (z + draw.gumbel(size=z.shape)).argmax(1)  # a draw from softmax(z)
    return engine.fisher(learned, x, labels)


def anchored(importance: Arrays, anchor: Arrays, strength: float, lesson: Lesson) -> Pull:
    """strength/2 · Σ importance (w − anchor)². No weight is pulled past its anchor in one step: a ≤ (1 − momentum) / rate."""
    most = np.float32((1 - lesson.scenario.local.momentum) / max(lesson.rate, 1e-12))
    a = [np.minimum(np.float32(strength) * f, most) for f in importance]
    return Pull(a, [-one * w for one, w in zip(a, anchor, strict=True)])


def check(name: str, strength: float, samples: int = 1) -> None:
    """Raises ValueError if a setting is out of range."""
    if not 0 <= strength < 1e12:
        raise ValueError(f"strength = {strength} of {name} should be 0 or more")
    if samples < 1:
        raise ValueError(f"samples = {samples} of {name} should be at least 1")
