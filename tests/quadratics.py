"""Four clients of one weight each, whose losses are quadratics, under a strategy: what it ends at is known in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.arrays import Arrays
from core.config.part import Part
from core.config.scenario import Local, Scenario
from core.data import Examples
from core.methods.base import Memory, Received, Request
from core.plan import Learned, Lesson
from core.scores import Sums
from fl import strategies
from fl.strategies.base import Contribution
from tests.fakes import identify

CURVED, CENTRED = np.array([1.0, 2, 5, 10]), np.array([0.0, 1, 2, 3])  # client i has the loss aᵢ/2 · (w − bᵢ)²
OPTIMUM = float((CURVED * CENTRED).sum() / CURVED.sum())
STEPS, RATE = 10, 0.02  # of each client's round
NOTHING = Examples(np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.int64))


def scenario(name: str, momentum: float = 0.0, cohort: int = 4, rate: float = RATE) -> Scenario:
    """One of this strategy with its defaults."""
    local = Local(batch=1, momentum=momentum, rate=rate)
    return Scenario("quadratics", clients=4, cohort=cohort, strategy=Part(name), local=local)


class Quadratics:
    """A federation of them: the strategy's halves are really called, only the loss is made."""

    def __init__(self, scenario: Scenario, steps: Sequence[int] = (STEPS,) * 4) -> None:
        """steps: that each client takes in a round."""
        identify()  # Flower's rules make messages
        self.scenario, self.steps = scenario, steps
        self.strategy, self.chain = strategies.build(scenario), strategies.chain(scenario)
        self.arrays: Arrays = [np.zeros(1, np.float32)]
        self.state, self.shared = self.strategy.start(self.arrays), dict[str, np.ndarray]()
        self.memory: dict[int, Memory] = {client: {} for client in range(4)}
        self.round, self.rate = 0, scenario.local.rate
        self.ratio = 0.0  # as on devices, where uploads are balanced; 0: as in simulation

    def lesson(self, client: int) -> Lesson:
        """What it is sent."""
        payloads = self.chain.download(self.shared, client)
        return Lesson(0, self.arrays, NOTHING, np.zeros((0, 0)), client, self.round, self.rate, self.scenario, payloads)

    def learn(self, client: int) -> tuple[Arrays, dict[str, Arrays]]:
        """A client's round: its new weight, and what it sends beside."""
        lesson, local = self.lesson(client), self.scenario.local
        pull, w, speed = self.chain.pull(self.memory[client], lesson), float(self.arrays[0][0]), 0.0
        a, b = (float(np.broadcast_to(array, 1)[0]) for array in (pull.a[0], pull.b[0]))
        for _ in range(self.steps[client]):
            slope = CURVED[client] * (w - CENTRED[client]) + a * w + b
            if local.clip:
                slope = min(max(slope, -local.clip), local.clip)
            speed = local.momentum * speed + slope
            w -= self.rate * speed
        learned = Learned([np.array([w], np.float32)], Sums(0.0, 0, self.steps[client]), [])
        engine = object()
        self.memory[client] = self.chain.remember(self.memory[client], lesson, learned, engine)  # type: ignore[arg-type]
        return learned.weights, dict(self.chain.upload(self.memory[client], lesson, learned, engine))  # type: ignore[arg-type]

    def received(self, arrays: Arrays, client: int = 0) -> Received:
        """What the server knows of its reply."""
        asked = Request(self.scenario, self.round, self.rate, self.arrays, self.shared)
        return Received(asked, arrays, 10, 10, self.steps[client], 1.0)

    def play(self, rounds: int, lost: Sequence[tuple[int, int]] = (), cohort: Sequence[int] = range(4)) -> float:
        """So many rounds; lost: (round, client) whose reply never arrives. Returns the global weight."""
        for _ in range(rounds):
            self.round += 1
            replies = {client: self.learn(client) for client in cohort}
            replies = {c: reply for c, reply in replies.items() if (self.round, c) not in lost}
            sent = {c: self.chain.accept(beside, self.received(arrays, c)) for c, (arrays, beside) in replies.items()}
            if self.ratio:
                sent = self.chain.balance(sent, self.ratio)
            there = [Contribution(c, arrays, 1.0, self.steps[c]) for c, (arrays, _) in replies.items()]
            self.state, arrays = self.strategy.aggregate(self.state, self.arrays, there, self.round)
            shared, self.arrays = self.chain.server_update(self.shared, sent, arrays)
            self.shared = dict(shared)
        return float(self.arrays[0][0])
