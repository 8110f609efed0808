"""Any crop of a digit becomes 28 × 28 in MNIST's manner."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data import Examples, vectors
from core.data.prepare import BOX, prepared
from core.data.vectors import Vector
from core.seeds import rng

VECTORS = Path(__file__).with_name("preparation.txt")
HALF = Fraction(1, 2)


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


def exactly(ink: np.ndarray) -> np.ndarray:
    """The same by its definition, in fractions: means by area, rounded half up; the mass's middle to (14, 14)."""
    rows, columns = (np.flatnonzero((ink >= 32).any(axis)) for axis in (1, 0))
    crop = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, floor(Fraction(BOX * side, max(crop.shape)) + HALF)) for side in crop.shape)
    down, right = Fraction(crop.shape[0], height), Fraction(crop.shape[1], width)
    small = [
        [
            floor(sum(int(crop[y, x]) * a * b for y, a in above for x, b in across) / (down * right) + HALF)
            for across in covered(width, right)
        ]
        for above in covered(height, down)
    ]
    made, field = np.array(small), np.zeros((28, 28), np.uint8)
    total = max(int(made.sum()), 1)
    corner = []
    for axis, side in ((1, height), (0, width)):
        middle = Fraction(int((made.sum(axis) * np.arange(side)).sum()), total)
        corner.append(min(max(floor(14 - middle + HALF), 0), 28 - side))
    field[corner[0] : corner[0] + height, corner[1] : corner[1] + width] = made
    return field


def covered(count: int, width: Fraction) -> list[list[tuple[int, Fraction]]]:
    """Of each new pixel, so many old ones wide: which old ones it covers, and how much of each."""
    whole = range(ceil(count * width))
    shares = [[(i, min((new + 1) * width, i + 1) - max(new * width, i)) for i in whole] for new in range(count)]
    return [[(i, Fraction(share)) for i, share in row if share > 0] for row in shares]


@settings(max_examples=15)
@given(st.integers(5, 34), st.integers(5, 34), st.integers(0, 10**6))
def test_each_pixel_is_the_exact_mean_rounded_half_up(h: int, w: int, seed: int) -> None:
    """Halves occur often where a side is a multiple of 20's divisors, and floating point gets some of them wrong."""
    ink = rng(seed, "noise").choice(np.array([0, 1, 100, 255], np.uint8), (h, w))
    ink[h // 2, w // 2] = 255
    np.testing.assert_array_equal(prepared(ink), exactly(ink))


def golden() -> list[Vector]:
    """Pictures of many shapes: strokes, grey, one pixel, nothing. The file was written by `vectors.written(golden())`."""
    shapes = ((40, 30), (28, 28), (90, 40), (33, 70), (20, 20), (12, 61))
    inks = [blob(h, w, seed) for seed, (h, w) in enumerate(shapes)]
    inks += [rng(seed, "grey").integers(0, 256, (9 + 7 * seed, 30 - 4 * seed), np.uint8) for seed in range(5)]
    point = np.zeros((9, 9), np.uint8)
    point[4, 4] = 255
    return [Vector.of(ink) for ink in (*inks, point, np.zeros((5, 6), np.uint8))]


def test_golden_vectors_are_met() -> None:
    """What other languages must meet, too."""
    text = VECTORS.read_text()
    found = vectors.read(text)
    assert len(found) == 13
    for one in found:
        np.testing.assert_array_equal(prepared(one.picture), one.prepared)
    assert vectors.written(golden()) == text


def test_a_text_that_is_no_vectors_is_named_by_its_line() -> None:
    good = VECTORS.read_text().splitlines()[0]
    for bad in ("", "3 3 00", good.replace(" ", "  "), good[:-2], f"1{good}", good + " x"):
        with pytest.raises(ValueError, match="line 2"):
            vectors.read(f"{good}\n{bad}\n")
