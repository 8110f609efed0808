"""The federated loop, in plain sight."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid

from core.engines import Sums
from core.methods import chain
from core.methods.base import Answer, Shared
from core.scenario import Scenario
from fl import roster, strategies, wire

Arrays = list[np.ndarray]


class Stopped(Exception):
    """Somebody asked the run to stop (Ctrl-C, SIGTERM)."""


class Watch(Protocol):
    """Whoever looks on: the terminal, or a test."""

    def stopped(self) -> bool:
        """Shall the run stop?"""

    def replied(self, round: int, done: int, of: int) -> None:
        """So many clients of this round have answered."""

    def ended(self, facts: Mapping[str, Any]) -> None:
        """A round is over; its facts, as in the report's history."""


@dataclass(frozen=True)
class Round:
    """One round's facts."""

    number: int
    rate: float
    arrays: Arrays  # the new global weights
    sums: Sums  # over the gradient examples of all clients
    clients: list[int]  # whose answers count
    idle: list[int]  # who took no step, having nothing to learn
    tasks: dict[int, int]  # what each client was learning
    memory: dict[int, int]  # bytes that each client keeps for its methods
    examples: dict[int, int]  # how many examples each client's weights come from
    battery: dict[int, float]  # how full the batteries of devices are that have one, 0 … 1
    bytes: tuple[int, int]  # of arrays sent to clients, and received from them
    failed: dict[int, str]  # who was left out, and why
    retried: dict[int, str]  # who was asked again, and whose worker had been lost
    drift: dict[int, float]  # |client's weights - received weights| / |received weights|
    seconds: float
    shared: Shared  # what the server keeps for methods
    updates: dict[int, Arrays]  # each client's own new weights


class Cohort:
    """What a strategy sees of the grid: exactly the clients whose turn it is."""

    def __init__(self, clients: list[int]) -> None:
        self.clients = clients

    def get_node_ids(self) -> list[int]:
        return [client + 1 for client in self.clients]  # Flower's node numbers are above 0


def rounds(
    strategy: Any,
    grid: Grid,
    scenario: Scenario,
    arrays: Arrays,
    rate: Callable[[int], float | None],
    watch: Watch,
    after: int = 0,
    shared: Shared | None = None,
    seats: roster.Seats | None = None,
    step: bytes = b"",
) -> Iterator[Round]:
    """Train round by round; yield each as it ends. `after` is the last finished round (0 = none).

    `rate(round)` is the step size of a round, or None to stop early; `shared` is what an earlier round left of methods;
    `step` is the training step's file, for clients without TensorFlow.
    """
    method, shared, seats = chain(scenario), shared or {}, seats or roster.Anyone()
    for number in range(after + 1, scenario.rounds + 1):
        if (now := rate(number)) is None:
            return
        start, clients = time.perf_counter(), roster.choose(scenario, number)
        config, sent = wire.config(scenario, now, seats.run), wire.record(arrays)
        asks = strategy.configure_train(number, sent, config, Cohort(clients))
        told = {client: method.tell(shared, client) for client in clients}
        messages = _addressed(seats(grid, clients), asks, number, told, step)
        replies, failed = exchange(grid, messages, scenario.patience, watch, seats.pause, number)
        failed |= {client: "its node is not there" for client in clients if client not in messages}
        updates, failed = _checked(replies, failed, arrays, method.shapes(arrays))
        traffic = tuple(sum(wire.size(m.content) for m in way.values()) for way in (messages, replies))
        learned = {client: u.arrays for client, u in updates.items() if u.arrays}
        drift = {client: distance(arrays, own) for client, own in learned.items()}  # FedMedian empties replies
        for client in [client for client, far in drift.items() if far > scenario.reach]:
            failed[client] = (
                f"its weights moved {drift.pop(client):.3g} times their length, more than reach = {scenario.reach:g}"
            )
            del learned[client], updates[client]
        arrays = _aggregated(strategy, scenario, number, [replies[client] for client in learned], arrays, failed)
        shared, arrays = method.gather(shared, {c: u.answer for c, u in updates.items() if u.answer}, arrays)
        yield Round(
            number=number,
            rate=now,
            arrays=arrays,
            sums=sum((u.sums for u in updates.values() if u.arrays), Sums()),
            clients=list(updates),
            idle=[client for client in updates if client not in learned],
            tasks={client: u.task for client, u in updates.items()},
            memory={client: u.memory for client, u in updates.items()},
            examples={client: u.examples for client, u in updates.items()},
            battery={client: u.battery for client, u in updates.items() if u.battery >= 0},
            bytes=(traffic[0], traffic[1]),
            failed=failed,
            retried={client: u.earlier for client, u in updates.items() if u.earlier},
            drift=drift,
            seconds=time.perf_counter() - start,
            shared=shared,
            updates=learned,
        )


def _addressed(
    seats: Mapping[int, int], asks: Any, number: int, told: Mapping[int, Answer], step: bytes
) -> dict[int, Message]:
    """A strategy's messages, made out to clients and given to the nodes that play them."""
    by_client = {ask.metadata.dst_node_id - 1: ask for ask in asks}
    return {
        client: wire.addressed(by_client[client], client, seats[client], number, told[client], step)
        for client in sorted(by_client)
        if client in seats
    }


def exchange(
    grid: Grid, asks: Mapping[int, Message], patience: float, watch: Watch, pause: float, number: int = 0
) -> tuple[dict[int, Message], dict[int, str]]:
    """Send and wait. Returns the replies and, for each client without one, why; both in order of clients."""
    waiting: dict[str, int] = {}
    replies: dict[int, Message] = {}
    failed: dict[int, str] = {}
    for client, ask in asks.items():
        keys = list(grid.push_messages([ask]))
        waiting |= dict.fromkeys(keys[:1], client)
        failed |= {} if keys else {client: "its message could not be sent"}
    end = time.monotonic() + patience
    while waiting and time.monotonic() < end:
        if watch.stopped():
            raise Stopped
        got = list(grid.pull_messages(list(waiting)))
        for reply in got:
            client = waiting.pop(reply.metadata.reply_to_message_id)
            if reply.has_error():
                failed[client] = _reason(reply)
            else:
                replies[client] = reply
            watch.replied(number, len(asks) - len(waiting), len(asks))
        if not got:
            time.sleep(pause)
    failed |= dict.fromkeys(waiting.values(), f"no answer within {patience:g} s")
    return dict(sorted(replies.items())), dict(sorted(failed.items()))


def _reason(reply: Message) -> str:
    """What Flower tells of an error, on one line, without the class names it wraps around it."""
    said = str(reply.error.reason or f"error {reply.error.code}")
    reason = " ".join("".join(letter if letter.isprintable() else " " for letter in said).split())
    return reason.split(":<'", 1)[-1].removesuffix("'>")[:300]


def _checked(
    replies: Mapping[int, Message], failed: dict[int, str], like: Arrays, shapes: Mapping[str, Any]
) -> tuple[dict[int, wire.Update], dict[int, str]]:
    """Read every reply; who answered nonsense is moved to `failed`."""
    updates = {}
    for client, reply in replies.items():
        try:
            updates[client] = wire.update(reply.content, client, like, shapes)
        except ValueError as error:
            failed[client] = str(error)
    return updates, dict(sorted(failed.items()))


def _aggregated(
    strategy: Any, scenario: Scenario, number: int, replies: list[Message], arrays: Arrays, failed: dict[int, str]
) -> Arrays:
    """The new global weights; the old ones if nobody answered or the strategy cannot work with so few."""
    if not replies:
        return arrays
    try:
        strategies.check(scenario.strategy, len(replies))  # the robust ones promise nothing of fewer
        for reply in replies:
            wire.averaged(reply.content, scenario.weigh)
        new, _ = strategy.aggregate_train(number, replies)
    except Exception as error:  # Flower's own refusals have no public base class; whatever it was, the run goes on
        failed[-1] = f"the strategy could not aggregate {len(replies)} answers: {error}"
        return arrays
    if new is None:
        return arrays
    mixed = [w.astype(old.dtype) for w, old in zip(wire.arrays(new), arrays, strict=True)]
    if not all(np.isfinite(w).all() for w in mixed):
        failed[-1] = f"the strategy made NaN or infinity of {len(replies)} answers; the old weights were kept"
        return arrays
    return mixed


def distance(old: Arrays, new: Arrays) -> float:
    """|new - old| / |old|, over all weights."""
    moved = sum(float(np.sum(np.square(b - a, dtype=np.float64))) for a, b in zip(old, new, strict=True))
    return float(np.sqrt(moved / max(sum(float(np.sum(np.square(a, dtype=np.float64))) for a in old), 1e-30)))
