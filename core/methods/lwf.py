"""Learning without forgetting: an earlier model teaches, on the client's own images, what it says of classes they are not."""

from __future__ import annotations

import numpy as np

from core.arrays import in_order, numbered
from core.config.parse import unknown
from core.engines.base import Engine
from core.methods.base import Finetune, Memory, earlier, kept, own
from core.models import ModelSpec
from core.plan import Distillation, Learned, Lesson

TEACHERS = ("stage", "round")


class Lwf(Finetune):
    """Matches a teacher's answers for classes that the client's own images are not: teacher=stage, the model of before
    this stage (Li and Hoiem 2016, arXiv:1606.09282; on logits, as Buzzega et al. 2020 do); teacher=round, the global model
    as received, which knows what other clients hold (after FedNTD, Lee et al. 2022, arXiv:2106.03097)"""

    name = "lwf"

    def __init__(
        self,
        model: ModelSpec,
        *,
        strength: float = 1.0,  # weight of the teacher's answers; range [0, 1000]
        teacher: str = "stage",  # who teaches: stage, round
    ) -> None:
        super().__init__(model)
        if not 0 <= strength <= 1000:
            raise ValueError(f"strength = {strength} of lwf should be 0 … 1000")
        if teacher not in TEACHERS:
            raise unknown("teacher", teacher, TEACHERS)
        self.strength, self.teacher = strength, teacher

    def distil(self, memory: Memory, lesson: Lesson, engine: Engine) -> Distillation:
        first = self.teacher == "stage" and not earlier(memory, self.name, lesson.stage)
        if first or not self.strength:
            return Distillation.nothing(len(lesson.examples))
        slot = own(memory, self.name, lesson.stage)
        model = in_order("w", slot) if slot else lesson.start
        other = ~np.isin(np.arange(self.model.classes), lesson.examples.y)
        soft = np.tile(np.float32(2 * self.strength) * other.astype(np.float32), (len(lesson.examples), 1))
        return Distillation(soft, engine.logits(model, lesson.examples.x))

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        if self.teacher == "round":
            return memory
        slot = own(memory, self.name, lesson.stage) or numbered("w", lesson.start)
        slots = {s: {"met": np.ones(1, np.uint8)} for s in earlier(memory, self.name, lesson.stage)}
        return kept(memory, self.name, slots | {lesson.stage: slot})
