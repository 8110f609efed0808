"""What the cross-entropy compares: closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from core.softmax import NEVER, SOFTMAXES, balanced, masked

CLASSES = 10
LABELS = np.array([5, 5, 5, 5, 6, 6, 6, 6, 0, 1, 1, 0])  # two new classes, two rehearsed
OWN = np.arange(12) < 8
HELD = np.stack([np.bincount(LABELS[rows], minlength=CLASSES) for rows in (OWN, ~OWN)])


def test_masked_lets_old_classes_alone_but_for_as_many_images_as_one_of_them_has() -> None:
    shift = masked(LABELS, OWN, HELD)
    alone = (shift[:, [0, 1]] == NEVER).all(1)
    assert [int(alone[OWN & (c == LABELS)].sum()) for c in (5, 6)] == [2, 2]
    assert not shift[~OWN].any() and not shift[:, [5, 6]].any()
    assert (shift[alone][:, [2, 3, 4, 7, 8, 9]] == NEVER).all()


def test_masked_with_nothing_rehearsed_compares_only_what_is_there() -> None:
    shift = masked(LABELS[OWN], OWN[OWN], HELD * [[1], [0]])
    assert (shift == np.where(np.isin(np.arange(CLASSES), [5, 6]), 0, NEVER)).all()


def test_present_leaves_out_only_what_the_client_does_not_hold() -> None:
    assert (
        SOFTMAXES["present"](LABELS, OWN, HELD) == np.where(np.isin(np.arange(CLASSES), [0, 1, 5, 6]), 0, NEVER)
    ).all()


@pytest.mark.parametrize("name, own, remembered", [("present", 7, 0), ("present", 0, 7), ("masked", 7, 0)])
def test_a_class_that_a_client_has_competes_in_rounds_in_which_none_of_its_images_is_drawn(
    name: str, own: int, remembered: int
) -> None:
    held = HELD.copy()
    held[:, 9] = own, remembered
    assert not SOFTMAXES[name](LABELS, OWN, held)[:, 9].any() and SOFTMAXES[name](LABELS, OWN, HELD)[:, 9].any()


def test_balanced_makes_every_class_weigh_the_same() -> None:
    """At logits that know nothing, the pull on each class is that of equal classes: softmax(log share) is the share."""
    shift = balanced(LABELS, OWN, HELD)[0]
    share = np.exp(shift) / np.exp(shift).sum()
    met = np.bincount(LABELS, minlength=CLASSES) > 0
    assert share[met] / share[met].sum() == pytest.approx(np.bincount(LABELS)[np.flatnonzero(met)] / 12)
    assert np.bincount(LABELS, minlength=CLASSES)[~met].sum() == 0 and (share[~met] < share[met].min()).all()


@pytest.mark.parametrize("name", SOFTMAXES)
def test_each_shifts_every_row_by_finite_numbers(name: str) -> None:
    shift = SOFTMAXES[name](LABELS, OWN, HELD)
    assert shift.shape == (12, CLASSES) and shift.dtype == np.float32 and np.isfinite(shift).all()
