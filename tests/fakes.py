"""Stand-ins: clients that need no TensorFlow and may misbehave, grids of them, and a watch that writes down and stops."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from flwr.app import Error, Message, RecordDict

from core.arrays import Arrays
from core.config.scenario import Scenario
from core.methods.base import Request
from core.plan import steps
from core.scores import Sums
from fl import roster, strategies, wire
from fl.channel import Channel
from fl.messages import Task, Update
from scenarios.backends.local import LocalGrid
from server.checkpoint import RunState
from server.record import Report, RoundRecord
from server.rounds import Federation, Round, rounds

Client = Callable[[Task], RecordDict | None]  # None: never answers; raising: an error reply
START: Arrays = [np.array([1, -2, 3], np.float32), np.array([[0.5, 0.25]], np.float32)]


def identify() -> None:
    """A Message asks who sends it; outside Flower's own runtimes nobody has said so (see scenarios/backends)."""
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


def honest(task: Task) -> Update:
    """A client with no data: its weights and sizes follow from its number and the round."""
    noise = np.random.default_rng((task.client, task.round))
    moved = [w + noise.normal(0, task.rate, w.shape).astype(np.float32) for w in task.arrays]
    local, examples = task.scenario.local, 10 * (task.client + 1)
    seen = local.batch * steps(examples, local.batch, local.epochs)
    return Update(task.client, moved, examples, Sums(0.5 * seen, seen // 2, seen), round=task.round)


def well(task: Task) -> RecordDict:
    """What an honest client answers: no weights in a round in which nobody trains."""
    update, request = honest(task), Request(task.scenario, task.round, task.rate, task.arrays, {})
    if not strategies.chain(task.scenario).asks_for_weights(request):
        update = replace(update, arrays=[], sums=Sums())
    return wire.reply(update)


def with_arrays(change: Callable[[Arrays], Arrays]) -> Client:
    """A client whose weights are changed on the way."""
    return lambda task: wire.reply(replace(honest(task), arrays=change(honest(task).arrays)))


def silent(task: Task) -> RecordDict | None:
    """A client that never answers."""
    return None


def broken(task: Task) -> RecordDict | None:
    """A client that fails."""
    raise OSError("the disk is full")


class FakeGrid(LocalGrid):
    """Nodes that play these clients; who is not named is honest. `turn` says which of the n waiting answers next."""

    def __init__(
        self, clients: Mapping[int, Client] | None = None, turn: Callable[[int], int] = lambda n: 0, nodes: int = 3
    ) -> None:
        super().__init__(nodes)
        identify()
        self.clients, self.turn = clients or {}, turn
        self.waiting: deque[Message] = deque()
        self.asked: list[tuple[int, int, int]] = []  # round, client, node

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        messages = list(messages)
        self.waiting.extend(messages)
        return super().push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        if not self.waiting:
            return []
        position = self.turn(len(self.waiting))
        ask = self.waiting[position]
        del self.waiting[position]
        task = wire.task(ask.content)
        self.asked.append((task.round, task.client, ask.metadata.dst_node_id))
        try:
            content = self.clients.get(task.client, well)(task)
        except Exception as error:
            return [Message(Error(code=0, reason=f"{type(error).__name__}: {error}"), reply_to=ask)]
        return [] if content is None else [Message(content, reply_to=ask)]


class Clock:
    """Time that passes only while somebody waits: how fast a machine answers decides nothing."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Onlooker:
    """A Watch that writes down what it is told; it asks to stop inside round `at`, after its first reply."""

    def __init__(self, at: float = math.inf) -> None:
        self.at, self.asked_to_stop = at, False
        self.replies: list[tuple[int, int, int]] = []
        self.rounds: list[RoundRecord] = []

    def stopped(self) -> bool:
        return self.asked_to_stop

    def replied(self, round: int, done: int, of: int) -> None:
        self.replies.append((round, done, of))
        self.asked_to_stop = round == self.at

    def ended(self, record: RoundRecord) -> None:
        self.rounds.append(record)


def federation(grid: LocalGrid, scenario: Scenario) -> Federation:
    """A federation of these nodes, which nobody watches; how much data clients have, nobody knows."""
    return Federation(scenario, Channel(grid, scenario.round_timeout, Onlooker()))


def play(grid: LocalGrid, scenario: Scenario, state: RunState | None = None, clock: Any = None) -> list[Round]:
    """All rounds of a scenario, or those after this state, with clients that need no data, at rate 0.1.

    clock: what tells the channel the time (a module like `time`); None: a Clock.
    """
    with mock.patch("fl.channel.time", clock or Clock()):
        return list(rounds(federation(grid, scenario), state or RunState(0, START), lambda number: 0.1))


def federate(scenario: Scenario, folder: Path, watch: Onlooker | None = None, grid: LocalGrid | None = None) -> Report:
    """A whole run in this process, real clients and all."""
    from server import run

    identify()
    folder.mkdir(parents=True, exist_ok=True)
    grid = grid or LocalGrid(roster.nodes(scenario), {"memory": str(folder / "clients")})
    return run.run(grid, scenario, folder, watch or Onlooker())


def losses_on_both_engines(scenario: Scenario, folder: Path) -> list[list[float]]:
    """The training loss of each round, with TensorFlow and with LiteRT."""
    return [
        [row.train_loss for row in federate(replace(scenario, engine=engine), folder / engine).history]
        for engine in ("tensorflow", "litert")
    ]


def same(one: Arrays, other: Arrays) -> bool:
    """Equal to the last bit."""
    return [(w.dtype, w.shape, w.tobytes()) for w in one] == [(w.dtype, w.shape, w.tobytes()) for w in other]


@contextmanager
def kept_registries() -> Iterator[None]:
    """All registries of pieces are at the end as they were before, whatever a plugin entered meanwhile."""
    from core.data import DATASETS
    from core.models import MODELS
    from fl.partition import DEALT
    from scenarios.check import REGISTRIES
    from scenarios.presets import SCENARIOS

    found = [one for one in (*REGISTRIES.values(), DEALT, MODELS, DATASETS, SCENARIOS) if isinstance(one, dict)]
    before = [dict(registry) for registry in found]
    try:
        yield
    finally:
        for registry, entries in zip(found, before, strict=True):
            registry.clear()
            registry.update(entries)
