"""Experience replay: a few images of each earlier stage, a share of every batch."""

from __future__ import annotations

import numpy as np

from core.engines.base import Engine
from core.methods.base import Finetune, Memory, earlier_slots, with_slots
from core.methods.buffer import Buffer, examples, label_type, stored
from core.models import ModelSpec
from core.plan import Learned, Lesson, Rehearsal


class Replay(Finetune):
    """Rehearses stored images of earlier stages (Chaudhry et al. 2019, arXiv:1902.10486)"""

    name = "replay"

    def __init__(
        self,
        model: ModelSpec,
        *,
        images: int = 200,  # most that a client keeps; 0: only kilobytes limits it, and both 0 keep none
        kilobytes: float = 0.0,  # the same with all that is beside them; 0: only images limits it
        select: str = "balanced",  # which stay: balanced, reservoir, herding
        share: float = 0.5,  # of every batch; range [0, 1)
    ) -> None:
        super().__init__(model)
        if not 0 <= share < 1:
            raise ValueError(f"share = {share} of {self.name} should be 0 … 1, below 1")
        self.buffer, self.share = Buffer(images, kilobytes, select, model.classes), share

    def rehearse(self, memory: Memory, lesson: Lesson, engine: Engine) -> Rehearsal:
        return Rehearsal.labels(examples(stored(memory, self.name, lesson, self.buffer)), self.share)

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        slots = earlier_slots(memory, self.name, lesson.stage)
        if len(lesson.examples):
            slots[lesson.stage] = {
                **self.buffer.fit(lesson, learned.weights, engine),
                **self.blank(len(lesson.examples)),
            }
        slots = self.buffer.within(slots)
        if lesson.stage in slots:
            slots[lesson.stage] = self.filled(dict(slots[lesson.stage]), learned, engine)
        return with_slots(memory, self.name, slots)

    def rehearses(self, met: int) -> int:
        return min(met, self.buffer.most(sum(array.nbytes for array in self.blank(1).values())))

    def blank(self, count: int) -> dict[str, np.ndarray]:
        """Room for what a method keeps beside each image, so that the budget counts it."""
        return {}

    def filled(self, slot: dict[str, np.ndarray], learned: Learned, engine: Engine) -> dict[str, np.ndarray]:
        """This stage's slot, cut to the budget, with what a method keeps beside each image."""
        return slot


class Joint(Finetune):
    """Keeps everything, with no budget: all data so far in every round; a reference for methods with a budget"""

    name = "joint"

    def rehearse(self, memory: Memory, lesson: Lesson, engine: Engine) -> Rehearsal:
        old = examples(stored(memory, self.name, lesson))
        return Rehearsal.labels(old, len(old) / max(1, len(old) + len(lesson.examples)))

    def rehearses(self, met: int) -> int:
        return met

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        slots = earlier_slots(memory, self.name, lesson.stage)
        slots[lesson.stage] = {"x": lesson.examples.x, "y": lesson.examples.y.astype(label_type(self.model.classes))}
        return with_slots(memory, self.name, slots)
