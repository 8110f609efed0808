"""Dark experience replay: stored images teach what the model once answered, not only their labels.

The answers are those of the client's model after the round, to the images as they are stored: without augmentation. (In the
paper they are those of training, to the view that was learned just then.) They are matched on fresh views, as in the paper.
"""

from __future__ import annotations

import numpy as np

from core.engines.base import Engine
from core.methods.base import Memory
from core.methods.buffer import examples, stored
from core.methods.replay import Replay
from core.models import ModelSpec
from core.plan import Learned, Lesson, Rehearsal


class Der(Replay):
    """Stored images teach the answers of when they were stored: α·|z − z₀|² / classes (Buzzega et al. 2020, arXiv:2004.07211)"""

    name = "der"
    beta = 0.0

    def __init__(
        self,
        model: ModelSpec,
        *,
        alpha: float = 0.3,  # weight of the stored answers; range [0, 100]
        images: int = 200,  # most that a client keeps; 0: only kilobytes limits it, and both 0 keep none
        kilobytes: float = 0.0,  # the same with all that is beside them; 0: only images limits it
        select: str = "balanced",  # which stay: balanced, reservoir, herding
        share: float = 0.5,  # of every batch; range [0, 1)
    ) -> None:
        super().__init__(model, images=images, kilobytes=kilobytes, select=select, share=share)
        if not 0 <= alpha <= 100:
            raise ValueError(f"alpha = {alpha} of {self.name} should be 0 … 100")
        self.alpha = alpha

    def rehearse(self, memory: Memory, lesson: Lesson, engine: Engine) -> Rehearsal:
        slots = stored(memory, self.name, lesson, self.buffer)
        old = examples(slots)
        none = [np.zeros((0, self.model.classes), np.float32)]
        return Rehearsal(
            old,
            np.full(len(old), self.beta, np.float32),
            np.full((len(old), self.model.classes), 2 * self.alpha, np.float32),  # a plan's match has a half
            np.concatenate([*none, *(slot["logits"] for slot in slots.values())]),
            self.share,
        )

    def blank(self, count: int) -> dict[str, np.ndarray]:
        return {"logits": np.zeros((count, self.model.classes), np.float32)}

    def filled(self, slot: dict[str, np.ndarray], learned: Learned, engine: Engine) -> dict[str, np.ndarray]:
        return slot | {"logits": engine.logits(learned.weights, slot["x"])}


class DerPP(Der):
    """DER, and the stored images teach their labels too, weight β (Buzzega et al. 2020, arXiv:2004.07211)"""

    name = "derpp"

    def __init__(
        self,
        model: ModelSpec,
        *,
        alpha: float = 0.3,  # weight of the stored answers; range [0, 100]
        beta: float = 1.0,  # weight of the stored labels; range [0, 100]
        images: int = 200,  # most that a client keeps; 0: only kilobytes limits it, and both 0 keep none
        kilobytes: float = 0.0,  # the same with all that is beside them; 0: only images limits it
        select: str = "balanced",  # which stay: balanced, reservoir, herding
        share: float = 0.5,  # of every batch; range [0, 1)
    ) -> None:
        super().__init__(model, alpha=alpha, images=images, kilobytes=kilobytes, select=select, share=share)
        if not 0 <= beta <= 100:
            raise ValueError(f"beta = {beta} of {self.name} should be 0 … 100")
        self.beta = beta
