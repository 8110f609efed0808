"""What clients send, checked, as images; the same rules for every protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.images import SIDE
from server.serve.refusal import Refusal, invalid

IMAGE, PROBABILITIES = "image", "probabilities"  # the tensors' names, as in the exports
PIXELS = SIDE * SIDE  # of an image
SHAPE = f"[n, {SIDE}, {SIDE}, 1]"
NUMBERS = {int, float, np.float32, np.float64}  # JSON's, and protobuf's
RANK = 8  # dimensions at most; NumPy has no flat view of more than 32
SIZES = (-1, SIDE, SIDE, 1)  # the same, as protocols say it


def images(values: np.ndarray) -> np.ndarray:
    """f32 [n, 28, 28, 1], checked. Raises Refusal, saying what is wrong, for another shape or for values not in 0 … 1."""
    if values.ndim != 4 or values.shape[1:] != (SIDE, SIDE, 1) or not len(values):
        raise invalid(f"{IMAGE} has the shape {list(values.shape)}, it should be {SHAPE} with n ≥ 1")
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # so that NaN is caught, too
        which = "not a number" if low != low else f"{high if high > 1 else low:g}"
        raise invalid(f"{IMAGE} holds {which}; its values should be 0 … 1, 0 = paper (divide bytes by 255)")
    return np.ascontiguousarray(values, np.float32)


def from_octets(octets: bytes, shape: Sequence[int]) -> np.ndarray:
    """Little-endian f32 of this shape. Raises Refusal if there are more or fewer bytes."""
    sizes = shaped(shape)
    if len(octets) != 4 * int(np.prod(sizes, dtype=object)):
        raise invalid(f"{IMAGE} has {len(octets)} bytes, which is not the shape {sizes} of float32")
    return np.frombuffer(octets, "<f4").reshape(sizes)


def from_numbers(numbers: Sequence[float], shape: Sequence[int]) -> np.ndarray:
    """A flat list of numbers in this shape. Raises Refusal if it does not fit, or they are no numbers."""
    sizes = shaped(shape)
    flat = _array(numbers).ravel()
    if flat.size != int(np.prod(sizes, dtype=object)):
        raise invalid(f"{IMAGE} has {flat.size} values, which is not the shape {sizes}")
    return flat.reshape(sizes)


def from_lists(lists: Any) -> np.ndarray:
    """Nested lists of numbers, as JSON gives them. Raises Refusal if they are ragged, or hold anything else."""
    return _array(lists)


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Images that came one by one, each as 784 numbers in any shape. Raises Refusal if one has more or fewer."""
    if wrong := [row.size for row in rows if row.size != PIXELS]:
        raise invalid(f"{IMAGE} has {wrong[0]} values, an example's should have {PIXELS}")
    return np.stack([row.reshape(SIDE, SIDE, 1) for row in rows])


def shaped(shape: Sequence[int]) -> list[int]:
    """A shape's sizes, 0 … 2^31 - 1. Raises Refusal for others."""
    sizes = [int(size) for size in shape]
    # One that holds nothing may be too great for NumPy all the same.
    if any(not 0 <= size < 1 << 31 for size in sizes) or len(sizes) > RANK or (0 in sizes and sum(sizes) >= 1 << 31):
        raise invalid(f"the shape {sizes[:8]} makes no sense")
    return sizes


def _array(values: Any) -> np.ndarray:
    """Looked at as objects first: an array of texts has room for the longest in each place, gigabytes for a small request."""
    try:
        array = np.asarray(values, object)
    except (ValueError, TypeError, OverflowError):
        raise _ragged() from None
    if array.ndim > RANK:
        raise invalid(f"{IMAGE} has {array.ndim} dimensions; the shape is {SHAPE}")
    kinds = set(map(type, array.flat))
    if list in kinds:
        raise _ragged()
    if not kinds <= NUMBERS and array.size:
        raise invalid(f"{IMAGE} should hold numbers only")
    try:
        with np.errstate(over="ignore"):  # what is too great for float32 is infinite, and refused as such
            return array.astype(np.float32)
    except OverflowError:
        raise invalid(f"{IMAGE} holds a number with too many digits") from None


def _ragged() -> Refusal:
    return invalid(f"{IMAGE} is ragged: all its rows should have one length; the shape is {SHAPE}")


def check_outputs(outputs: Sequence[str]) -> None:
    """Raises Refusal if a client asks for an output that there is not."""
    if other := [name for name in outputs if name != PROBABILITIES]:
        raise invalid(f"there is no output {other[0][:40]!r}, only {PROBABILITIES!r}")
