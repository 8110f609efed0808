"""Nothing at neutral strength, exact where exactness is possible, the same at the same address."""

from __future__ import annotations

import numpy as np
import pytest

from core.config.part import Part
from core.data import read
from core.seeds import rng
from core.views.augment import AUGMENTS, CHUNK, augment
from core.views.looks import LOOKS, look

ALL = tuple(Part(name) for name in AUGMENTS)
NEUTRAL = {"rotate": 0, "zoom": 1, "right": 0, "down": 0, "stroke": 0, "blur": 0, "contrast": 1}
STRONG = {"rotate": 20, "zoom": 0.8, "right": 2, "down": -2, "stroke": 0.5, "blur": 1, "contrast": 0.6}


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """More than one sheet of digits, uint8 [266, 28, 28]."""
    return read("mnist")[0].x[: CHUNK + 10]


@pytest.fixture(scope="module")
def dots() -> np.ndarray:
    """Noise in the middle, so that no symmetry hides a mistake and nothing is moved out: uint8 [5, 28, 28]."""
    images = np.zeros((5, 28, 28), np.uint8)
    images[:, 8:20, 8:20] = np.random.default_rng(0).integers(0, 256, (5, 12, 12))
    return images


def fixed(name: str, amount: float) -> Part:
    """A look with one amount for all."""
    return Part(name, {"low": float(amount), "high": float(amount)})


def test_every_piece_is_tried_here() -> None:
    assert set(NEUTRAL) == set(STRONG) == set(LOOKS)


def test_zero_strength_is_the_identity(digits: np.ndarray) -> None:
    views = augment(digits, ALL, np.zeros((len(digits), len(ALL)), np.float32), rng(0))
    assert np.array_equal(views, digits)


def test_no_augmentation_is_the_identity(digits: np.ndarray) -> None:
    assert augment(digits, (), np.ones((len(digits), 0), np.float32), rng(0)) is digits


@pytest.mark.parametrize("name", AUGMENTS)
def test_an_augmentation_changes_nearly_every_image_and_keeps_its_kind(name: str, digits: np.ndarray) -> None:
    views = augment(digits, (Part(name),), np.ones((len(digits), 1), np.float32), rng(0))
    assert views.dtype == np.uint8 and views.shape == digits.shape
    assert (views != digits).any((1, 2)).mean() > 0.95
    ink = views.sum(dtype=np.int64) / digits.sum(dtype=np.int64)
    assert 0.8 < ink < 1.2  # a view of the digit, not of something else


@pytest.mark.parametrize("name", AUGMENTS)
def test_each_image_takes_its_own_strength(name: str, digits: np.ndarray) -> None:
    strength = np.zeros((len(digits), 1), np.float32)
    strength[::2] = 1
    views = augment(digits, (Part(name),), strength, rng(0))
    assert np.array_equal(views[1::2], digits[1::2])
    assert (views[::2] != digits[::2]).any((1, 2)).mean() > 0.95


def test_the_same_address_gives_the_same_bytes_and_another_does_not(digits: np.ndarray) -> None:
    strength = np.ones((len(digits), len(ALL)), np.float32)
    one, again, other = (augment(digits, ALL, strength, rng(0, "augment", at)) for at in (1, 1, 2))
    assert one.tobytes() == again.tobytes() and one.tobytes() != other.tobytes()


def test_an_augmentation_leaves_its_input_alone(digits: np.ndarray) -> None:
    before = digits.copy()
    augment(digits, ALL, np.ones((len(digits), len(ALL)), np.float32), rng(0))
    look(digits, [fixed(name, amount) for name, amount in STRONG.items()], [0.5] * len(STRONG))
    assert np.array_equal(digits, before)


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_at_its_neutral_amount_is_the_identity(name: str, digits: np.ndarray) -> None:
    assert np.array_equal(look(digits, [fixed(name, NEUTRAL[name])], [0.7]), digits)


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_is_the_same_for_an_image_alone_and_among_others(name: str, digits: np.ndarray) -> None:
    part = fixed(name, STRONG[name])
    seen = look(digits, [part], [0.7])
    assert (seen != digits).any((1, 2)).mean() > 0.95 and seen.dtype == np.uint8
    for row in (0, 100, CHUNK - 1, CHUNK, len(digits) - 1):
        alone = look(digits[row : row + 1], [part], [0.7])[0]
        assert np.abs(alone.astype(int) - seen[row]).max() <= 1  # far down a sheet, coordinates end at 1/1000 pixel


@pytest.mark.parametrize("turns", [-1, 0, 1, 2])
def test_turning_by_right_angles_is_exact(turns: int, dots: np.ndarray) -> None:
    turned = look(dots, [fixed("rotate", 90 * turns)], [0.0])
    assert np.array_equal(turned, np.rot90(dots, turns, (1, 2)))  # both counter-clockwise


@pytest.mark.parametrize("name, axis", [("right", 2), ("down", 1)])
@pytest.mark.parametrize("pixels", [-8, -3, 1, 8])
def test_moving_by_whole_pixels_is_exact(name: str, axis: int, pixels: int, dots: np.ndarray) -> None:
    assert np.array_equal(look(dots, [fixed(name, pixels)], [0.0]), np.roll(dots, pixels, axis))


def test_what_is_moved_out_is_gone_and_paper_comes_in(digits: np.ndarray) -> None:
    moved = look(digits, [fixed("right", 5)], [0.0])
    assert not moved[:, :, :5].any() and np.array_equal(moved[:, :, 5:], digits[:, :, :-5])


def test_zoom_makes_larger_above_one_and_smaller_below(dots: np.ndarray) -> None:
    ink = [int(look(dots, [fixed("zoom", factor)], [0.0]).sum(dtype=np.int64)) for factor in (0.5, 1, 2)]
    assert ink[1] / ink[0] == pytest.approx(4, rel=0.25) and ink[2] / ink[1] == pytest.approx(4, rel=0.25)


def test_contrast_is_a_factor_that_stays_within_white_and_black(digits: np.ndarray) -> None:
    half, double = (look(digits, [fixed("contrast", factor)], [0.0]).astype(int) for factor in (0.5, 2))
    assert np.abs(half - digits / 2).max() <= 0.5
    assert np.array_equal(double, np.minimum(2 * digits.astype(int), 255))


def test_a_thick_pen_leaves_more_ink_and_a_thin_one_less(digits: np.ndarray) -> None:
    thin, plain, thick = (look(digits, [fixed("stroke", a)], [0.0]) for a in (-0.5, 0, 0.5))
    assert (thin <= plain).all() and (plain <= thick).all()


def test_blur_keeps_the_ink_and_lowers_the_contrast(dots: np.ndarray) -> None:
    blurred = look(dots, [fixed("blur", 1)], [0.0])
    assert blurred.sum(dtype=np.int64) == pytest.approx(dots.sum(dtype=np.int64), rel=0.01)
    assert blurred.std() < dots.std()


def test_a_place_in_the_range_is_an_amount(dots: np.ndarray) -> None:
    part = Part("right", {"low": -4.0, "high": 4.0})
    for position, pixels in ((0.0, -4), (0.25, -2), (0.5, 0), (1.0, 4)):
        assert np.array_equal(look(dots, [part], [position]), np.roll(dots, pixels, 2))


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize("low, high", [(2.0, 1.0), (-1000.0, 0.0), (0.0, 1000.0)])
def test_an_impossible_range_is_refused_with_the_limits(name: str, low: float, high: float, digits: np.ndarray) -> None:
    with pytest.raises(ValueError, match=rf"look {name}: {low} … {high} should be a range within"):
        look(digits[:1], [Part(name, {"low": low, "high": high})], [0.5])
