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
    told = metrics.summary(R, [0, 1, 2], BEFORE)
    assert told.average_accuracy == pytest.approx(0.70)
    assert told.backward_transfer == pytest.approx(-0.25) and told.forgetting == pytest.approx(0.25)
    assert told.incremental_accuracy == pytest.approx((0.9 + 0.7 + 0.7) / 3)
    assert told.forward_transfer == pytest.approx(((0.1 - 0.05) + (0.1 - 0.2)) / 2)
    assert told.intransigence is None


def test_intransigence_is_what_joint_training_has_more() -> None:
    joint = np.full((3, 3), 0.95)
    assert metrics.summary(R, [0, 1, 2], BEFORE, joint).intransigence == pytest.approx((0.05 + 0.15 + 0.05) / 3)
    assert metrics.summary(R, [0, 1, 2], BEFORE, R).intransigence == 0


def test_forgetting_is_from_the_best_and_transfer_from_the_first() -> None:
    better = np.array([[0.5, 0.0], [0.8, 0.9], [0.7, 0.9]])
    assert metrics.forgetting(better, [0, 1]) == pytest.approx([0.1, 0.0])
    assert metrics.backward_transfer(better, [0, 1]) == pytest.approx(0.1)


def test_a_task_that_comes_back_was_taught_first_where_it_came_first() -> None:
    assert metrics.first_taught((1, 0, 1, 0), 3) == [1, 0, -1]


def test_one_stage_forgets_nothing() -> None:
    told = metrics.summary(np.array([[0.7]]), [0], np.array([0.1]))
    assert told.forgetting == told.backward_transfer == told.forward_transfer == 0


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_temporal_and_spatial_forgetting_add_up_to_what_the_global_model_lost(
    clients: int, tasks: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    before, after, local = draw.random(tasks), draw.random(tasks), draw.random((clients, tasks))
    old = np.tile(draw.random(tasks) < 0.7, (clients, 1))
    temporal, spatial = metrics.split(before, local, after, old)
    lost = (before - after)[old[0]].mean() if old.any() else 0
    assert temporal + spatial == pytest.approx(lost)


def test_without_averaging_all_forgetting_is_temporal() -> None:
    temporal, spatial = metrics.split(np.array([0.9]), np.array([[0.6]]), np.array([0.6]), np.array([[True]]))
    assert (temporal, spatial) == (pytest.approx(0.3), 0)
