"""Learning without forgetting: an earlier model teaches, on the client's own images, what it says of classes they are not.

The model before a stage knows nothing of classes that nobody had met then: its answers would push down what others learn at the
same time. A client can only be sure of the classes that it met itself, so these alone are taught (teacher=stage). The global model
of the last round knows what the others learn (teacher=round), and teaches all classes that the client's own images are not.
"""

from __future__ import annotations

import numpy as np

from core.arrays import in_order, numbered
from core.config.parse import unknown
from core.data import Examples
from core.engines.base import Engine
from core.methods.base import Finetune, Memory, earlier_slots, own_slot, with_slots
from core.models import ModelSpec
from core.plan import Distillation, Learned, Lesson

TEACHERS = ("stage", "round")


class Lwf(Finetune):
    """Matches a teacher's answers for classes that the client's own images are not; in a stage with all classes nothing is taught.
    teacher=stage: the model of before this stage, for classes that the client met in earlier ones (Li and Hoiem 2016,
    arXiv:1606.09282; on logits, as DER does); teacher=round: the global model as received, which knows what other clients
    hold (after FedNTD, Lee et al. 2022, arXiv:2106.03097)"""

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

    def distil(self, memory: Memory, lesson: Lesson, engine: Engine, views: Examples) -> Distillation:
        taught = self._known_classes(memory, lesson) & ~np.isin(np.arange(self.model.classes), lesson.examples.y)
        if not taught.any() or not self.strength:
            return Distillation.nothing(len(views))
        model = in_order("w", own_slot(memory, self.name, lesson.stage)) or lesson.start
        soft = np.tile(np.float32(2 * self.strength) * taught.astype(np.float32), (len(views), 1))
        return Distillation(soft, engine.logits(model, views.x))

    def _known_classes(self, memory: Memory, lesson: Lesson) -> np.ndarray:
        """Of which classes the teacher can tell something: bool [classes]."""
        if self.teacher == "round":
            return np.ones(self.model.classes, bool)
        known = np.zeros(self.model.classes, bool)
        for slot in earlier_slots(memory, self.name, lesson.stage).values():
            # An older version's: all
            known |= slot["met"].astype(bool) if len(slot.get("met", ())) == len(known) else True
        return known

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        if self.teacher == "round":
            return memory
        teacher = in_order("w", own_slot(memory, self.name, lesson.stage)) or lesson.start
        met = np.isin(np.arange(self.model.classes), lesson.examples.y).astype(np.uint8)
        slots = {
            s: {"met": slot.get("met", np.ones(1, np.uint8))}
            for s, slot in earlier_slots(memory, self.name, lesson.stage).items()
        }
        return with_slots(memory, self.name, slots | {lesson.stage: {"met": met} | numbered("w", teacher)})
