"""What a continual method may do to a client's round: four optional hooks. Plain fine-tuning is the base class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from core.data import Examples
from core.plan import Arrays, Lesson, Pull, Rehearsal

# {method: {stage: {name: array}}}: what a learner carries between rounds. It never leaves the client.
Memory = Mapping[str, Mapping[int, Mapping[str, np.ndarray]]]


class Finetune:
    """plain SGD on what is there now; the lower bound of every continual method"""

    def pull(self, memory: Memory, lesson: Lesson) -> Pull:
        """What holds the weights. Reads only slots of stages before this lesson's."""
        return Pull.none(lesson.start)

    def rehearse(self, memory: Memory, lesson: Lesson) -> Rehearsal:
        """What is looked at again, and what it teaches."""
        return Rehearsal.none()

    def remember(self, memory: Memory, lesson: Lesson, learned: Arrays) -> Memory:
        """The memory after the round: overwrites this stage's own slot, for nobody knows which round is the last."""
        return memory

    def answer(self, memory: Memory, lesson: Lesson, learned: Arrays) -> dict[str, Arrays]:
        """Extra arrays for the server."""
        return {}


class Chain(Finetune):
    """Several methods at once: pulls add up, rehearsals are joined, each remembers in its own slot."""

    def __init__(self, methods: Sequence[Finetune]) -> None:
        self.methods = methods

    def pull(self, memory: Memory, lesson: Lesson) -> Pull:
        return reduce(lambda total, m: total + m.pull(memory, lesson), self.methods, Pull.none(lesson.start))

    def rehearse(self, memory: Memory, lesson: Lesson) -> Rehearsal:
        parts = [part for m in self.methods if len((part := m.rehearse(memory, lesson)).examples)]
        if not parts:
            return Rehearsal.none()
        hard, soft, logits = (np.concatenate([getattr(p, name) for p in parts]) for name in ("hard", "soft", "logits"))
        return Rehearsal(Examples.join([p.examples for p in parts]), hard, soft, logits, max(p.share for p in parts))

    def remember(self, memory: Memory, lesson: Lesson, learned: Arrays) -> Memory:
        return reduce(lambda held, m: m.remember(held, lesson, learned), self.methods, memory)

    def answer(self, memory: Memory, lesson: Lesson, learned: Arrays) -> dict[str, Arrays]:
        return {name: arrays for m in self.methods for name, arrays in m.answer(memory, lesson, learned).items()}
