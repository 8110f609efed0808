"""Any crop of a digit becomes 28 × 28 in MNIST's manner."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data import Examples
from core.data.prepare import BOX, prepared
from core.seeds import rng


@pytest.fixture(scope="module")
def test_images() -> Examples:
    from core.data import read

    return read("mnist")[1]


def blob(height: int, width: int, seed: int) -> np.ndarray:
    """A stroke across a field of this size, bright on dark, with room around it."""
    draw = rng(seed, "blob")
    field = np.zeros((height, width), np.uint8)
    points = np.rint(draw.uniform((2, 2), (width - 3, height - 3), (5, 2))).astype(np.int32)
    cv2.polylines(field, [points.reshape(-1, 1, 2)], False, 255, 2)
    return field


@given(st.integers(12, 300), st.integers(12, 300), st.integers(0, 10**6))
def test_the_longer_side_is_20_pixels_and_the_middle_of_its_mass_that_of_the_field(h: int, w: int, seed: int) -> None:
    found = prepared(blob(h, w, seed))
    rows, columns = (np.flatnonzero(found.any(axis)) for axis in (1, 0))
    assert found.shape == (28, 28) and found.dtype == np.uint8
    sides = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert max(sides) <= BOX and max(sides) >= BOX - 2  # a thin end may round to nothing
    mass = found.astype(float)
    middle = [mass.sum(1 - axis) @ np.arange(28) / mass.sum() for axis in (0, 1)]
    edge = rows[0] == 0 or rows[-1] == 27 or columns[0] == 0 or columns[-1] == 27
    assert edge or np.abs(np.array(middle) - 14).max() <= 0.51


def test_nothing_stays_nothing_and_a_point_is_a_box() -> None:
    assert not prepared(np.zeros((50, 40), np.uint8)).any() and not prepared(np.full((5, 5), 20, np.uint8)).any()
    point = np.zeros((9, 9), np.uint8)
    point[4, 4] = 255
    assert (prepared(point) == 255).sum() == BOX * BOX


def test_where_it_lies_in_its_picture_changes_nothing(test_images: Examples) -> None:
    for image in test_images.x[:50]:
        field = np.zeros((90, 70), np.uint8)
        field[31:59, 7:35] = image
        np.testing.assert_array_equal(prepared(field), prepared(image))


def test_mnists_own_images_stay_nearly_as_they_are(test_images: Examples) -> None:
    """They were made this way; box and rounding differ by a pixel at most."""
    apart = [np.abs(prepared(x).astype(float) - x).mean() for x in test_images.x[:300]]
    shifted = [np.abs(np.roll(x, 2, 1).astype(float) - x).mean() for x in test_images.x[:300]]
    assert np.median(apart) < 0.5 * np.median(shifted)


def test_golden_vectors() -> None:
    """What other languages must meet: pictures by seed → 28 × 28, as one digest."""
    total = hashlib.sha256()
    for seed, (h, w) in enumerate(((40, 30), (28, 28), (200, 90), (33, 120), (20, 20))):
        total.update(prepared(blob(h, w, seed)).tobytes())
    assert total.hexdigest() == GOLDEN


GOLDEN = "3cb091c995103f1b9441de0144ff5b77d041daad9866d76466085a5b2b7e81ae"
