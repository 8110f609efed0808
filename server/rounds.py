"""The federated loop, in plain sight."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid

from core.config.scenario import Scenario
from core.methods import chain
from core.methods.base import Finetune, Payloads, Shared
from core.plan import Arrays
from core.scores import Sums
from fl import channel, roster, strategies, wire
from fl.holdings import Holdings
from fl.messages import Update
from server import trust

SERVER = -1  # in a round's failures: the server itself


class Watch(channel.Onlooker, Protocol):
    """Whoever looks on: the terminal, or a test."""

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
    capped: dict[int, int]  # whose count was not believed, and what it said
    odd: dict[int, str]  # whose update stands out, and how
    notes: list[str]  # what else was noticed, of nodes that play nobody


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
    assignment: roster.Assignment | None = None,
    step: bytes = b"",
    holdings: Holdings | None = None,
) -> Iterator[Round]:
    """Train round by round; yield each as it ends. `after` is the last finished round (0 = none).

    `rate(round)` is the step size of a round, or None to stop early; `shared` is what an earlier round left of methods;
    `step` is the training step's file, for clients without TensorFlow; `holdings` is what clients of a simulation have.
    """
    method, shared, assignment = chain(scenario), shared or {}, assignment or roster.AnyNode()
    for number in range(after + 1, scenario.rounds + 1):
        if (now := rate(number)) is None:
            return
        start, clients = time.perf_counter(), roster.choose(scenario, number)
        config, sent = wire.config(scenario, now, assignment.run), wire.record(arrays)
        asks = strategy.configure_train(number, sent, config, Cohort(clients))
        payloads = {client: method.download(shared, client) for client in clients}
        messages = _addressed(assignment(grid, clients), asks, number, payloads, step)
        replies, failed = channel.ask(
            grid, messages, scenario.round_timeout, watch, assignment.pause, number, assignment.apart
        )
        failed |= {client: "its node is not there" for client in clients if client not in messages}
        updates, drift, refused = _read(replies, arrays, scenario, method, holdings, number)
        answers, unfit, counts = _believed(updates, method, arrays, scenario, holdings is None)
        failed |= refused | unfit
        updates = {client: update for client, update in updates.items() if client not in unfit}
        learned = {client: u.arrays for client, u in updates.items() if u.arrays}
        weighed = {client: (replies[client], own, counts[client]) for client, own in learned.items()}
        odd = trust.standing_out(trust.directions(arrays, learned))
        received = sum(wire.size(replies[client].content) for client in updates)
        arrays = _aggregated(strategy, scenario, number, weighed, arrays, failed)
        shared, arrays = _gathered(method, shared, answers, arrays, failed)
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
            bytes=(sum(wire.size(message.content) for message in messages.values()), received),
            failed=dict(sorted(failed.items())),
            retried={client: u.earlier for client, u in updates.items() if u.earlier},
            drift={client: drift[client] for client in learned},
            seconds=time.perf_counter() - start,
            shared=shared,
            updates=learned,
            capped={c: updates[c].examples for c in learned if counts[c] < updates[c].examples},
            odd=odd,
            notes=list(assignment.notes()),
        )


def _addressed(
    assignment: Mapping[int, int], asks: Any, number: int, payloads: Mapping[int, Payloads], step: bytes
) -> dict[int, Message]:
    """A strategy's messages, made out to clients and given to the nodes that play them."""
    by_client = {ask.metadata.dst_node_id - 1: ask for ask in asks}
    return {
        client: wire.addressed(by_client[client], client, assignment[client], number, payloads[client], step)
        for client in sorted(by_client)
        if client in assignment
    }


def _read(
    replies: Mapping[int, Message],
    arrays: Arrays,
    scenario: Scenario,
    method: Finetune,
    holdings: Holdings | None,
    number: int,
) -> tuple[dict[int, Update], dict[int, float], dict[int, str]]:
    """Every reply that passes its checks, how far its weights are, and why the others did not."""
    updates, drift, refused = {}, {}, {}
    for client, reply in replies.items():
        try:
            updates[client], drift[client] = trust.read(
                reply.content, client, arrays, scenario, method, holdings, number
            )
        except ValueError as error:
            refused[client] = str(error)
    return updates, drift, refused


def _believed(
    updates: Mapping[int, Update], method: Finetune, arrays: Arrays, scenario: Scenario, cap: bool
) -> tuple[dict[int, Payloads], dict[int, str], dict[int, float]]:
    """What methods make of the answers, why some were refused, and each client's count as it is believed."""
    counts: dict[int, float] = {client: update.examples for client, update in updates.items()}
    counts = trust.capped(updates, scenario.count_ratio) if cap else counts
    answers, refused = dict[int, Payloads](), {}
    for client, update in updates.items():
        share = counts[client] / update.examples if update.examples else 1.0
        try:
            answers[client] = method.accept(update.payloads, update.own, share, arrays, scenario.max_update_ratio)
        except ValueError as error:
            refused[client] = str(error)
    return method.balance(answers, scenario.count_ratio) if cap else answers, refused, counts


def _aggregated(
    strategy: Any, scenario: Scenario, number: int, replies: Mapping[int, tuple[Message, Arrays, float]], arrays: Arrays,
    failed: dict[int, str],
) -> Arrays:  # fmt: skip
    """The new global weights; the old ones, and the strategy as it was, if nobody answered or it cannot work with so few."""
    if not replies:
        return arrays
    before = copy.deepcopy(vars(strategy))
    try:
        strategies.check(scenario.strategy, len(replies))  # the robust ones promise nothing of fewer
        for reply, own, count in replies.values():
            wire.averaged(reply.content, own, float(count) ** scenario.weight_exponent)
        new, _ = strategy.aggregate_train(number, [reply for reply, *_ in replies.values()])
        mixed = (
            [w.astype(old.dtype) for w, old in zip(wire.arrays(new), arrays, strict=True)]
            if new is not None
            else arrays
        )
    except Exception as error:  # Flower's own refusals have no public base class; whatever it was, the run goes on
        failed[SERVER] = f"the strategy could not aggregate {len(replies)} answers: {error}"
        mixed = []
    if mixed and not _finite(mixed):
        failed[SERVER] = f"the strategy made NaN or infinity of {len(replies)} answers; the old weights were kept"
    elif mixed:
        stepped, far = trust.bounded(arrays, mixed, scenario.max_update_ratio)
        if far > scenario.max_update_ratio:
            failed[SERVER] = (
                f"the strategy's step was {far:.3g} times the weights' length; it was cut to {scenario.max_update_ratio:g}"
            )
        return stepped
    vars(strategy).clear()
    vars(strategy).update(before)
    return arrays


def _gathered(
    method: Finetune, shared: Shared, answers: Mapping[int, Payloads], arrays: Arrays, failed: dict[int, str]
) -> tuple[Shared, Arrays]:
    """What the server keeps for methods, and the global weights as they make them.

    Where the answers together make no sense, they are taken one after another, and whose does not is left out.
    """
    sent = {client: answer for client, answer in answers.items() if answer}
    with suppress(ArithmeticError, np.linalg.LinAlgError):
        return _made(method, shared, sent, arrays)
    good: dict[int, Payloads] = {}
    for client, answer in sent.items():
        try:
            _made(method, shared, {**good, client: answer}, arrays)
            good[client] = answer
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            failed[client] = f"what it sent for a method could not be used: {error}"
    return _made(method, shared, good, arrays)


def _made(method: Finetune, shared: Shared, answers: Mapping[int, Payloads], arrays: Arrays) -> tuple[Shared, Arrays]:
    kept, made = method.server_update(shared, answers, arrays)
    if not _finite([*made, *kept.values()]):
        raise ArithmeticError("it makes NaN or infinity")
    return kept, made


def _finite(arrays: Sequence[np.ndarray]) -> bool:
    return all(np.isfinite(array).all() for array in arrays)
