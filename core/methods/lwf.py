"""Learning without forgetting: the model of before the stage teaches, on the stage's own images, what it would have said."""

from __future__ import annotations

import numpy as np

from core.data import CLASSES
from core.methods.base import Engine, Finetune, Memory, earlier, kept, named, own, weights
from core.plan import Learned, Lesson, Rehearsal


class Lwf(Finetune):
    """matches the answers that the model of before this stage gives for classes which are not in it, on the stage's own
    images (Li and Hoiem 2016, arXiv:1606.09282; on logits, as Buzzega et al. 2020 do)"""

    name = "lwf"

    def __init__(self, *, strength: float = 1.0, share: float = 0.5) -> None:
        if not 0 <= strength <= 1000:
            raise ValueError(f"strength = {strength} of lwf should be 0 … 1000")
        if not 0 <= share < 1:
            raise ValueError(f"share = {share} of lwf should be 0 … 1, below 1")
        self.strength, self.share = strength, share

    def rehearse(self, memory: Memory, lesson: Lesson, engine: Engine) -> Rehearsal:
        if not earlier(memory, self.name, lesson.stage) or not self.strength or not len(lesson.examples):
            return Rehearsal.none()
        slot = own(memory, self.name, lesson.stage)
        teacher = weights(slot, "w") if slot else lesson.start
        other = ~np.isin(np.arange(CLASSES), lesson.examples.y)
        n = len(lesson.examples)
        soft = np.tile(np.float32(2 * self.strength) * other.astype(np.float32), (n, 1))
        answers = engine.answers(teacher, lesson.examples.x)
        return Rehearsal(lesson.examples, np.zeros(n, np.float32), soft, answers, self.share)

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        slot = own(memory, self.name, lesson.stage) or named("w", lesson.start)
        slots = {s: {"met": np.ones(1, np.uint8)} for s in earlier(memory, self.name, lesson.stage)}
        return kept(memory, self.name, slots | {lesson.stage: slot})
