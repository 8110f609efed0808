"""The federated loop, in plain sight."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from flwr.app import MessageType, RecordDict

from core.arrays import Arrays, finite
from core.config.scenario import Scenario
from core.engines.step import digest
from core.methods.base import Finetune, Payloads, Request, Shared
from core.models import ModelSpec, of
from core.scores import Sums
from fl import roster, strategies, wire
from fl.channel import Channel
from fl.holdings import Holdings
from fl.messages import Task
from fl.strategies import Contribution, State, Strategy
from server import trust
from server.checkpoint import RunState
from server.record import RoundRecord, RoundSeconds, Traffic
from server.trust import Believed, Checked

Rate = Callable[[int], float | None]  # the step size of a round; None: stop before it


@dataclass(frozen=True)
class Federation:
    """What stays the same in every round of a run."""

    scenario: Scenario
    channel: Channel
    step: bytes = b""  # a training step's file, for clients without TensorFlow
    holdings: Holdings | None = None  # what clients of a simulation have; on devices nobody knows

    @cached_property
    def strategy(self) -> Strategy:
        """The scenario's."""
        return strategies.build(self.scenario)

    @cached_property
    def method(self) -> Finetune:
        """What clients do beside plain training."""
        return strategies.chain(self.scenario)

    @cached_property
    def digest(self) -> str:
        """Of the step's file."""
        return digest(self.step) if self.step else ""

    def task(self, round: int, client: int, rate: float, arrays: Arrays, payloads: Payloads | None = None) -> Task:
        """What a client is asked to do in a round."""
        assignment = self.channel.assignment
        return Task(
            self.scenario, round, client, rate, arrays, payloads or {},
            assignment.run, assignment.before, self.step, self.digest,
        )  # fmt: skip


@dataclass(frozen=True)
class Round:
    """A round that is over: what it leaves, and what there is to say of it before the new model is tested."""

    record: RoundRecord
    arrays: Arrays  # the new global weights
    strategy: State
    shared: Shared  # what the server keeps for methods
    updates: Mapping[int, Arrays]  # each client's own new weights


def rounds(federation: Federation, state: RunState, rate: Rate) -> Iterator[Round]:
    """Train round by round, from the one after this state's; yield each as it ends."""
    for number in range(state.round + 1, federation.scenario.rounds + 1):
        if (step_size := rate(number)) is None:
            return
        outcome = play_round(federation, state, number, step_size)
        state = replace(state, round=number, arrays=outcome.arrays, strategy=outcome.strategy, shared=outcome.shared)
        yield outcome


def play_round(federation: Federation, state: RunState, number: int, rate: float) -> Round:
    """One round: ask its clients, believe what makes sense of their replies, make one model of many."""
    start, processor_start = time.perf_counter(), time.process_time()
    request = Request(federation.scenario, number, rate, state.arrays, state.shared)
    contents = _contents(federation, request)
    method, holdings = federation.method, federation.holdings

    def read(client: int, content: RecordDict) -> Checked:
        return trust.read(content, client, request, method, holdings)

    asking, preparation = time.perf_counter(), time.process_time() - processor_start
    replies = federation.channel.ask(MessageType.TRAIN, contents, read, number)
    waited, resumed = time.perf_counter() - asking, time.process_time()
    believed = trust.believe(replies.results, request, method, holdings)
    strategy, arrays, error = _aggregated(federation, state, believed, number)
    if number == federation.scenario.rounds:
        arrays = federation.strategy.finish(strategy, arrays)
    # Where the replies changed nothing, the payloads beside them are dropped too: they belong to weights that nobody has.
    payloads = {} if error and arrays is state.arrays else believed.payloads
    shared, arrays, unusable = _server_updated(method, state.shared, payloads, arrays)
    if number == federation.scenario.rounds:
        arrays, finish_error = _finished(federation, shared, arrays)
        error = "; ".join(filter(None, (error, finish_error)))
    traffic = Traffic(
        sent=sum(replies.sent.values()),
        received=sum(replies.results[client].bytes for client in believed.updates),
    )
    record = replace(
        _record(request, believed),
        clients_seconds=dict(replies.seconds) if federation.channel.assignment.one_by_one else {},
        clients_work={c: u.seconds for c, u in believed.updates.items()}
        if federation.channel.assignment.one_by_one
        else {},
        bytes=traffic,
        failed=dict(sorted({**replies.failed, **believed.refused, **unusable}.items())),
        server_error=error,
        odd=trust.standing_out(_directions(of(federation.scenario), state.arrays, believed)),
        notes=tuple(federation.channel.assignment.notes()),
    )
    processor = sum(update.processor for update in believed.updates.values())
    server = preparation + time.process_time() - resumed
    record = replace(record, seconds=RoundSeconds(time.perf_counter() - start, 0.0, waited, processor, server))
    return Round(record, arrays, strategy, shared, believed.learned)


def _directions(model: ModelSpec, old: Arrays, believed: Believed) -> dict[int, float]:
    """As trust.directions, of what takes gradients."""
    trained = {client: model.trainable(new) for client, new in believed.learned.items()}
    return trust.directions(model.trainable(old), trained, believed.drift)


def _contents(federation: Federation, request: Request) -> dict[int, RecordDict]:
    """The message of each client of the round."""
    weights, method = wire.record(request.arrays), federation.method
    return {
        client: wire.request(
            federation.task(
                request.round, client, request.rate, request.arrays, method.download(request.shared, client)
            ),
            weights,
        )
        for client in roster.asked(federation.scenario, request.round)
    }


def _record(request: Request, believed: Believed) -> RoundRecord:
    """What the replies say of the round."""
    updates, learned = believed.updates, believed.learned
    sums = sum((updates[client].sums for client in learned), Sums())
    return RoundRecord(
        round=request.round,
        rate=request.rate,
        clients=tuple(updates),
        idle=tuple(client for client in updates if client not in learned),
        stragglers={
            client: 0.0 if request.scenario.drop_stragglers else passes
            for client, passes in roster.stragglers(request.scenario, request.round).items()
        },
        tasks={client: u.task for client, u in updates.items()},
        without=tuple(client for client, u in updates.items() if not u.own_examples),
        memory={client: u.memory for client, u in updates.items()},
        clients_examples={client: u.examples for client, u in updates.items()},
        battery={client: u.battery for client, u in updates.items() if u.battery >= 0},
        retried={client: u.earlier for client, u in updates.items() if u.earlier},
        unprepared=tuple(client for client, u in updates.items() if u.unprepared),
        said={client: u.note for client, u in updates.items() if u.note},
        capped={c: updates[c].examples for c in learned if believed.counts[c] < updates[c].examples},
        examples=sums.examples,
        train_loss=sums.mean_loss if sums.examples else None,
        train_accuracy=sums.accuracy,
        drift={client: believed.drift[client] for client in learned},
    )


def _aggregated(federation: Federation, state: RunState, believed: Believed, number: int) -> tuple[State, Arrays, str]:
    """The strategy's new state, the new global weights, and what went wrong; the old ones, if nobody took a step or the
    strategy cannot work with so few."""
    scenario, strategy = federation.scenario, federation.strategy
    before = state.strategy or strategy.start(state.arrays)
    contributions = [
        Contribution(client, arrays, float(believed.counts[client]) ** scenario.weight_exponent, believed.steps[client])
        for client, arrays in believed.learned.items()
    ]
    if not contributions:
        return before, state.arrays, ""
    try:
        after, aggregated = strategies.aggregate(scenario, strategy, before, state.arrays, contributions, number)
    except Exception as error:  # Flower's own refusals have no public base class; whatever it was, the run goes on
        return before, state.arrays, f"the strategy could not aggregate {len(contributions)} replies: {error}"
    if not finite([*aggregated, *after.values()]):
        why = f"the strategy made NaN or infinity of {len(contributions)} replies; the old weights were kept"
        return before, state.arrays, why
    stepped, ratio = trust.bounded(state.arrays, aggregated, scenario.max_update_ratio, of(scenario))
    cut = f"it was cut to {scenario.max_update_ratio:g}"
    long = f"the strategy's step was {ratio:.3g} times the weights' length; {cut}"
    return after, stepped, long if ratio > scenario.max_update_ratio else ""


def _server_updated(
    method: Finetune, shared: Shared, payloads: Mapping[int, Payloads], arrays: Arrays
) -> tuple[Shared, Arrays, dict[int, str]]:
    """What the server keeps for methods, the global weights as they make them, and whose payloads could not be used.

    Where the payloads make no sense together, they are added one client after another, and those that make none are left out.
    """
    sent = {client: one for client, one in payloads.items() if one}
    with suppress(ArithmeticError, np.linalg.LinAlgError):
        return *_checked_server_update(method, shared, sent, arrays), {}
    usable, unusable = dict[int, Payloads](), dict[int, str]()
    for client, payload in sent.items():
        try:
            _checked_server_update(method, shared, {**usable, client: payload}, arrays)
            usable[client] = payload
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            unusable[client] = f"what it sent for a method could not be used: {error}"
    return *_checked_server_update(method, shared, usable, arrays), unusable


def _checked_server_update(
    method: Finetune, shared: Shared, payloads: Mapping[int, Payloads], arrays: Arrays
) -> tuple[Shared, Arrays]:
    new_shared, new_arrays = method.server_update(shared, payloads, arrays)
    if not finite([*new_arrays, *new_shared.values()]):
        raise ArithmeticError("it makes NaN or infinity")
    return new_shared, new_arrays


def _finished(federation: Federation, shared: Shared, arrays: Arrays) -> tuple[Arrays, str]:
    """The global weights as methods leave them after the last round, and what went wrong; this step has the limit of a round's."""
    limit = federation.scenario.max_update_ratio
    try:
        finished = federation.method.server_finish(shared, arrays)
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        return arrays, f"nothing was made of the weights after the last round: {error}"
    if not finite(finished):
        return arrays, "what was made of the weights after the last round is NaN or infinite; they were kept"
    finished, ratio = trust.bounded(arrays, finished, limit, of(federation.scenario))
    return (
        finished,
        f"the step after the last round was {ratio:.3g} times the weights' length; it was cut to {limit:g}"
        * (ratio > limit),
    )
