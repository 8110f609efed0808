"""Every continual method over two stages: at no strength it is fine-tuning, its memory keeps to its budget, and a stage
met in several rounds leaves one slot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.learner import learn
from clients.memory import size
from clients.sources.simulated import Shard
from core.arrays import Arrays
from core.config.part import Part
from core.config.scenario import Local, Scenario
from core.data import Examples, read
from core.methods import METHODS
from core.methods.base import Memory, Payloads, Request, Shared
from core.methods.buffer import Buffer, herded
from core.methods.sums import packed, unpacked
from core.plan import Learned, Lesson
from core.scores import Sums
from fl.messages import Task
from fl.strategies import chain
from server.trust import received
from tests.fakes import federate, same
from tests.models import engine, initial, spec

BASE = Scenario(
    "two stages", clients=1, cohort=1, rounds=4, stream=Part("classes", {"per_task": 5}), local=Local(batch=16)
)
START = initial(5)
ZERO = {
    "replay": {"images": 0}, "der": {"images": 0}, "derpp": {"images": 0}, "agem": {"images": 0},
    "ewc": {"strength": 0.0}, "si": {"strength": 0.0}, "fedssi": {"strength": 0.0}, "lwf": {"strength": 0.0},
    "fedcurv": {"strength": 0.0}, "fedagem": {"images": 0},
}  # fmt: skip
STORING = ("replay", "der", "derpp", "agem", "fedagem")


@pytest.fixture(scope="module")
def digits() -> Examples:
    return read("mnist")[0].take(np.arange(120))


@pytest.fixture(scope="module")
def client_shard(digits: Examples) -> Shard:
    return Shard(0, digits, np.zeros(0, np.float32), {})


@dataclass(frozen=True)
class Done:
    """A round of a client alone."""

    arrays: Arrays
    payloads: Payloads
    memory: Memory


def through(shard: Shard, scenario: Scenario) -> list[Done]:
    """All its rounds, with what a server would send it."""
    results, memory, arrays, method = [], dict[str, Any](), START, chain(scenario)
    shared: Shared = {}
    for round in range(1, scenario.rounds + 1):
        task = Task(scenario, round, 0, 0.05, arrays, method.download(shared, 0))
        update, memory = learn(shard, task, memory, engine)  # type: ignore[assignment]
        asked = Request(scenario, round, 0.05, arrays, shared)
        taken = method.accept(update.payloads, received(update, asked))
        shared, arrays = method.server_update(shared, {0: taken}, update.arrays or arrays)
        results.append(Done(arrays, update.payloads, memory))
    return results


@pytest.mark.parametrize("name", ZERO)
def test_a_method_of_no_strength_is_fine_tuning(client_shard: Shard, name: str) -> None:
    plain = through(client_shard, BASE)
    with_method = through(client_shard, replace(BASE, methods=(Part(name, ZERO[name]),)))
    assert all(same(one.arrays, other.arrays) for one, other in zip(plain, with_method, strict=True))


@pytest.mark.parametrize("name", [*ZERO, "joint"])
def test_a_method_changes_the_second_stage_and_only_that(client_shard: Shard, name: str) -> None:
    plain, with_method = through(client_shard, BASE), through(client_shard, replace(BASE, methods=(Part(name),)))
    if name not in ("fedcurv", "fedagem"):  # these also hold clients together within a stage
        assert same(plain[1].arrays, with_method[1].arrays)
    if name != "fedcurv":
        assert not same(plain[2].arrays, with_method[2].arrays)


@pytest.mark.parametrize("name", METHODS)
def test_a_repeated_round_leaves_the_same_memory_bit_for_bit(client_shard: Shard, name: str) -> None:
    scenario = replace(BASE, methods=(Part(name),))
    one, other = through(client_shard, scenario), through(client_shard, scenario)
    for a, b in zip(one, other, strict=True):
        assert same(a.arrays, b.arrays) and set(a.memory) == set(b.memory)
        for method, slots in a.memory.items():
            assert list(slots) == list(b.memory[method]) and max(slots) <= 1
            for stage, slot in slots.items():
                assert {k: v.tobytes() for k, v in slot.items()} == {
                    k: v.tobytes() for k, v in b.memory[method][stage].items()
                }


@pytest.mark.parametrize("name", ["ewc", "si", "fedssi"])
@pytest.mark.parametrize("anchor", ["averaged", "local"])
def test_weights_are_held_where_the_federation_left_them_not_where_the_client_did(
    client_shard: Shard, name: str, anchor: str
) -> None:
    """The pull rests at the model that came with the stage's first round, in all of its rounds; or at the client's own."""
    scenario = replace(BASE, methods=(Part(name, {"anchor": anchor}),))
    method, lesson = (
        chain(scenario),
        Lesson(0, START, client_shard.train, np.zeros((120, 0), "f4"), 0, 1, 0.05, scenario),
    )
    drifted, first, second = ([w + np.float32(by) for w in START] for by in (0.01, 0.02, 0.03))
    walked = Learned(drifted, Sums(), [np.ones_like(w) for w in START])
    after = [replace(walked, auxiliary={"fedssi": walked})] * 2
    memory = method.remember({}, lesson, after[0], engine)
    rounds = [replace(lesson, stage=1, round=2, start=first), replace(lesson, stage=1, round=3, start=second)]
    for new in (rounds[0], rounds[0], rounds[1]):  # a round that is done again leaves what it left
        pull = method.pull(memory, new)
        assert any(a.any() for a in pull.a)
        for a, b, w in zip(pull.a, pull.b, first if anchor == "averaged" else drifted, strict=True):
            assert not (a * w + b).any()
        memory = method.remember(memory, new, after[1], engine)


def test_a_teacher_of_before_a_stage_says_nothing_of_classes_that_only_others_meet(client_shard: Shard) -> None:
    """Stages bring 0 1, 2 3, 4 5; others learn 6 meanwhile, of which this teacher never heard. A later teacher has."""
    method, none = chain(replace(BASE, methods=(Part("lwf"),))), np.zeros((0, 0), "f4")
    lesson, memory = Lesson(0, START, client_shard.train, none, 0, 1, 0.05, BASE), dict[str, Any]()
    for stage, labels in enumerate([(0, 1), (2, 3), (4, 5)]):
        met = client_shard.train.take(np.flatnonzero(np.isin(client_shard.train.y, labels)))
        now = replace(lesson, stage=stage, examples=met)
        taught = method.distil(memory, now, engine, met).soft.any(0)
        assert np.flatnonzero(taught).tolist() == list(range(2 * stage))
        memory = method.remember(memory, now, Learned(START, Sums(), []), engine)  # type: ignore[assignment]
    last = chain(replace(BASE, methods=(Part("lwf", {"teacher": "round"}),)))
    assert np.flatnonzero(last.distil(memory, now, engine, met).soft.any(0)).tolist() == [0, 1, 2, 3, 6, 7, 8, 9]


@pytest.mark.parametrize("name", STORING)
@pytest.mark.parametrize("budget", [{"images": 13}, {"images": 0, "kilobytes": 11.0}])
def test_a_budget_is_never_exceeded(client_shard: Shard, name: str, budget: dict[str, float]) -> None:
    for done in through(client_shard, replace(BASE, methods=(Part(name, budget),))):
        slots = done.memory[name]
        assert 10 <= sum(len(slot["y"]) for slot in slots.values()) <= 13
        assert size(done.memory) <= 11_000


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=30), min_size=1, max_size=4), st.integers(0, 40),
    st.sampled_from(["balanced", "reservoir", "herding"]), st.integers(0, 99),
)  # fmt: skip
def test_a_buffer_keeps_as_many_as_it_may_and_is_fair(
    stages: list[list[int]], images: int, select: str, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    slots = {
        i: {"x": np.zeros((len(y), 28, 28), np.uint8), "y": np.array(y, np.uint8), "key": draw.random(len(y))}
        for i, y in enumerate(stages)
    }
    cut = Buffer(images, 0.0, select, 10).within(slots)
    kept = np.concatenate([slot["y"] for slot in cut.values()])
    offered = np.concatenate([slot["y"] for slot in slots.values()])
    assert len(kept) == min(images, len(offered))
    assert all(np.array_equal(slot["key"], np.sort(slot["key"])) for slot in cut.values())
    if select == "balanced":
        have, had = np.bincount(kept, minlength=10), np.bincount(offered, minlength=10)
        least = min((n for n, all_ in zip(have, had, strict=True) if n < all_), default=images)
        assert have.max(initial=0) <= least + 1  # no class has two more than one that would have had more to give
    again = Buffer(images, 0.0, select, 10).within(cut)
    assert all(np.array_equal(again[i]["key"], cut[i]["key"]) for i in cut)


@pytest.mark.parametrize(
    "images, kilobytes, words",
    [(5, float("inf"), "and finite"), (5, float("nan"), "and finite"), (-1, 1.0, "0 or more")],
)
def test_a_budget_that_is_no_number_is_refused(images: int, kilobytes: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Buffer(images, kilobytes, "balanced", 10)


def test_herding_takes_first_what_is_nearest_the_mean() -> None:
    features = np.array([[1, 0], [0, 1], [1, 1], [1, 0.9]], np.float32)
    key = herded(features, np.zeros(4, np.int64))
    assert sorted(key.tolist()) == [0, 1, 2, 3] and key.argmin() in (2, 3)


def test_replay_is_of_stored_images_and_nothing_else(client_shard: Shard, digits: Examples) -> None:
    done = through(client_shard, replace(BASE, methods=(Part("replay", {"images": 20}),)))[-1]
    stored = {image.tobytes() for slot in done.memory["replay"].values() for image in slot["x"]}
    assert stored <= {image.tobytes() for image in digits.x} and len(stored) == 20


# ── closed-form heads ──


@pytest.mark.parametrize("name", ["acil", "slda"])
def test_a_closed_form_head_does_not_care_who_sent_what_when(digits: Examples, name: str) -> None:
    alone, method = Shard(0, digits, np.zeros(0, np.float32), {}), (Part(name, {"ridge": 0.1}),)
    whole = through(alone, replace(BASE, stream=Part("whole"), methods=method))
    tasks = through(alone, replace(BASE, methods=method))
    for a, b in zip(whole[-1].arrays, tasks[-1].arrays, strict=True):
        assert b == pytest.approx(a, abs=float(0.01 * np.abs(a).max() + 1e-6))  # float32 sums
    z = [engine.logits(run[-1].arrays, digits.x) for run in (whole, tasks)]
    assert (z[0].argmax(1) == z[1].argmax(1)).all() and (z[0].argmax(1) == digits.y).mean() > 0.9


@pytest.mark.parametrize("name", ["acil", "slda"])
def test_a_closed_form_client_sends_each_experience_once_and_no_image(client_shard: Shard, name: str) -> None:
    results = through(client_shard, replace(BASE, methods=(Part(name),)))
    assert [bool(done.payloads) for done in results] == [True, False, True, False]
    assert not any(done.memory for done in results)
    assert all(same(done.arrays[:4], START[:4]) for done in results)


def test_packing_a_symmetric_matrix_loses_nothing() -> None:
    root = np.random.default_rng(0).normal(size=(7, 7))
    matrix = root @ root.T
    assert np.allclose(unpacked(packed(matrix)), matrix)


def test_the_head_is_the_ridge_regression_that_numpy_finds(digits: Examples, client_shard: Shard) -> None:
    arrays = through(client_shard, replace(BASE, stream=Part("whole"), methods=(Part("acil", {"ridge": 1.0}),)))[
        0
    ].arrays
    seen = np.concatenate([engine.features(START, digits.x), np.ones((120, 1))], 1)
    target = np.concatenate([12 * np.eye(10)[digits.y], np.zeros((spec().features + 1, 10))])
    found = np.linalg.lstsq(np.concatenate([seen, np.eye(spec().features + 1)]), target, rcond=None)[0]
    assert engine.logits(arrays, digits.x) == pytest.approx(seen @ found, abs=2e-3)


def test_options_against_bias_leave_the_rest_of_a_lesson_alone(client_shard: Shard) -> None:
    plain, masked = (through(client_shard, replace(BASE, softmax=Part(name))) for name in ("plain", "masked"))
    changed = masked[0].arrays[7] - START[7]
    assert not changed[5:].any() and changed[:5].any()  # classes that are not there are not pushed down
    assert (plain[0].arrays[7] - START[7])[5:].all()


def test_what_rehearses_no_row_is_fine_tuning_and_weighs_like_it(tiny: Scenario, tmp_path: Path) -> None:
    """A memory of which nothing is looked at made a client count for more."""
    staged = replace(tiny, stream=Part("classes", {"per_task": 5}), rounds=2)
    none = replace(staged, methods=(Part("replay", {"share": 0.0}),))
    reports = [federate(scenario, tmp_path / str(i)) for i, scenario in enumerate((staged, none))]
    assert reports[0].weights_sha256 == reports[1].weights_sha256
    assert [row.clients_examples for row in reports[0].history] == [row.clients_examples for row in reports[1].history]
