"""Federated A-GEM: no step may raise the loss on what any client stored, as far as a shared gradient can tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from core.arrays import Arrays, in_order, numbered, squared_length
from core.data import Examples
from core.engines.base import Engine
from core.methods.agem import AGem
from core.methods.base import Finetune, Memory, Payloads, Received, Shared, shares
from core.methods.buffer import examples
from core.plan import Learned, Lesson

LONGEST = 1e6  # of a gradient: a generous limit, which keeps sums finite


class FedAGem(AGem):
    """Bends each step so that the loss on all clients' stored images does not rise: each sends the mean gradient on its
    own, at the received weights; the server's sum of them guards the next round (Fed-A-GEM, Dai et al. 2024,
    arXiv:2409.01585)

    The authors take the gradients at the averaged model after the round; here they come with the round's reply, one round older.
    The images of the current stage are among them, as in the authors' code: so a new stage's first round is guarded, too. Only
    the sum's direction matters: a step loses what goes against it, so whatever it is, no step becomes longer.
    """

    name = "fedagem"

    def guard(self, memory: Memory, lesson: Lesson) -> Examples:
        return Finetune.guard(self, memory, lesson)

    def reference(self, memory: Memory, lesson: Lesson) -> Arrays:
        return list(lesson.payloads.get(self.name, []))

    def upload(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Payloads:
        exemplars = examples(memory[self.name])
        return {self.name: engine.gradient(lesson.start, exemplars.x, exemplars.y)} if len(exemplars) else {}

    def shapes(self, weights: Arrays) -> Mapping[str, Sequence[tuple[int, ...]]]:
        return {self.name: [w.shape for w in weights]}

    def accept(self, payloads: Payloads, received: Received) -> Payloads:
        """The gradient, weighed like the client itself, if it is not absurdly long."""
        if self.name not in payloads:
            return {}
        if not (length := math.sqrt(squared_length(list(payloads[self.name])))) <= LONGEST:
            raise ValueError(f"its gradient is {length:.3g} long, more than {LONGEST:g}")
        # Of its count, what is believed
        share = np.float32(min(1.0, received.max_examples / max(1, received.own_examples)))
        return {self.name: [slope * share for slope in payloads[self.name]]}

    def balance(self, uploads: Mapping[int, Payloads], ratio: float) -> dict[int, Payloads]:
        """A gradient is at most `ratio` times as long as the cohort's median (the lower of two): else one is all of the sum."""
        gradients = {c: list(one[self.name]) for c, one in uploads.items() if self.name in one}
        share = shares({c: math.sqrt(squared_length(one)) for c, one in gradients.items()}, ratio)
        shorter = {c: {**uploads[c], self.name: [slope * share[c] for slope in gradients[c]]} for c in share}
        return {**uploads, **shorter}

    def server_update(self, shared: Shared, uploads: Mapping[int, Payloads], arrays: Arrays) -> tuple[Shared, Arrays]:
        gradients = [payloads[self.name] for _, payloads in sorted(uploads.items()) if self.name in payloads]
        if not gradients:
            return shared, arrays
        total = [np.sum(np.stack(slopes), 0) for slopes in zip(*gradients, strict=True)]
        return {**shared, **numbered(f"{self.name}/", total)}, arrays

    def download(self, shared: Shared, client: int) -> Payloads:
        total = in_order(f"{self.name}/", shared)
        return {self.name: total} if total else {}
