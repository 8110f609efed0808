"""A simulation's messages dealt to workers, wherever they are (processes.py, ray.py): two in flight for each, so none waits, but
for a round's last ones, which wait for whoever is free."""

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
from core.disk import of_machine
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
JUDGES = 300.0  # seconds at least that a worker has to judge a model, and to start: one that hangs shall not hold the run for ever


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

    def end(self, worker: int) -> None:
        """End it, whatever it is at, if it has begun; then it is lost."""

    def replace(self, worker: int) -> None:
        """Start another with this number."""

    def share(self, array: np.ndarray) -> Any:
        """Put an array where all workers find it; what to give them for it."""

    def let_go(self, block: Any) -> None:
        """Nobody needs it any more."""


class Sharing:
    """Arrays that several messages need are shared once; they are recognized by the object that they belong to."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self._numbers = pool, count()
        self._blocks: dict[int, tuple[object, int, Any]] = {}  # by identity, for as long as their owner is kept here

    def block(self, owner: ArrayRecord | np.ndarray) -> tuple[int, Any]:
        """A number that nothing else of this run has, and what workers are given to find it."""
        if id(owner) not in self._blocks:
            if len(self._blocks) >= KEPT:
                _, _, old = self._blocks.pop(next(iter(self._blocks)))
                self._pool.let_go(old)
            array = _octets(owner) if isinstance(owner, ArrayRecord) else owner
            self._blocks[id(owner)] = (owner, next(self._numbers), self._pool.share(array))
        _, number, block = self._blocks[id(owner)]
        return number, block


def _octets(record: ArrayRecord) -> np.ndarray:
    """An array record's bytes, one array's behind the other's."""
    return np.frombuffer(b"".join(array.data for array in record.values()), np.uint8)


class _InFlight(NamedTuple):
    """A message that a worker has."""

    message: Message
    future: Future[Any]
    cost: int  # workers that it was given to and that were lost


class PoolGrid(OwnGrid):
    """A grid whose nodes are played by a pool's workers."""

    longest_look = 5.0  # seconds that one look for answers takes at most, and far less than that

    def __init__(self, pool: Pool, nodes: int, config: Mapping[str, str]) -> None:
        """config: each node's own."""
        super().__init__(nodes)
        self._pool, self._config, self._sharing = pool, dict(config), Sharing(pool)
        self._retries: deque[tuple[Message, int]] = deque()  # whose worker was lost; how many workers each has cost
        self._in_flight = defaultdict[int, deque[_InFlight]](deque)  # by worker

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """What has been answered; waits a moment if nothing has."""
        awaited = set(message_ids)
        self._end_late(awaited)
        self._deal(awaited)
        wait([one.future for queue in self._in_flight.values() for one in queue], LOOK, FIRST_COMPLETED)
        replies = [reply for number in list(self._in_flight) for reply in self._ended(number)]
        self._deal(awaited)
        return replies

    def clear(self) -> None:
        """Wait until no worker has a message any more; those of a round whose time is over are ended."""
        while any(self._in_flight.values()):
            self.pull_messages(())

    def _end_late(self, awaited: set[str]) -> None:
        """End who has a message of a round whose time is over: it would keep others waiting, and a client that began an old round
        late would take away what a newer one left in its memory."""
        for number, queue in self._in_flight.items():
            if any(one.message.metadata.message_id not in awaited and not one.future.done() for one in queue):
                self._pool.end(number)

    def _deal(self, awaited: set[str]) -> None:
        """Give out messages whose answer is awaited, each to the worker that has fewest, as long as one has room.

        The last ones wait for a worker that is free: else a slow one would have one before it while the others have nothing to do.
        """
        while left := len(self._retries) + len(self.unsent):
            numbers = self._pool.workers()
            number = min(numbers, key=lambda one: len(self._in_flight[one]))
            if len(self._in_flight[number]) >= (AHEAD if left > len(numbers) or len(numbers) == 1 else 1):
                return
            message, cost = self._retries.popleft() if self._retries else (self.unsent.popleft(), 0)
            if message.metadata.message_id not in awaited:
                continue  # its round is over
            ask, blocks = self._split(message)
            self._in_flight[number].append(
                _InFlight(message, self._pool.submit(number, worker.answer, ask, *blocks), cost)
            )

    def _ended(self, number: int) -> list[Message]:
        """A worker's answers, in order. If it is lost, its messages are dealt again, at the cost of the one that it worked on."""
        queue, replies = self._in_flight[number], list[Message]()
        while queue and queue[0].future.done():
            first = queue[0]
            if isinstance(first.future.exception(), self._pool.lost):
                first = first._replace(cost=first.cost + 1)
                queue[0] = first
                if first.cost >= TRIES:
                    why = f"{TRIES} workers ended while they played it"
                    replies.append(Message(Error(code=0, reason=why), reply_to=first.message))
                    queue.popleft()
                self._retries.extendleft((one.message, one.cost) for one in reversed(queue))
                queue.clear()
                self._pool.replace(number)
                break
            queue.popleft()
            replies.append(Message(_content(first.future), reply_to=first.message))
        return replies

    def _split(self, message: Message) -> tuple[Ask, list[Any]]:
        """A message as a worker gets it, and the blocks that it shares with others: the weights, which a whole round gets."""
        unshared, shared, blocks = RecordDict(), list[Shared](), list[Any]()
        for key, record in message.content.items():
            if key != wire.ARRAYS or not isinstance(record, ArrayRecord):
                unshared[key] = record
                continue
            number, block = self._sharing.block(record)
            fields = tuple((name, worker.field(array), len(array.data)) for name, array in record.items())
            shared.append(Shared(key, number, fields))
            blocks.append(block)
        metadata = message.metadata
        return Ask(
            metadata.message_type, metadata.dst_node_id, self._config, worker.parts(unshared), shared, self._pool.files
        ), blocks


def _content(answered: Future[Any]) -> RecordDict | Error:
    """What a worker answered, or why there is nothing of it: a file of either side may be gone, for one. Raises what is the
    machine's failure."""
    try:
        answer = answered.result()
        return Error(code=0, reason=answer) if isinstance(answer, str) else worker.received(answer)
    except Exception as error:
        if fault := of_machine(error):
            raise fault from None
        return Error(code=0, reason=f"{type(error).__name__}: {error}")


class PoolJudge:
    """Judges models by a pool's workers, each of which looks at a part of the images: the bits of one that looks at all."""

    def __init__(self, pool: Pool, model: ModelSpec, grid: PoolGrid | None = None, seconds: float = JUDGES) -> None:
        """grid: whose messages the same workers answer; seconds: that a worker has for its part; one that takes longer hangs, and
        counts as lost."""
        self.model, self._pool, self._grid, self._seconds, self._sharing = model, pool, grid, seconds, Sharing(pool)

    def logits(self, weights: Arrays, images: np.ndarray) -> np.ndarray:
        """The model's logits, f32 [n, classes], for images uint8 [n, 28, 28]."""
        if not len(images):
            return np.zeros((0, self.model.classes), np.float32)
        if self._grid:
            self._grid.clear()  # a worker that is late stands before what it is to judge
        pages = -(-len(images) // PAGE)
        share = PAGE * -(-pages // len(self._pool.workers()))
        _, block = self._sharing.block(images)
        parts = {start: (start, min(start + share, len(images)), block) for start in range(0, len(images), share)}
        logits: dict[int, np.ndarray] = {}
        for _ in range(TRIES):
            missing, numbers = [start for start in parts if start not in logits], self._pool.workers()
            futures = {
                start: (
                    numbers[i % len(numbers)],
                    self._pool.submit(numbers[i % len(numbers)], worker.judge, self.model, weights, *parts[start]),
                )
                for i, start in enumerate(missing)
            }
            lost = set[int]()  # one may have several parts
            for start, (number, future) in futures.items():
                try:
                    logits[start] = future.result(self._seconds)
                except TimeoutError:
                    self._pool.end(number)
                    lost.add(number)
                except self._pool.lost:
                    lost.add(number)
            for number in sorted(lost):
                self._pool.replace(number)
        if len(logits) < len(parts):
            raise RuntimeError(f"workers ended, or hung, in each of {TRIES} attempts to judge the model")
        return np.concatenate([logits[start] for start in parts])


def judge(pool: Pool, grid: PoolGrid, scenario: Scenario) -> PoolJudge | None:
    """Who tries models for the server: the workers, if they have TensorFlow; else nobody but itself, who has it anyway."""
    if scenario.engine != "tensorflow":
        return None
    return PoolJudge(pool, of(scenario), grid, max(JUDGES, scenario.round_timeout))
