"""Elastic weight consolidation: weights that mattered to earlier stages are held where they were.

How much a weight mattered is the client's own: the Fisher information of its images at the weights that it learned. The anchor,
where weights are held, is the federation's: the averaged model after the earlier stages, which a client receives in its first
round of the new one. (anchor=local: the weights that the client itself ended with, from which averaging has moved away.)
"""

from __future__ import annotations

import numpy as np

from core.arrays import Arrays, in_order, numbered
from core.config.parse import unknown
from core.engines.base import Engine
from core.methods.base import Finetune, Memory, Slot, earlier_slots, own_slot, with_slots
from core.models import ModelSpec
from core.plan import Learned, Lesson, Pull
from core.seeds import rng

ANCHORS = ("averaged", "local")


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
        anchor: str = "averaged",  # where weights are held: averaged, local (where it left them itself)
    ) -> None:
        super().__init__(model)
        check(self.name, strength, samples, anchor)
        if not 0 <= decay <= 1:
            raise ValueError(f"decay = {decay} of ewc should be 0 … 1")
        self.strength, self.decay, self.samples, self.anchor = strength, decay, samples, anchor

    def pull(self, memory: Memory, lesson: Lesson) -> Pull:
        slot = newest(memory, self.name, lesson.stage)
        if not slot or not self.strength:
            return Pull.none(lesson.start)
        return anchored(in_order("f", slot), anchor(self.anchor, memory, self.name, lesson), self.strength, lesson)

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        before, met = newest(memory, self.name, lesson.stage), len(lesson.examples)
        if not met and not (before and learned.sums.examples):
            return memory
        # Where it only rehearses nothing new matters, but the anchor is this stage's.
        fisher = information(lesson, learned.weights, engine, self.samples) if met else in_order("f", before)
        if before and met:
            fisher = [f + np.float32(self.decay) * old for f, old in zip(fisher, in_order("f", before), strict=True)]
        slots = earlier_slots(memory, self.name, lesson.stage)
        last = {s: summed(slots[s]) for s in list(slots)[-1:]}  # older ones are in its running sum
        anchor_arrays = kept_anchor(self.anchor, memory, self.name, lesson, learned)
        return with_slots(memory, self.name, last | {lesson.stage: numbered("f", fisher) | anchor_arrays})


def summed(slot: Slot) -> Slot:
    """What later stages need of one that is over: its running sums; not where the stage began, or the way through it."""
    return {name: one for name, one in slot.items() if not name.startswith(("anchor", "path", "moved", "surrogate"))}


def newest(memory: Memory, method: str, stage: int) -> Slot:
    """The slot of the last stage before this one; empty if there is none."""
    slots = earlier_slots(memory, method, stage)
    return slots[max(slots)] if slots else {}


def anchor(kind: str, memory: Memory, method: str, lesson: Lesson) -> Arrays:
    """Where this stage's weights are held: what was received when it began, or what the client learned in the stage before."""
    left = in_order("w", newest(memory, method, lesson.stage)) if kind == "local" else []
    # A run before this one may have kept no weights, as its anchor was another.
    return left or in_order("anchor", own_slot(memory, method, lesson.stage)) or lesson.start


def kept_anchor(kind: str, memory: Memory, method: str, lesson: Lesson, learned: Learned) -> dict[str, np.ndarray]:
    """What the slot of this stage keeps of its anchor. A first stage has no anchor: nothing was learned before it."""
    left, before = numbered("w", learned.weights) if kind == "local" else {}, newest(memory, method, lesson.stage)
    if not before or (left and in_order("w", before)):
        return left
    return left | numbered("anchor", anchor(kind, memory, method, lesson))


def information(lesson: Lesson, learned: Arrays, engine: Engine, samples: int) -> Arrays:
    """The diagonal of the Fisher information on (some of) a lesson's images."""
    order = rng(lesson.scenario.seed, "fisher", lesson.client, lesson.round).permutation(len(lesson.examples))
    return engine.fisher(learned, lesson.examples.x[order[:samples]])


def anchored(importance: Arrays, anchor: Arrays, strength: float, lesson: Lesson) -> Pull:
    """strength/2 · Σ importance (w − anchor)². No weight is pulled past its anchor in one step: a ≤ (1 − momentum) / rate."""
    most = np.float32((1 - lesson.scenario.local.momentum) / max(lesson.rate, 1e-12))
    a = [np.minimum(np.float32(strength) * f, most) for f in importance]
    return Pull(a, [-one * w for one, w in zip(a, anchor, strict=True)])


def check(name: str, strength: float, samples: int = 1, anchor: str = "averaged") -> None:
    """Raises ValueError if a setting is out of range."""
    if not 0 <= strength < 1e12:
        raise ValueError(f"strength = {strength} of {name} should be 0 or more, and below 1e12")
    if samples < 1:
        raise ValueError(f"samples = {samples} of {name} should be at least 1")
    if anchor not in ANCHORS:
        raise unknown("anchor", anchor, ANCHORS)
