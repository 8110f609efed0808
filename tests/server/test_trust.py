"""The law of distrust: whatever an admitted client answers, the new model is finite, and moves no further than an honest one's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvgM
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.learner import learn
from clients.sources.simulated import shard
from core.arrays import Arrays
from core.config.part import Part
from core.config.scenario import Local, Scenario
from core.data import load
from core.methods.base import Finetune, Memory, Shared
from core.plan import distance, steps
from core.scores import Sums
from core.stream import STREAMS
from fl import roster, wire
from fl.channel import Channel
from fl.holdings import Holdings
from fl.messages import Task
from fl.strategies import STRATEGIES
from scenarios.backends.local import LocalGrid
from server import trust
from server.rounds import _server_updated
from tests.fakes import START, FakeGrid, Onlooker, federate, honest, play, same, well
from tests.models import engine, initial, spec

NAMES = [name for name in STRATEGIES if name != "fedbn"]  # which needs a model with norms: test_run.py
SCENARIO = Scenario("trust", clients=7, cohort=7, rounds=3, round_timeout=5, count_ratio=4.0)
WEIGHTS = initial(1)
NUMBER = st.one_of(st.floats(-20, 20, width=32), st.floats(-(2.0**127), 2.0**127, width=32))


def claiming(own: int, change: Callable[[Arrays], Arrays] = lambda arrays: arrays) -> Callable[[Task], RecordDict]:
    """A client that says it has so many examples, and sends changed weights."""

    def answer(task: Task) -> RecordDict:
        batch = task.scenario.local.batch
        seen = min(batch * steps(own, batch, task.scenario.local.epochs), 10**9)
        sums = Sums(0.5 * seen, seen // 2, seen)
        return wire.reply(replace(honest(task), own_examples=own, sums=sums, arrays=change(honest(task).arrays)))

    return answer


def flipped(arrays: Arrays) -> Arrays:
    return [2 * start - own for start, own in zip(START, arrays, strict=True)]


@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_lies_about_its_count_counts_as_the_most_allowed(name: str) -> None:
    """Honest counts are 10, 20 … 70; client 6's is then 4 times the lower median of 10 … 60 and its own."""
    scenario = replace(SCENARIO, strategy=Part(name), rounds=1)
    lied, capped = (play(FakeGrid({6: claiming(n, flipped)}), scenario)[0] for n in (999_999, 160))
    assert same(lied.arrays, capped.arrays) and lied.record.capped == {6: 999_999} and capped.record.capped == {}
    most = play(FakeGrid({6: claiming(60, flipped)}), scenario)[0]
    assert name not in ("fedavg", "fedprox") or not same(lied.arrays, most.arrays)  # the cap is no lower than it says


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15)
@given(values=st.lists(NUMBER, min_size=5, max_size=5), own=st.integers(0, 2**62))
def test_whatever_a_client_sends_the_model_stays_finite_and_near(name: str, values: list[float], own: int) -> None:
    sent = [np.array(values[:3], np.float32), np.array([values[3:]], np.float32)]
    before, rounds = START, 1 if name == "bulyan" else 3  # it is slow in Flower
    for one in play(
        FakeGrid({2: claiming(own, lambda _: sent)}), replace(SCENARIO, strategy=Part(name), rounds=rounds)
    ):
        assert all(np.isfinite(w).all() for w in one.arrays)
        assert distance(before, one.arrays) <= SCENARIO.max_update_ratio * (1 + 1e-5)
        assert {0, 1, 3, 4, 5, 6} <= set(one.record.clients)
        before = one.arrays


@pytest.mark.parametrize("name", NAMES)
def test_a_client_at_the_limit_moves_the_model_no_further_than_the_limit(name: str) -> None:
    """Just within the limit, in every round: what a strategy makes of it (momentum, adaptive steps) is cut to the same length."""
    far = [w * np.float32(1 + 0.99 * SCENARIO.max_update_ratio) for w in START]
    scenario = replace(SCENARIO, strategy=Part(name), rounds=1 if name == "bulyan" else 3)
    if name == "fedavgm":
        scenario = replace(scenario, clients=1, cohort=1, strategy=Part("fedavgm", {"momentum": 0.9, "rate": 5.0}))
    before = START
    for one in play(FakeGrid({0: claiming(1000, lambda _: far)}), scenario):
        assert distance(before, one.arrays) <= SCENARIO.max_update_ratio * (1 + 1e-5)
        if name == "fedavgm" and one.record.round == 1:
            assert f"cut to {SCENARIO.max_update_ratio:g}" in one.record.server_error
        before = one.arrays


def test_a_strategy_that_made_nonsense_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its momentum too: else every later round would be lost."""
    plain = FedAvgM.aggregate_train

    def spoil(self: Any, number: int, replies: Any) -> Any:
        new, metrics = plain(self, number, replies)
        if number == 2:
            self.momentum_vector = [w * np.float32("nan") for w in self.momentum_vector]
            new = wire.record([w * np.float32("nan") for w in wire.arrays(new)])
        return new, metrics

    monkeypatch.setattr(FedAvgM, "aggregate_train", spoil)
    done = play(FakeGrid(), replace(SCENARIO, rounds=4, strategy=Part("fedavgm")))
    assert "made NaN" in done[1].record.server_error and same(done[1].arrays, done[0].arrays)
    assert not done[2].record.server_error and not same(done[2].arrays, done[1].arrays)


def test_who_has_nothing_to_learn_does_not_lower_what_others_count(tmp_path: Path) -> None:
    def idle(task: Task) -> RecordDict:
        return wire.reply(replace(honest(task), own_examples=0, arrays=[], sums=Sums()))

    two = replace(SCENARIO, clients=2, cohort=2)
    for one in play(FakeGrid({0: idle}), two):
        assert (
            one.record.capped == {} == one.record.failed
            and one.record.clients == (0, 1)
            and not same(one.arrays, START)
        )


@pytest.mark.parametrize("name", NAMES)
def test_the_order_in_which_a_client_names_its_arrays_changes_nothing(name: str) -> None:
    """Several of Flower's strategies go by it."""

    def reversed_(task: Task) -> RecordDict:
        content = well(task)
        if record := content.array_records.get(wire.ARRAYS):  # none where nobody trains
            content[wire.ARRAYS] = ArrayRecord({key: record[key] for key in reversed(list(record))})
        return content

    scenario = replace(SCENARIO, strategy=Part(name), rounds=1 if name == "bulyan" else 2)
    one, other = (play(FakeGrid(clients), scenario)[-1] for clients in ({0: reversed_}, {}))
    assert same(one.arrays, other.arrays) and one.record.failed == other.record.failed == {}


class Picky(Finetune):
    """A method whose sums make no sense once client 2's are in them."""

    def server_update(self, shared: Shared, answers: Any, arrays: Arrays) -> Any:
        if 2 in answers:
            raise ArithmeticError("no images give these")
        return {"picky/who": np.array(sorted(answers))}, arrays


def test_whose_sums_make_no_sense_with_the_others_is_left_out_and_named() -> None:
    sent = {client: {"picky": START} for client in (0, 2, 3)}
    kept, arrays, failed = _server_updated(Picky(spec()), {}, sent, START)
    assert kept["picky/who"].tolist() == [0, 3] and same(arrays, START)
    assert list(failed) == [2] and "no images" in failed[2]


def test_a_run_that_goes_on_from_another_refuses_no_memory_of_it(tiny: Scenario) -> None:
    """Of the earlier run's stages, with digits of their own, nobody knows here how many images there were."""
    later = replace(tiny, digits=(8, 9), past=3, methods=(Part("replay", {"images": 500}),), minimum=2)
    known = Holdings(later, load(later).train.y)
    assert known.rehearsed(0, 1) == 500
    joint = Holdings(replace(later, methods=(Part("joint"),)), load(later).train.y)
    assert joint.rehearsed(0, 1) == later.max_examples


# ── what stands out ──


def test_an_update_that_points_the_other_way_is_named() -> None:
    def together(task: Task) -> RecordDict:
        """Clients that agree, but for some noise."""
        update = honest(task)
        moved = [w + np.float32(0.3) + (own - w) for w, own in zip(task.arrays, update.arrays, strict=True)]
        return wire.reply(replace(update, arrays=moved))

    def against(task: Task) -> RecordDict:
        return wire.reply(replace(honest(task), arrays=[w - np.float32(0.3) for w in task.arrays]))

    clients: dict[int, Any] = dict.fromkeys(range(7), together)
    assert [one.record.odd for one in play(FakeGrid(clients), SCENARIO)] == [{}] * 3
    for one in play(FakeGrid(clients | {4: against}), SCENARIO):
        row = one.record
        assert list(row.odd) == [4] and "points away" in row.odd[4] and 4 in row.clients


def test_cosines_are_to_the_sum_of_the_others_none_of_which_is_longer_than_the_median() -> None:
    old, drift = [np.zeros(2, np.float32)], {0: 1.0, 1: 2.0, 2: 1.0}
    given = {0: [np.array([1, 0], np.float32)], 1: [np.array([0, 2], np.float32)], 2: [np.array([0, 1], np.float32)]}
    assert trust.directions(old, given, drift) == pytest.approx({0: 0, 1: 1 / np.sqrt(2), 2: 1 / np.sqrt(2)})
    assert trust.directions(old, {0: given[0]}, drift) == {}


@pytest.mark.parametrize("times", [1, 5, 9, 12, 59])
def test_who_sends_the_others_mean_turned_round_is_named_however_long_it_is(times: float) -> None:
    draw = np.random.default_rng(times)
    honest_ones = [1 + 0.5 * draw.normal(size=500).astype(np.float32) for _ in range(9)]
    sent = [*honest_ones, -np.float32(times) * np.mean(honest_ones, 0)]
    updates = {client: [one] for client, one in enumerate(sent)}
    drift = {client: float(np.linalg.norm(one)) for client, one in enumerate(sent)}
    assert list(trust.standing_out(trust.directions([np.zeros(500, np.float32)], updates, drift))) == [9]


def test_few_updates_or_equal_ones_do_not_stand_out() -> None:
    assert trust.standing_out({0: -1.0, 1: 1.0, 2: 1.0}) == {} == trust.standing_out(dict.fromkeys(range(9), 0.5))


# ── in simulation the server knows what clients have ──


class Lying(LocalGrid):
    """Client 1 says other numbers than it has."""

    def __init__(self, scenario: Scenario, home: str, **numbers: Callable[[int], int]) -> None:
        super().__init__(roster.nodes(scenario), {"memory": home})
        self.numbers = numbers

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        replies = super().pull_messages(message_ids)
        for reply in replies:
            if (
                reply.metadata.message_type == "train"
                and (metrics := reply.content.metric_records[wire.METRICS])["client"] == 1
            ):
                changed = {name: change(metrics[name]) for name, change in self.numbers.items()}  # type: ignore[arg-type]
                reply.content[wire.METRICS] = MetricRecord({**metrics, **changed})
        return replies


@pytest.mark.parametrize(
    "numbers, why",
    [
        ({"own": lambda n: n + 1}, "the partition gives it"),
        ({"own": lambda n: n - 1}, "the partition gives it"),
        ({"rehearsed": lambda n: n + 1}, "it can have kept 0"),
        ({"own": lambda n: 10**18}, "make no sense"),
    ],
)
def test_a_count_that_the_partition_does_not_give_is_refused(
    tiny: Scenario, tmp_path: Path, numbers: dict[str, Callable[[int], int]], why: str
) -> None:
    all_ = replace(tiny, cohort=4, rounds=1)
    row = federate(all_, tmp_path / "lied", grid=Lying(all_, str(tmp_path), **numbers)).history[0]
    assert row.clients == (0, 2, 3) and why in row.failed[1]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("method, kept", [("replay", True), ("joint", True), ("derpp", True), ("agem", False)])
def test_what_an_honest_client_says_is_what_the_server_knows(
    tiny: Scenario, stream: str, method: str, kept: bool
) -> None:
    """Under label noise, an order of its own, late stages, empty ones, and a small budget."""
    small = {"images": 0, "kilobytes": 6.0} if method != "joint" else {}
    scenario = replace(
        tiny, train=260, validation=20, clients=2, cohort=2, rounds=10, stream=Part(stream), noise=0.2, order=0.7, lag=0.5,
        partition=Part("dirichlet", {"alpha": 0.1}), methods=(Part(method, small),), augment=(), looks=(),
        local=Local(epochs=0.1),
    )  # fmt: skip
    holdings, rehearsed = Holdings(scenario, load(scenario).train.y), []
    for client in range(2):
        memory: Memory = {}
        for round in range(1, 11):
            task = Task(scenario, round, client, 0.05, WEIGHTS)
            done, memory = learn(shard(scenario.json(), client), task, memory, engine)
            assert done.own_examples == holdings.own_examples(client, round) and done.rehearsed <= holdings.rehearsed(
                client, round
            )
            rehearsed.append(done.rehearsed)
    assert (max(rehearsed) > 0) == (kept and stream != "whole")


# ── a slow pull holds nobody ──


class Slow(FakeGrid):
    """As Flower's grid on real nodes: a reply that was announced and never uploaded keeps its pull waiting; another's cannot be
    read at all."""

    def __init__(self, waits: int, breaks: int) -> None:
        super().__init__()
        self.waits, self.breaks, self.over = waits, breaks, threading.Event()
        self.replies: dict[str, Message] = {}

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        keys = super().push_messages(messages)
        for key, ask in zip(keys, [self.waiting.pop() for _ in keys], strict=True):
            self.replies[key] = Message(well(wire.task(ask.content)), reply_to=ask)
        return keys

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        got = [self.replies[key] for key in message_ids]
        clients = [reply.content.metric_records[wire.METRICS]["client"] for reply in got]
        if self.waits in clients:
            self.over.wait(60)
        if self.breaks in clients:
            raise ValueError("no such object\x1b[2J")
        return got


class Apart(roster.AnyNode):
    """Each reply is pulled by itself, as on real nodes."""

    pause, one_by_one = 0.01, True


def test_a_reply_that_never_comes_or_cannot_be_read_costs_the_others_and_the_round_nothing() -> None:
    grid, clients = Slow(waits=1, breaks=2), [0, 1, 2, 3]
    asks = {client: wire.request(Task(SCENARIO, 1, client, 0.1, START), wire.record(START)) for client in clients}
    start = time.monotonic()
    replies = Channel(grid, 2.0, Onlooker(), Apart()).ask("train", asks, lambda client, content: content, 1)
    took, failed = time.monotonic() - start, replies.failed
    grid.over.set()
    assert took < 20 and sorted(replies.results) == [0, 3]
    assert failed[1] == "no answer within 2 s" and "no such object" in failed[2] and failed[2].isprintable()
