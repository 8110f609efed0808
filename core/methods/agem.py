"""Averaged gradient episodic memory: stored images are not learned from; they forbid steps that would hurt them."""

from __future__ import annotations

from core.data import Examples
from core.engines.base import Engine
from core.methods.base import Finetune, Memory
from core.methods.buffer import examples, stored
from core.methods.replay import Replay
from core.models import ModelSpec
from core.plan import Lesson, Rehearsal


class AGem(Replay):
    """Bends each step so that the loss on stored images does not rise (Chaudhry et al. 2019, arXiv:1812.00420)"""

    name = "agem"

    def __init__(
        self,
        model: ModelSpec,
        *,
        images: int = 200,  # most that a client keeps; 0: only kilobytes limits it, and both 0 keep none
        kilobytes: float = 0.0,  # the same with all that is beside them; 0: only images limits it
        select: str = "balanced",  # which stay: balanced, reservoir, herding
    ) -> None:
        super().__init__(model, images=images, kilobytes=kilobytes, select=select)

    def rehearse(self, memory: Memory, lesson: Lesson, engine: Engine) -> Rehearsal:
        return Finetune.rehearse(self, memory, lesson, engine)

    def rehearses(self, met: int) -> int:
        return 0  # what it stores only bends steps

    def guard(self, memory: Memory, lesson: Lesson) -> Examples:
        return examples(stored(memory, self.name, lesson, self.buffer))
