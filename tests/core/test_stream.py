"""A client's experiences tile its shard and follow each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.part import Part
from core.config.scenario import Scenario
from core.stream import STREAMS, Stream, TaskTest, course, lay, was_taught

LABELS = st.lists(st.integers(0, 9), min_size=1, max_size=200)


@pytest.mark.parametrize("name", STREAMS)
@given(LABELS, st.integers(0, 9), st.floats(0, 1), st.floats(0, 1))
def test_a_stream_covers_its_shard_in_order(name: str, labels: list[int], seed: int, order: float, lag: float) -> None:
    scenario = Scenario("stream", seed=seed, rounds=23, stream=Part(name), order=order, lag=lag)
    stream, again = (lay(scenario, np.array(labels), 3) for _ in "ab")
    rows = sorted(np.concatenate(stream.parts).tolist())
    times = len(stream.parts) if name == "permuted" else 1  # which shows every image again in each stage
    assert rows == sorted(list(range(len(labels))) * times)
    assert all(np.array_equal(part, np.sort(part)) for part in stream.parts)
    assert len(stream.parts) == len(stream.tasks) == len(stream.starts) == len(course(scenario).tasks)
    assert stream.starts[0] == 1 and list(stream.starts) == sorted(set(stream.starts)) and stream.starts[-1] <= 23
    assert [part.tobytes() for part in stream.parts] == [part.tobytes() for part in again.parts]
    assert stream.tasks == again.tasks and sorted(stream.tasks) == sorted(course(scenario).tasks)


@given(LABELS, st.integers(0, 9))
def test_a_stage_holds_just_the_labels_of_its_task(labels: list[int], client: int) -> None:
    for name in ("classes", "repeats", "seasons"):
        scenario = Scenario("stream", rounds=40, stream=Part(name), order=1.0)
        stream, exams = lay(scenario, np.array(labels), client), course(scenario).tests
        for rows, task in zip(stream.parts, stream.tasks, strict=True):
            assert set(np.array(labels)[rows].tolist()) <= set(exams[task].labels)


def test_order_goes_from_everybodys_to_ones_own() -> None:
    def orders(order: float) -> set[tuple[int, ...]]:
        scenario = Scenario("stream", rounds=5, stream=Part("classes"), order=order)
        return {lay(scenario, np.arange(10), client).tasks for client in range(60)}

    assert orders(0.0) == {(0, 1, 2, 3, 4)}
    assert 1 < len(orders(0.5)) < len(orders(1.0)) and len(orders(1.0)) > 30


def test_lag_makes_clients_late_by_at_most_its_share() -> None:
    scenario = Scenario("stream", rounds=50, stream=Part("classes"), lag=0.5)
    begun = {lay(scenario, np.arange(10), client).starts[1] for client in range(60)}
    assert min(begun) == 11 and 14 <= max(begun) <= 15


def test_more_stages_than_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="5 stages, more than rounds = 4"):
        course(Scenario("stream", rounds=4, stream=Part("classes")))


def test_online_arrivals_show_each_image_once() -> None:
    scenario = Scenario("stream", rounds=7, stream=Part("arrivals", {"online": True}))
    stream = lay(scenario, np.arange(100) % 10, 0)
    assert stream.starts == tuple(range(1, 8)) and sum(map(len, stream.parts)) == 100


def test_redealt_stages_have_the_deals_one_after_another() -> None:
    scenario = Scenario("stream", rounds=9, stream=Part("permuted", {"tasks": 3, "redealt": True}))
    assert [part.tolist() for part in lay(scenario, np.arange(6), 0).parts] == [[0, 1], [2, 3], [4, 5]]


def test_a_stage_lasts_from_its_first_round_to_the_next_ones() -> None:
    stream = Stream((np.arange(2), np.arange(2, 5), np.arange(5, 6)), (4, 0, 2), (1, 4, 6))
    assert [stream.stage(round) for round in range(1, 9)] == [0, 0, 0, 1, 1, 2, 2, 2]


BEFORE = Scenario("stream", rounds=9, past=2, past_tasks=("0,1,2,3 plain",))


@pytest.mark.parametrize(
    ("digits", "stream", "taught", "earlier"),
    [
        ((4, 5), Part("whole"), [False], [TaskTest("earlier: 0, 1, 2, 3", (0, 1, 2, 3))]),
        ((2, 3), Part("whole"), [True], [TaskTest("earlier: 0, 1", (0, 1))]),
        ((), Part("whole"), [False], [TaskTest("earlier: 0, 1, 2, 3", (0, 1, 2, 3))]),  # it brings others, too
        ((), Part("classes"), [True, True, False, False, False], []),
        ((1, 2, 3, 4), Part("classes", {"per_task": 3}), [True, False], [TaskTest("earlier: 0", (0,))]),
        (
            (0, 1), Part("domains", {"conditions": "blur+plain"}), [False, True],
            [TaskTest("earlier: 2, 3", (2, 3))],
        ),
    ],
)  # fmt: skip
def test_after_another_run_is_tested_what_it_was_taught_and_nothing_else(
    digits: tuple[int, ...], stream: Part, taught: list[bool], earlier: list[TaskTest]
) -> None:
    scenario = replace(BEFORE, digits=digits, stream=stream)
    tests = course(scenario).tests
    assert [was_taught(scenario, test) for test in tests] == taught + [True] * len(earlier)
    assert list(tests[len(taught) :]) == earlier


def test_each_condition_that_was_taught_before_is_tested() -> None:
    scenario = replace(BEFORE, past_tasks=("7,8 blur", "0,1,2,3 plain"), digits=(4, 5))
    names = ["4, 5", "earlier: 7, 8, blur", "earlier: 0, 1, 2, 3"]
    assert [test.name for test in course(scenario).tests] == names
    for digits, condition, known in (((7, 8), "blur", True), ((7, 8), "plain", False), ((0, 1), "blur", False)):
        assert was_taught(scenario, TaskTest("it", digits, condition)) is known


def test_after_a_run_that_taught_nothing_nothing_counts_as_known() -> None:
    scenario = replace(BEFORE, past_tasks=(" plain",))
    assert [was_taught(scenario, test) for test in course(scenario).tests] == [False]


@pytest.mark.parametrize("text", ["0,1", "0,,1 plain", "a plain", ""])
def test_what_was_taught_is_refused_where_it_makes_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match="should be labels and a condition"):
        course(replace(BEFORE, past_tasks=(text,)))


def test_of_an_older_programs_run_all_labels_but_the_new_ones_count_as_taught() -> None:
    scenario = replace(BEFORE, past_tasks=())
    one, two = course(replace(scenario, digits=(4, 5))).tests
    assert not was_taught(replace(scenario, digits=(4, 5)), one) and two.labels == (0, 1, 2, 3, 6, 7, 8, 9)
    assert [was_taught(scenario, test) for test in course(scenario).tests] == [True]
