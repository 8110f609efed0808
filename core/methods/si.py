"""Synaptic intelligence: how much each weight did for the loss, summed along the way. Where it is held: core/methods/ewc.py."""

from __future__ import annotations

import numpy as np

from core.arrays import Arrays, in_order, numbered
from core.engines.base import Engine
from core.methods.base import Finetune, Memory, Slot, earlier_slots, own_slot, with_slots
from core.methods.ewc import anchor, anchored, check, kept_anchor, newest, summed
from core.models import ModelSpec
from core.plan import Learned, Lesson, Pull


class Si(Finetune):
    """c · Σ Ω (w − w*)², Ω = Σ over stages of (path integral of −gradient · movement) / (movement² + ξ)
    (Zenke et al. 2017, arXiv:1703.04200); the path is the client's own steps, not what averaging moves

    A stage in which moving a weight made the loss worse adds 0 to its importance; in the authors' code it takes away, down to 0.
    """

    name = "si"
    path = True

    def __init__(
        self,
        model: ModelSpec,
        *,
        strength: float = 0.5,  # c, at least 0
        damping: float = 0.01,  # ξ, above 0
        anchor: str = "averaged",  # where weights are held: averaged, local (where it left them itself)
    ) -> None:
        super().__init__(model)
        check(self.name, strength, anchor=anchor)
        if not damping > 0:
            raise ValueError(f"damping = {damping} of {self.name} should be above 0")
        self.strength, self.damping, self.anchor = strength, damping, anchor

    def pull(self, memory: Memory, lesson: Lesson) -> Pull:
        slot = newest(memory, self.name, lesson.stage)
        if not slot or not self.strength:
            return Pull.none(lesson.start)
        return anchored(
            in_order("omega", slot), anchor(self.anchor, memory, self.name, lesson), 2 * self.strength, lesson
        )

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        moved = [w - s for w, s in zip(learned.weights, lesson.start, strict=True)]
        return self.gathered(memory, lesson, learned, learned.path, moved) if learned.path else memory

    def gathered(
        self, memory: Memory, lesson: Lesson, learned: Learned, path: Arrays, moved: Arrays, beside: Slot | None = None
    ) -> Memory:
        """The memory after a round. path, moved: path integral and movement of the weights whose steps give the importance.

        beside: what else is kept of the stage.
        """
        slot, before = own_slot(memory, self.name, lesson.stage), newest(memory, self.name, lesson.stage)
        if slot:
            path = [p + q for p, q in zip(path, in_order("path", slot), strict=True)]
            moved = [m + q for m, q in zip(moved, in_order("moved", slot), strict=True)]
        omega = [np.maximum(p, 0) / (m * m + np.float32(self.damping)) for p, m in zip(path, moved, strict=True)]
        if before:
            omega = [o + q for o, q in zip(omega, in_order("omega", before), strict=True)]
        slots = earlier_slots(memory, self.name, lesson.stage)
        last = {s: summed(slots[s]) for s in list(slots)[-1:]}
        new = (
            numbered("omega", omega)
            | kept_anchor(self.anchor, memory, self.name, lesson, learned)
            | numbered("path", path)
            | numbered("moved", moved)
            | dict(beside or {})
        )
        return with_slots(memory, self.name, last | {lesson.stage: new})
