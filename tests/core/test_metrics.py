"""The measures against figures that anyone can work out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import metrics

R = np.array([[0.9, 0.1, 0.1], [0.6, 0.8, 0.1], [0.5, 0.7, 0.9]])
BEFORE = np.array([0.1, 0.05, 0.2])


def test_the_textbook_matrix() -> None:
    found = metrics.summary(R, [0, 1, 2], BEFORE)
    assert found.average_accuracy == pytest.approx(0.70)
    assert found.backward_transfer == pytest.approx(-0.25) and found.forgetting == pytest.approx(0.25)
    assert found.incremental_accuracy == pytest.approx((0.9 + 0.7 + 0.7) / 3)
    assert found.forward_transfer == pytest.approx(((0.1 - 0.05) + (0.1 - 0.2)) / 2)
    assert found.intransigence is None


def test_what_a_continued_run_is_taught_first_had_no_stage_to_gain_from() -> None:
    """The model that it went on from is its stage 0; that of the task of stage 1 just before it is the same model."""
    whole = np.concatenate([[BEFORE], R])
    gained = metrics.forward_transfer(whole, [1, 2, 3], BEFORE, began=1)
    assert gained == pytest.approx(((0.1 - 0.05) + (0.1 - 0.2)) / 2) == metrics.forward_transfer(R, [0, 1, 2], BEFORE)
    own, _ = metrics.over_clients([metrics.OwnWay(whole[:2], [1, -1, -1])], BEFORE, began=1)
    assert own.forward_transfer == 0.0


def test_intransigence_is_what_joint_training_has_more() -> None:
    joint = np.full((3, 3), 0.95)
    assert metrics.summary(R, [0, 1, 2], BEFORE, joint).intransigence == pytest.approx((0.05 + 0.15 + 0.05) / 3)
    assert metrics.summary(R, [0, 1, 2], BEFORE, R).intransigence == 0


@pytest.mark.parametrize("stages", [0, 2])
def test_there_is_no_intransigence_against_joint_training_that_stopped_early(stages: int) -> None:
    assert metrics.behind(R.tolist(), [0, 1, 2], R.tolist()[:stages]) is None
    assert metrics.behind(R.tolist(), [0, 1, 2], R.tolist()) == 0


def test_forgetting_is_from_the_best_and_transfer_from_the_first() -> None:
    better = np.array([[0.5, 0.0], [0.8, 0.9], [0.7, 0.9]])
    assert metrics.forgetting(better, [0, 1]) == pytest.approx([0.1, 0.0])
    assert metrics.backward_transfer(better, [0, 1]) == pytest.approx(0.1)


def test_a_task_that_comes_back_was_taught_first_where_it_came_first() -> None:
    assert metrics.first_taught((1, 0, 1, 0), 3) == [1, 0, -1]


def test_one_stage_forgets_nothing() -> None:
    found = metrics.summary(np.array([[0.7]]), [0], np.array([0.1]))
    assert found.forgetting == found.backward_transfer == found.forward_transfer == 0


def right(*shares: float, images: int = 10) -> list[np.ndarray]:
    """For each task as many images read right as its accuracy says, the first ones."""
    return [np.arange(images) < round(images * share) for share in shares]


def test_training_takes_from_earlier_tasks_and_averaging_from_all_that_a_client_met() -> None:
    before, after = right(0.9, 0.9, 0.1), right(0.5, 0.8, 0.6)
    local = [right(0.6, 0.9, 1.0), right(0.9, 0.7, 0.8)]
    found = metrics.split(before, local, after, earlier=[{0}, {0, 1}], now=[2, 2])
    assert found.temporal == pytest.approx((0.3 + (0.0 + 0.2) / 2) / 2)
    # The first never met task 1; what both learn of task 2, averaging can take.
    assert found.spatial == pytest.approx(((0.1 + 0.4) / 2 + (0.4 - 0.1 + 0.2) / 3) / 2)


def test_the_task_that_is_being_taught_is_not_forgotten_in_time_though_it_was_met_before() -> None:
    found = metrics.split(right(0.9), [right(0.4)], right(0.3), earlier=[{0}], now=[0])
    assert found.temporal is None and found.spatial == pytest.approx(0.1)


def test_in_its_first_task_a_client_has_nothing_to_forget_in_time_and_with_nothing_of_its_own_nothing_new() -> None:
    first = metrics.split(right(0.2, 0.2), [right(0.8, 0.1)], right(0.6, 0.1), earlier=[set()], now=[0])
    assert first.temporal is None and first.temporal_error is None and first.spatial == pytest.approx(0.2)
    idle = metrics.split(right(0.9, 0.2), [right(0.9, 0.2)], right(0.7, 0.9), earlier=[{0}], now=[-1])
    assert idle.temporal == 0 and idle.temporal_error == 0 and idle.spatial == pytest.approx(0.2)
    assert metrics.split(right(0.9), [], right(0.7), [], []) == metrics.Split()


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_where_clients_are_the_global_model_all_of_it_is_spatial_and_where_nobody_averages_temporal(
    clients: int, tasks: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    before, after = ([draw.random(20) < 0.5 for _ in range(tasks)] for _ in "ab")
    everything, new = [set(range(tasks))] * clients, [-1] * clients
    lost = np.mean([b.mean() - a.mean() for b, a in zip(before, after, strict=True)])
    still = metrics.split(before, [before] * clients, after, everything, new)
    assert still.temporal == 0 and still.spatial == pytest.approx(lost)
    moved = metrics.split(before, [after] * clients, after, everything, new)
    assert moved.spatial == 0 and moved.temporal == pytest.approx(lost)


def test_the_standard_error_is_how_much_the_split_varies_from_draw_to_draw_of_images() -> None:
    draw, found = np.random.default_rng(0), []
    for _ in range(400):
        images = [draw.random((2, 50)) for _ in range(2)]  # two tasks; each image is as hard for all models
        before, local, after = ([one[k] < level for one in images] for k, level in ((0, 0.9), (1, 0.7), (0, 0.6)))
        found.append(metrics.split(before, [local, before], after, [{0}, {0, 1}], [1, -1]))
    for part in ("temporal", "spatial"):
        standard_error = np.mean([getattr(one, f"{part}_error") for one in found])
        assert standard_error == pytest.approx(np.std([getattr(one, part) for one in found]), rel=0.1)


def test_over_clients_each_counts_where_it_has_something_to_say() -> None:
    ways = [metrics.OwnWay(R, [0, 1, 2]), metrics.OwnWay(R[:1], [0, -1, -1]), metrics.OwnWay(R, [-1, -1, -1])]
    mean, deviation = metrics.over_clients(ways, BEFORE)
    assert mean.forgetting == pytest.approx(0.25) and mean.backward_transfer == pytest.approx(-0.25)
    assert deviation.forgetting == 0  # of one client
    assert mean.average_accuracy == pytest.approx((0.7 + 0.9) / 2)  # the second met one task, the third none
    assert deviation.average_accuracy == pytest.approx(np.std([0.7, 0.9], ddof=1))
    assert metrics.over_clients([], BEFORE)[0].average_accuracy == 0
