"""Which round of a training was best, and whether it diverged."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from core.curves import Point, best, diverged


def curve(*points: tuple[float | None, float]) -> list[Point]:
    """From (validation loss, accuracy) of each round."""
    return [Point(share, i, 0.5, loss) for i, (loss, share) in enumerate(points, 1)]


def test_the_best_round_has_the_lowest_validation_loss_whatever_the_test_images_say() -> None:
    found = best(curve((0.3, 0.9), (0.1, 0.95), (0.2, 0.99)))
    assert found and found.round == 2


def test_of_equal_rounds_the_first_is_best() -> None:
    found = best(curve((0.3, 0.9), (0.1, 0.95), (0.1, 0.96)))
    assert found and found.round == 2


def test_without_validation_images_no_round_is_best() -> None:
    assert best(curve((None, 0.9), (None, 0.95))) is None and best([]) is None


def test_a_loss_that_is_no_number_is_not_the_best() -> None:
    found = best(curve((math.nan, 0.9), (0.4, 0.95), (-math.inf, 0.9)))
    assert found and found.round == 2


BROKEN = curve((0.3, 0.91), (0.08, 0.978), (0.6, 0.93), (1.25, 0.8315))


def test_a_training_that_breaks_down_has_diverged_and_the_words_say_by_how_much() -> None:
    why = diverged(BROKEN)
    assert why and all(word in why for word in ("0.08", "round 2", "1.25", "97.80", "83.15"))


@pytest.mark.parametrize("bad", [math.nan, math.inf, None])
def test_a_loss_that_is_no_number_at_the_end_is_divergence(bad: float | None) -> None:
    for forgets in (False, True):
        assert diverged([*BROKEN[:2], replace(BROKEN[3], loss=bad)], forgets)
    assert diverged(curve((0.3, 0.9), (bad, 0.1)))


@pytest.mark.parametrize(
    "end", [(0.5, 0.975), (0.12, 0.95), (0.07, 0.90)], ids=["surer of itself", "less accurate", "better"]
)
def test_neither_loss_nor_accuracy_alone_is_divergence(end: tuple[float, float]) -> None:
    assert diverged([*BROKEN[:2], curve((1, 1), (1, 1), end)[2]]) is None


def test_without_validation_images_the_test_loss_tells() -> None:
    without = [replace(point, loss=point.validation_loss, validation_loss=None) for point in BROKEN]
    why = diverged(without)
    assert why and "test loss" in why and diverged(without[:2]) is None


def test_what_is_expected_to_forget_is_not_blamed_for_it() -> None:
    assert diverged(BROKEN, forgets=True) is None and diverged([]) is None
