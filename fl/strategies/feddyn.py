"""FedDyn: each client's loss is bent so that all have one optimum, that of their sum (Acar et al. 2021, arXiv:2111.04263).

Client i minimizes Lᵢ(w) − ⟨λᵢ, w⟩ + α/2·|w − w₀|², w₀ being the received weights, and then moves λᵢ by −α (yᵢ − w₀). The server's
new weights are the mean of those that came, minus h/α, where h moves by −α/N · Σ (yᵢ − w₀): over the clients that came, N being
all there are. Here both are kept over −α, as sums of movements: gᵢ = −λᵢ/α on the client, g = −h/α on the server, which is always
the mean of all gᵢ. A client that was not drawn keeps its share of g, as in the authors' code.

All clients count alike, as in the paper's loss; whoever has more examples counts no more. The authors' code divides α by a client's
share of the examples, so that its optimum is that of the loss over all examples, FedAvg's.

The server makes g of the weights that it gets anyway: a client sends nothing beside them. It tells each client which of its
replies counted (fl/strategies/counting.py). Nothing moves where each Lᵢ' = λᵢ and Σ λᵢ = 0, and clipping a step's gradient does
not change where that is: so it is allowed, and the authors clip too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.arrays import Arrays, in_order, numbered
from core.config.scenario import Scenario
from core.engines.base import Engine
from core.methods.base import Finetune, Memory, Payloads, Received, Shared
from core.models import ModelSpec, of
from core.plan import Learned, Lesson, Pull
from fl.strategies import counting
from fl.strategies.base import Contribution, State, within


class Dynamic(Finetune):
    """α/2·|w − w₀|² − ⟨λᵢ, w⟩ beside the loss, λᵢ being minus α times how far the client has ever moved"""

    name = "feddyn"
    counts_all = True
    carried = False  # the mean of how far clients have moved is the strategy's own

    def __init__(self, model: ModelSpec, alpha: float) -> None:
        super().__init__(model)
        self.alpha = alpha

    # ── on the client ──

    def pull(self, memory: Memory, lesson: Lesson) -> Pull:
        near, alpha = Pull.towards(lesson.start, self.alpha), np.float32(self.alpha)
        return Pull(near.a, [b + alpha * g for b, g in zip(near.b, self._moved(memory, lesson), strict=True)])

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        if not learned.sums.examples:
            return memory
        before = self._moved(memory, lesson)
        after = [g + (y - x) for g, y, x in zip(before, learned.weights, lesson.start, strict=True)]
        slot = counting.written(counting.stamp(lesson.scenario, lesson.round), _counted(lesson), before, after)
        return {**memory, self.name: {lesson.stage: slot}}

    def _moved(self, memory: Memory, lesson: Lesson) -> Arrays:
        """gᵢ as of the round that last counted; zeros at first."""
        movements = counting.arrays(counting.slot(memory, self.name), _counted(lesson))
        return movements or [np.zeros_like(w) for w in lesson.start]

    # ── on the server ──

    def accept(self, payloads: Payloads, received: Received) -> Payloads:
        """No client sends anything: the server itself notes whose weights it has."""
        stamp = counting.stamp(received.request.scenario, received.request.round)
        return {self.name: [np.array([stamp], np.int64)]} if received.arrays else {}

    def server_update(self, shared: Shared, uploads: Mapping[int, Payloads], arrays: Arrays) -> tuple[Shared, Arrays]:
        stamps = [(client, int(sent[self.name][0][0])) for client, sent in uploads.items() if self.name in sent]
        return counting.noted(shared, self.name, stamps) if stamps else shared, arrays

    def download(self, shared: Shared, client: int) -> Payloads:
        return {self.name: [counting.as_floats(counting.counted(shared, self.name, client))]}


def _counted(lesson: Lesson) -> int:
    sent = lesson.payloads.get(Dynamic.name)
    return counting.from_floats(sent[0]) if sent else counting.NEVER


@dataclass(frozen=True)
class FedDyn:
    """What the server does. Its state is g, the mean over all clients of how far each has ever moved."""

    method: Dynamic
    clients: int  # all there are

    def client(self) -> Sequence[Finetune]:
        return (self.method,)

    def start(self, arrays: Arrays) -> State:
        return numbered("g", [np.zeros_like(w) for w in arrays])

    def aggregate(
        self, state: State, arrays: Arrays, contributions: Sequence[Contribution], round: int
    ) -> tuple[State, Arrays]:
        new, movements = [], []
        for old, g, each in zip(
            arrays, in_order("g", state), zip(*(one.arrays for one in contributions), strict=True), strict=True
        ):
            total = sum((y.astype(np.float64) - old for y in each), np.zeros(old.shape))
            movements.append((g + total / self.clients).astype(old.dtype))
            new.append((old + total / len(each) + movements[-1]).astype(old.dtype))
        return numbered("g", movements), new

    def finish(self, state: State, arrays: Arrays) -> Arrays:
        return arrays


# Where clients take few steps, a small α lets g grow faster than they follow. On validation images of the run that chose fedavgm's
# defaults (fl/strategies/flower.py), with seed 11, the last loss was 0.87 with α = 3 and 1.48 with 1; with 0.1 nothing was learned.
def feddyn(
    scenario: Scenario,
    *,
    alpha: float = 3.0,  # pull to the received weights, and of the linear term; range [0.000001, 1000000]
) -> FedDyn:
    """Clients whose losses are bent to have one optimum, that of all (Acar et al. 2021, arXiv:2111.04263)"""
    return FedDyn(Dynamic(of(scenario), within("alpha", alpha, 1e-6, 1e6)), scenario.clients)
