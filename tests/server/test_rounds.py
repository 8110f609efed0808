"""The federated loop: whoever fails is left out and named, the rest go on, and order never matters."""

from __future__ import annotations

import gc
import time
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import ArrayRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from core.arrays import Arrays
from core.config.part import Part
from core.config.scenario import Scenario
from core.plan import distance
from core.scores import Sums
from fl import roster, wire
from fl.channel import Channel, Stopped
from fl.messages import Task, Update
from server.checkpoint import RunState
from server.rounds import Federation, Round, rounds
from tests.fakes import (
    START,
    Client,
    Clock,
    FakeGrid,
    Onlooker,
    broken,
    federation,
    honest,
    play,
    same,
    silent,
    well,
    with_arrays,
)  # fmt: skip

SCENARIO = Scenario("rounds", clients=4, cohort=4, rounds=2, round_timeout=0.2)


def infinite(arrays: Arrays) -> Arrays:
    return [arrays[0] / np.float32(0), arrays[1]]


def changed(**metrics: object) -> Client:
    """A client whose numbers are changed on the way."""

    def answer(task: Task) -> RecordDict:
        content = well(task)
        content[wire.METRICS] = MetricRecord({**content.metric_records[wire.METRICS], **metrics})  # type: ignore[dict-item]
        return content

    return answer


MISBEHAVING: dict[str, tuple[Client, str]] = {
    "raises": (broken, "OSError: the disk is full"),
    "never answers": (silent, "no answer within 0.2 s"),
    "NaN": (with_arrays(lambda a: [a[0] * np.float32("nan"), a[1]]), "array 0 holds NaN or infinity"),
    "infinity": (with_arrays(lambda a: [a[0] + np.float32("inf"), a[1]]), "array 0 holds NaN or infinity"),
    "wrong shape": (with_arrays(lambda a: [a[0][:2], a[1]]), "array 0 is float32 [2], not float32 [3]"),
    "broadcastable shape": (with_arrays(lambda a: [a[0][:1], a[1]]), "array 0 is float32 [1], not float32 [3]"),
    "wrong dtype": (with_arrays(lambda a: [a[0].astype(np.float64), a[1]]), "array 0 is float64"),
    "too few arrays": (with_arrays(lambda a: a[:1]), "1 arrays, not 2"),
    "no examples": (changed(own=0), "0 examples"),
    "a giant count": (changed(own=10**18), "own = 1000000000000000000 should be between 0 and 1e+06"),
    "ten thousand looks": (changed(looks=[0.5] * 10**4), "has 10,000 looks; there should be 0"),
    "more right than seen": (changed(correct=10**6), "correct = 1000000"),
    "a loss that overflows": (changed(loss=1.7e308), "loss = 1.7e+308"),
    "somebody else": (changed(client=0), "client 0's"),
    "one number more": (changed(more=1), "more"),
    "labels too few": (changed(labels=[1, 2, 3]), "labels"),
    "far away": (with_arrays(lambda a: [a[0] + 1e6, a[1]]), "more than max_update_ratio = 3"),
}


def mean(updates: list[Update]) -> Arrays:
    sizes = [u.examples for u in updates]
    return [
        np.average(np.stack(ws).astype(np.float64), 0, sizes) for ws in zip(*(u.arrays for u in updates), strict=True)
    ]


def close(ours: Arrays, theirs: Arrays) -> bool:
    return all(np.allclose(a, b, rtol=1e-6, atol=1e-6) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("how", MISBEHAVING)
def test_who_misbehaves_is_left_out_and_named_and_the_rest_go_on(how: str) -> None:
    client, why = MISBEHAVING[how]
    done = play(FakeGrid({2: client}), SCENARIO)
    start = START
    for one in done:
        row = one.record
        assert row.clients == (0, 1, 3) and list(row.failed) == [2] and why in row.failed[2]
        rest = [honest(Task(SCENARIO, row.round, c, 0.1, start)) for c in (0, 1, 3)]
        assert close(one.arrays, mean(rest)) and not same(one.arrays, start)
        total = sum((u.sums for u in rest), Sums())
        assert (row.examples, row.train_loss, row.train_accuracy) == (total.examples, total.mean_loss, total.accuracy)
        assert set(row.drift) == {0, 1, 3}
        start = one.arrays
    assert len(done) == 2


@pytest.mark.parametrize("odd", [{"labels": [1] * 10}, {"looks": [0.5]}, {"loss": 1}, {"correct": 3.0}])
def test_numbers_nobody_averages_do_not_cost_the_others_their_round(odd: dict[str, object]) -> None:
    """Flower's strategies average every number of an answer, and give up if their lists differ in length."""
    for one in play(FakeGrid({2: changed(**odd)}), SCENARIO):
        assert not one.record.server_error and {0, 1, 3} <= set(one.record.clients) and not same(one.arrays, START)


@pytest.mark.parametrize("client", [broken, silent, with_arrays(infinite)])
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_when_nobody_answers_the_old_weights_are_kept(client: Client) -> None:
    done = play(FakeGrid(dict.fromkeys(range(4), client)), SCENARIO)
    for one in done:
        assert same(one.arrays, START) and one.record.clients == () and set(one.record.failed) == {0, 1, 2, 3}
        assert one.record.examples == 0 and one.record.drift == {}
    assert len(done) == 2


def test_a_pause_of_the_whole_computer_costs_no_client_its_round() -> None:
    """Ctrl-Z for ten minutes, say: the workers stood still, too."""
    clock = Clock()

    def asleep(task: Task) -> RecordDict:
        clock.now += 600
        return well(task)

    grid = FakeGrid(dict.fromkeys(range(3), asleep))
    grid.longest_look = 5.0  # type: ignore[attr-defined]
    done = play(grid, replace(SCENARIO, round_timeout=60), clock=clock)
    assert [one.record.clients for one in done] == [(0, 1, 2, 3)] * 2 and not any(one.record.failed for one in done)


def test_where_a_turn_is_a_clients_work_it_counts_whole() -> None:
    """As with all in one process, or a reply whose upload stalls."""
    clock = Clock()

    def slow(task: Task) -> RecordDict:
        clock.now += 25
        return well(task)

    (one, _) = play(FakeGrid(dict.fromkeys(range(4), slow)), replace(SCENARIO, round_timeout=60), clock=clock)
    assert len(one.record.clients) == 3 and "no answer within 60 s" in one.record.failed.values()


def test_a_round_ends_when_all_have_answered_and_waits_no_longer_than_its_patience() -> None:
    start = time.monotonic()
    play(FakeGrid(), replace(SCENARIO, rounds=1, round_timeout=60), clock=time)
    assert time.monotonic() - start < 10
    start = time.monotonic()
    play(FakeGrid({1: silent}), replace(SCENARIO, rounds=1), clock=time)
    assert 0.2 <= time.monotonic() - start < 10


def test_an_answer_that_comes_a_round_late_is_not_taken_for_the_next_rounds() -> None:
    """Client 2 sleeps through its first ask; its old answer must not count later."""
    grid = FakeGrid({2: lambda task: silent(task) if task.round == 1 else well(task)})
    first, second = play(grid, SCENARIO)
    assert list(first.record.failed) == [2] and second.record.failed == {} and second.record.clients == (0, 1, 2, 3)


@given(st.lists(st.integers(0, 10**6), min_size=8, max_size=8))
def test_the_order_of_replies_changes_nothing(turns: list[int]) -> None:
    queue, patient = iter(turns), replace(SCENARIO, round_timeout=60)
    shuffled = play(FakeGrid(turn=lambda n: next(queue) % n), patient)
    for one, other in zip(shuffled, play(FakeGrid(), patient), strict=True):
        assert same(one.arrays, other.arrays)
        assert replace(one.record, seconds=other.record.seconds) == other.record


@pytest.mark.parametrize("nodes", [1, 2, 4])
def test_the_number_of_nodes_changes_nothing(nodes: int) -> None:
    few, many = (play(FakeGrid(nodes=n), SCENARIO)[-1].arrays for n in (nodes, 3))
    assert same(few, many)


def test_every_client_of_the_cohort_is_asked_once_a_round_on_an_existing_node() -> None:
    scenario = replace(SCENARIO, clients=30, cohort=7, rounds=3)
    grid = FakeGrid(nodes=2)
    play(grid, scenario)
    assert [(r, c) for r, c, _ in grid.asked] == [(r, c) for r in (1, 2, 3) for c in roster.choose(scenario, r)]
    assert {node for *_, node in grid.asked} == {1, 2}


def test_rounds_go_on_after_the_last_finished_one() -> None:
    scenario = replace(SCENARIO, rounds=4)
    whole = play(FakeGrid(), scenario)
    rest = play(FakeGrid(), scenario, state=RunState(2, whole[1].arrays))
    assert [one.record.round for one in rest] == [3, 4]
    assert all(same(one.arrays, other.arrays) for one, other in zip(rest, whole[2:], strict=True))


def test_a_rate_reaches_its_round_and_none_ends_the_run() -> None:
    rates: list[float] = []

    def listening(task: Task) -> RecordDict:
        rates.append(task.rate)
        return well(task)

    rate = {1: 0.5, 2: 0.25, 3: None}.get
    these = federation(FakeGrid({0: listening}), replace(SCENARIO, rounds=9))
    done = list(rounds(these, RunState(0, START), rate))
    assert [one.record.rate for one in done] == rates == [0.5, 0.25]


def test_whoever_looks_on_can_stop_the_run_inside_a_round() -> None:
    watch = Onlooker(at=2)
    these = Federation(SCENARIO, Channel(FakeGrid(), SCENARIO.round_timeout, watch))
    done: list[Round] = []
    with pytest.raises(Stopped):
        done.extend(rounds(these, RunState(0, START), lambda number: 0.1))
    assert watch.replies == [(1, 1, 4), (1, 2, 4), (1, 3, 4), (1, 4, 4), (2, 1, 4)]


@pytest.mark.parametrize("strategy", ["fedavg", "fedadam", "scaffold"])
def test_what_was_sent_in_a_round_is_gone_when_it_has_ended(strategy: str) -> None:
    """Without a garbage collection, of which a server's whole run may see none."""

    def weights() -> int:
        return sum(isinstance(one, ArrayRecord) and len(one) > 0 for one in gc.get_objects())

    gc.collect()
    before = weights()
    gc.disable()
    try:
        done = play(FakeGrid(), replace(SCENARIO, strategy=Part(strategy)))
        assert len(done) == 2 and weights() == before
    finally:
        gc.enable()


def test_who_was_asked_again_is_named_with_the_worker_that_was_lost() -> None:
    grid = FakeGrid({1: lambda task: wire.reply(replace(honest(task), earlier="host:17"))})
    assert [one.record.retried for one in play(grid, SCENARIO)] == [{1: "host:17"}] * 2
    assert same(play(grid, SCENARIO)[-1].arrays, play(FakeGrid(), SCENARIO)[-1].arrays)


@pytest.mark.parametrize("part, cohort", [(Part("krum"), 5), (Part("multikrum"), 5), (Part("bulyan"), 7)])
def test_a_robust_strategy_with_too_few_answers_keeps_the_old_weights_and_says_so(part: Part, cohort: int) -> None:
    """With fewer answers than it is defined for, a malicious client could win."""
    scenario = Scenario("rounds", clients=cohort, cohort=cohort, rounds=1, round_timeout=0.2, strategy=part)
    (done,) = play(FakeGrid({1: broken}), scenario)
    assert same(done.arrays, START)
    error = done.record.server_error
    assert "could not aggregate" in error and f"{cohort - 1} replies" in error


def test_drift_is_the_relative_distance_from_the_weights_received() -> None:
    (done, _) = play(FakeGrid(), SCENARIO)
    for client, drift in done.record.drift.items():
        assert drift is not None
        new = honest(Task(SCENARIO, 1, client, 0.1, START)).arrays
        flat = [np.concatenate([w.ravel() for w in ws]).astype(np.float64) for ws in (START, list(new))]
        assert drift == pytest.approx(np.linalg.norm(flat[1] - flat[0]) / np.linalg.norm(flat[0]), rel=1e-6)
    assert distance(START, START) == 0


def test_strategies_that_empty_replies_do_not_spoil_what_is_measured() -> None:
    plain = play(FakeGrid(), SCENARIO)[0].record
    for name in ("fedmedian", "fedtrimmedavg"):
        done = play(FakeGrid(), replace(SCENARIO, strategy=Part(name)))[0].record
        assert replace(done, seconds=plain.seconds, odd=plain.odd) == plain
