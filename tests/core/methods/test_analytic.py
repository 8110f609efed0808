"""Closed-form heads over several clients: whoever is asked when, the head is that of all data in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.learner import learn
from clients.sources.simulated import Shard
from core.arrays import Arrays
from core.config.part import Part
from core.config.scenario import Local, Model, Scenario
from core.data import Examples, read
from core.methods import METHODS
from core.methods.base import Chain, Memory, Payloads, Request, Shared
from core.models import of
from core.plan import Lesson
from core.stream import Stream, lay
from fl.messages import Task
from fl.strategies import chain
from server.trust import received
from tests.fakes import federate
from tests.models import initial, tensorflow

CLIENTS, ROUNDS = 3, 6
BASE = Scenario(
    "heads", clients=CLIENTS, cohort=CLIENTS, rounds=ROUNDS, stream=Part("classes", {"per_task": 4}),
    model=Model("mlp"), local=Local(batch=16),
)  # fmt: skip
HEADS = ["acil", "slda", "stsa"]
ALL = (tuple(range(CLIENTS)),) * ROUNDS
engine = tensorflow("mlp")


@pytest.fixture(scope="module")
def digits() -> Examples:
    return read("mnist")[0].take(np.arange(180))


@dataclass(frozen=True)
class Run:
    """What a federation leaves, and what went over the wire."""

    arrays: Arrays = field(default_factory=lambda: initial(5, "mlp"))
    shared: Shared = field(default_factory=dict)
    sent: tuple[tuple[int, int], ...] = ()  # (round, client) of each upload for the method
    count: float = 0.0  # images in all sums


def shards(digits: Examples, clients: int = CLIENTS) -> list[Shard]:
    """The digits dealt out in turn."""
    return [
        Shard(c, digits.take(np.arange(c, len(digits), clients)), np.zeros(0, np.float32), {}) for c in range(clients)
    ]


def play(
    scenario: Scenario, data: Sequence[Shard], asked: Sequence[Sequence[int]] = ALL, run: Run | None = None
) -> Run:
    """The rounds of a scenario, each with the clients that are asked in it; plain averaging."""
    run, method, memories = run or Run(), chain(scenario), dict[int, Memory]()
    (name,) = [part.name for part in scenario.methods]
    for round, cohort in enumerate(asked, 1):
        uploads, learned = dict[int, Payloads](), list[Arrays]()
        for client in cohort:
            task = Task(scenario, round, client, 0.05, run.arrays, method.download(run.shared, client))
            update, memories[client] = learn(data[client], task, memories.get(client, {}), engine)
            learned += [update.arrays] if update.arrays else []
            if update.payloads:
                asked = Request(scenario, round, 0.05, run.arrays, run.shared)
                uploads[client] = method.accept(update.payloads, received(update, asked))
        arrays = [np.mean(same, 0) for same in zip(*learned, strict=True)] if learned else run.arrays
        sent = run.sent + tuple((round, client) for client in uploads)
        count = run.count + sum(float(u[name][0][-1]) for u in uploads.values())
        shared, arrays = method.server_update(run.shared, uploads, arrays)
        run = Run(arrays, shared, sent, count)
    return run


def in_one_place(scenario: Scenario, run: Run, digits: Examples) -> Arrays:
    """The head that one client with all these digits gives, on the body that a run ended with."""
    (part,) = scenario.methods
    args = {**part.args, "warm": 0}
    alone = replace(scenario, stream=Part("whole"), clients=1, cohort=1, methods=(Part(part.name, args),))
    return play(alone, shards(digits, 1), ((0,),), replace(Run(), arrays=run.arrays)).arrays


def like_all_in_one_place(scenario: Scenario, run: Run, digits: Examples) -> None:
    whole = engine.logits(in_one_place(scenario, run, digits), digits.x)
    found = engine.logits(run.arrays, digits.x)
    assert found == pytest.approx(whole, abs=0.02 * float(np.abs(whole).max()))  # float32 sums
    assert (found.argmax(1) == whole.argmax(1)).mean() > 0.99


def scenario(name: str, **settings: Any) -> Scenario:
    return replace(BASE, methods=(Part(name, {"ridge": 0.1, "warm": 0, **settings}),))


@pytest.mark.parametrize("name", ["acil", "slda", "stsa"])
@pytest.mark.parametrize("round", [1, 2, 3])
@pytest.mark.parametrize("solved", [False, True])
def test_the_server_asks_for_weights_where_the_client_trains(name: str, round: int, solved: bool) -> None:
    """Both halves say it for themselves; a run that goes on from another has sums before its first round."""
    base = scenario(name, warm=2)
    head = METHODS[name](of(base), warm=2)
    shared = {f"{name}/gram": np.zeros(1)} if solved else {}
    weights = of(base).initial(0)
    none = Examples.none()
    lesson = Lesson(0, weights, none, np.zeros((0, 0)), 0, round, 0.1, base, head.download(shared, 0))
    for method in (head, Chain([head, METHODS["replay"](of(base))])):
        asks = method.asks_for_weights(Request(base, round, 0.1, weights, shared))
        assert asks == method.trains(lesson) == (round <= 2 and not solved)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("warm", [2, 3, 5])
def test_stages_that_passed_while_the_body_trained_are_in_the_head(digits: Examples, name: str, warm: int) -> None:
    """Stages begin in rounds 1, 3 and 5."""
    trained = scenario(name, warm=warm)
    run = play(trained, shards(digits))
    assert min(run.sent) == (warm + 1, 0) and run.count == len(digits)
    like_all_in_one_place(trained, run, digits)
    assert not np.array_equal(run.arrays[0], Run().arrays[0])


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("warm", [0, 1])
def test_a_client_that_was_not_drawn_in_a_stage_sends_it_when_it_is(digits: Examples, name: str, warm: int) -> None:
    asked = (
        (0, 2),
        (0,),
        (0,),
        (0, 2),
        (0, 1),
        (0, 2),
    )  # 1 in the last stage only, 2 never in the first after warm = 1
    rare = scenario(name, warm=warm)
    run = play(rare, shards(digits), asked)
    assert run.count == len(digits) and [client for _, client in run.sent].count(1) == 1
    like_all_in_one_place(rare, run, digits)


@pytest.mark.parametrize("name", HEADS)
def test_clients_in_orders_of_their_own_each_send_what_they_met(digits: Examples, name: str) -> None:
    own = replace(scenario(name, warm=3), order=1.0, lag=0.5)
    run = play(own, shards(digits), (*ALL[:-2], (0, 2), (0, 1, 2)))
    assert run.count == len(digits)
    like_all_in_one_place(own, run, digits)


@pytest.mark.parametrize("name", HEADS)
def test_under_conditions_each_stage_is_seen_under_its_own(digits: Examples, name: str) -> None:
    """Asked in every stage or only in the last, the sums are the same."""
    turned = replace(scenario(name), stream=Part("domains", {"conditions": "plain+rotate+invert"}))
    often, once = (
        play(turned, shards(digits, 1), asked) for asked in (((0,),) * ROUNDS, ((),) * (ROUNDS - 1) + ((0,),))
    )
    for a, b in zip(often.arrays, once.arrays, strict=True):
        assert np.abs(a - b).max() <= 0.01 * np.abs(a).max() + 1e-6  # float32 sums


@pytest.mark.parametrize("name", HEADS)
def test_a_run_that_goes_on_adds_its_stages_and_leaves_the_body_alone(digits: Examples, name: str) -> None:
    """With the warm rounds of its scenario, too: the sums of the first run are of the body that it ended with."""
    first = replace(scenario(name, warm=1), digits=(0, 1, 2, 3, 4, 5, 6, 7))
    later = replace(scenario(name, warm=1), digits=(8, 9), past=2, stream=Part("whole"), seed=7)
    old, new = digits.take(np.flatnonzero(digits.y < 8)), digits.take(np.flatnonzero(digits.y >= 8))
    before = play(first, shards(old))
    after = play(later, shards(new), ((0, 1), (2,)), before)
    assert after.count == len(digits) and after.sent[-3:] == ((1, 0), (1, 1), (2, 2))
    assert all(np.array_equal(a, b) for a, b in zip(before.arrays[:4], after.arrays[:4], strict=True))
    like_all_in_one_place(replace(later, seed=first.seed), after, digits)


def test_whoever_joins_late_brings_what_it_meets_from_then_on(digits: Examples) -> None:
    late = replace(scenario("acil"), join=((1, 3),))
    data = shards(digits)
    run = play(late, data, ((0, 2), (0, 2), *ALL[2:]))
    stream = lay(late, data[1].train.y, 1)
    assert run.count == len(digits) - len(stream.parts[0])


def test_stsa_is_ridge_regression_on_a_layer_of_its_seed(digits: Examples) -> None:
    """In the model's own last two dense layers; no bias, but for classes that nobody has shown."""
    shown = digits.take(np.flatnonzero(digits.y < 8))
    one, other = (
        play(replace(scenario("stsa", ridge=1.0), stream=Part("whole"), seed=seed), shards(shown)).arrays
        for seed in (0, 1)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one[:4], other[:4], strict=True))
    assert not np.array_equal(one[4], other[4]) and not one[5].any() and one[7].tolist() == [0] * 8 + [-30] * 2
    assert one[4].std() == pytest.approx(1 / np.sqrt(400), rel=0.01)
    wide = np.maximum(engine.features(one, shown.x) @ one[4], 0)
    target = np.concatenate([12 * np.eye(10)[shown.y], np.zeros((400, 10))])
    found = np.linalg.lstsq(np.concatenate([wide, np.eye(400)]), target, rcond=None)[0]
    assert engine.logits(one, shown.x)[:, :8] == pytest.approx((wide @ found)[:, :8], abs=0.01)


def test_a_device_sends_the_experiences_of_its_folder_that_the_server_lacks(digits: Examples) -> None:
    """Those that came before this run, too, though it joins late; what was taken away before it was asked is in no sum."""
    parts = (np.arange(0, 50), np.arange(50, 50), np.arange(80, 120), np.arange(120, 180))
    folder = Shard(0, digits, np.zeros(0, np.float32), {}, Stream(parts, (0,) * 4, (-3, 0, 2, 6)), first=0)
    device = replace(scenario("acil", warm=1), stream=Part("whole"), join=((0, 3),))
    run = play(device, [folder], ((), (), (0,), (0,), (0,), (0,)))
    assert run.sent == ((3, 0), (6, 0)) and run.count == 150
    like_all_in_one_place(device, run, digits.take(np.concatenate(parts)))


@pytest.mark.parametrize("name", HEADS)
def test_a_server_refuses_no_sums_of_honest_clients_however_they_come(
    tiny: Scenario, name: str, tmp_path: Path
) -> None:
    """Few of them a round, late, one of them new, in orders of their own, after rounds in which the body trained: the server
    knows how many images are due."""
    scenario = replace(
        tiny, clients=4, cohort=2, rounds=8, stream=Part("classes", {"per_task": 4}), order=1.0, lag=0.5, join=((3, 5),),
        methods=(Part(name, {"warm": 3}),), model=Model("mlp"), augment=(), looks=(),
    )  # fmt: skip
    report = federate(scenario, tmp_path)
    assert report.events == () and not any(row.failed for row in report.history)
    assert report.accuracy and report.accuracy > 0.4  # a guess is right one time in ten


def test_a_body_that_trains_is_not_sent_sums_of(digits: Examples) -> None:
    assert play(scenario("acil", warm=ROUNDS), shards(digits)).sent == ()
