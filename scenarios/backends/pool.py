"""A simulation's messages dealt to workers, wherever they are (processes.py, ray.py): two in flight for each, so none waits."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from flwr.app import ArrayRecord, Error, Message, RecordDict

from core.arrays import Arrays
from core.config.scenario import Scenario
from core.engines.base import PAGE
from core.models import ModelSpec, of
from fl import wire
from scenarios.backends import worker
from scenarios.backends.grid import OwnGrid
from scenarios.backends.worker import Ask, Shared

AHEAD = 2  # messages that a worker has: one that it works on, one that waits for it
TRIES = 3  # workers that a message may cost before its client has failed
LOOK = 0.1  # seconds between looks whether the run shall stop
KEPT = 32  # arrays that are shared at a time


class Pool(Protocol):
    """Workers by number, each of which does one thing after another."""

    @property
    def files(self) -> Path | None:
        """A folder that workers and this process see, for answers' bytes, if there is one."""

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        """What a future raises whose worker is gone."""

    def workers(self) -> Sequence[int]:
        """Those that are there. Raises RuntimeError if none is left."""

    def submit(self, worker: int, function: Any, *arguments: Any) -> Future[Any]:
        """Have it called there."""

    def replace(self, worker: int) -> None:
        """Start another with this number."""

    def share(self, array: np.ndarray) -> Any:
        """Put an array where all workers find it; what to give them for it."""

    def let_go(self, block: Any) -> None:
        """Nobody needs it any more."""


class Sharing:
    """Arrays that several messages need are shared once, and known by whose they are."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self._numbers = pool, count()
        self._known: dict[int, tuple[object, int, Any]] = {}  # by identity, for as long as their owner is kept here

    def block(self, owner: ArrayRecord | np.ndarray) -> tuple[int, Any]:
        """A number that nothing else of this run has, and what workers are given to find it."""
        if id(owner) not in self._known:
            if len(self._known) >= KEPT:
                _, _, old = self._known.pop(next(iter(self._known)))
                self._pool.let_go(old)
            made = _octets(owner) if isinstance(owner, ArrayRecord) else owner
            self._known[id(owner)] = (owner, next(self._numbers), self._pool.share(made))
        _, number, block = self._known[id(owner)]
        return number, block


def _octets(record: ArrayRecord) -> np.ndarray:
    """An array record's bytes, one array's behind the other's."""
    return np.frombuffer(b"".join(array.data for array in record.values()), np.uint8)


class _Given(NamedTuple):
    """A message that a worker has."""

    message: Message
    future: Future[Any]
    cost: int  # workers that it was given to and that were lost


class PoolGrid(OwnGrid):
    """A grid whose nodes are played by a pool's workers."""

    def __init__(self, pool: Pool, nodes: int, config: Mapping[str, str]) -> None:
        """config: each node's own."""
        super().__init__(nodes)
        self._pool, self._config, self._sharing = pool, dict(config), Sharing(pool)
        self._again: deque[tuple[Message, int]] = deque()  # whose worker was lost, and how many that were
        self._given = defaultdict[int, deque[_Given]](deque)  # by worker

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """What has been answered; waits a moment if nothing has."""
        self._deal()
        wait([one.future for given in self._given.values() for one in given], LOOK, FIRST_COMPLETED)
        replies = [reply for number in list(self._given) for reply in self._ended(number)]
        self._deal()
        return replies

    def _deal(self) -> None:
        """Give out messages, each to the worker that has fewest, as long as one has room."""
        while self._again or self.unsent:
            number = min(self._pool.workers(), key=lambda one: len(self._given[one]))
            if len(self._given[number]) >= AHEAD:
                return
            message, cost = self._again.popleft() if self._again else (self.unsent.popleft(), 0)
            ask, blocks = self._taken_apart(message)
            self._given[number].append(_Given(message, self._pool.submit(number, worker.answer, ask, *blocks), cost))

    def _ended(self, number: int) -> list[Message]:
        """A worker's answers, in order. Is it gone, the message that it worked on has cost it, and all it had is asked again."""
        given, replies = self._given[number], list[Message]()
        while given and given[0].future.done():
            first = given[0]
            if isinstance(first.future.exception(), self._pool.lost):
                first = first._replace(cost=first.cost + 1)
                given[0] = first
                if first.cost >= TRIES:
                    why = f"{TRIES} workers ended while they played it"
                    replies.append(Message(Error(code=0, reason=why), reply_to=first.message))
                    given.popleft()
                self._again.extendleft((one.message, one.cost) for one in reversed(given))
                given.clear()
                self._pool.replace(number)
                break
            given.popleft()
            found = first.future.result()
            said = Error(code=0, reason=found) if isinstance(found, str) else worker.received(found)
            replies.append(Message(said, reply_to=first.message))
        return replies

    def _taken_apart(self, message: Message) -> tuple[Ask, list[Any]]:
        """A message for a worker: the weights, which all of its round get, are shared."""
        own, shared, blocks = RecordDict(), list[Shared](), list[Any]()
        for key, record in message.content.items():
            if key != wire.ARRAYS or not isinstance(record, ArrayRecord):
                own[key] = record
                continue
            number, block = self._sharing.block(record)
            fields = tuple((name, worker.field(array), len(array.data)) for name, array in record.items())
            shared.append(Shared(key, number, fields))
            blocks.append(block)
        about = message.metadata
        return Ask(
            about.message_type, about.dst_node_id, self._config, worker.parts(own), shared, self._pool.files
        ), blocks


class PoolJudge:
    """Judges models by a pool's workers, each of which looks at a part of the images: the bits of one that looks at all."""

    def __init__(self, pool: Pool, model: ModelSpec) -> None:
        self.model, self._pool, self._sharing = model, pool, Sharing(pool)

    def logits(self, weights: Arrays, images: np.ndarray) -> np.ndarray:
        """The model's logits, f32 [n, classes], for images uint8 [n, 28, 28]."""
        if not len(images):
            return np.zeros((0, self.model.classes), np.float32)
        pages = -(-len(images) // PAGE)
        share = PAGE * -(-pages // len(self._pool.workers()))
        _, block = self._sharing.block(images)
        parts = {start: (start, min(start + share, len(images)), block) for start in range(0, len(images), share)}
        found: dict[int, np.ndarray] = {}
        for _ in range(TRIES):
            missing, numbers = [start for start in parts if start not in found], self._pool.workers()
            asked = {
                start: (
                    numbers[i % len(numbers)],
                    self._pool.submit(numbers[i % len(numbers)], worker.judge, self.model, weights, *parts[start]),
                )
                for i, start in enumerate(missing)
            }
            for start, (number, future) in asked.items():
                try:
                    found[start] = future.result()
                except self._pool.lost:
                    self._pool.replace(number)
        if len(found) < len(parts):
            raise RuntimeError(f"{TRIES} workers ended, one after another, while they judged the model")
        return np.concatenate([found[start] for start in parts])


def judge(pool: Pool, scenario: Scenario) -> PoolJudge | None:
    """Who tries models for the server: the workers, if they have TensorFlow; else nobody but itself, who has it anyway."""
    return PoolJudge(pool, of(scenario)) if scenario.engine == "tensorflow" else None
