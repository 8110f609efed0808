"""Golden vectors: pictures, what the preparation must make of them, and perhaps what a model must say of that.

A text that every language reads with what it has: one vector a line, `WIDTH HEIGHT PICTURE PREPARED [PROBABILITIES]`, pixels as two
hexadecimal digits each, row by row, 0 = paper; probabilities as decimals with commas between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from core.data.prepare import prepared
from core.images import SIDE


@dataclass(frozen=True)
class Vector:
    """One picture and what is expected of it."""

    picture: np.ndarray  # uint8 [h, w], 0 = paper, 255 = ink
    prepared: np.ndarray  # uint8 [28, 28]
    probabilities: tuple[float, ...] = ()  # of the model's classes; none: the vector is of the preparation only

    @classmethod
    def of(cls, picture: np.ndarray) -> Vector:
        """What the preparation makes of a picture."""
        return cls(picture, prepared(picture))


def written(vectors: Iterable[Vector]) -> str:
    """The text."""
    return "".join(f"{_line(one)}\n" for one in vectors)


def _line(vector: Vector) -> str:
    height, width = vector.picture.shape
    words = [str(width), str(height), vector.picture.tobytes().hex(), vector.prepared.tobytes().hex()]
    return " ".join([*words, *([",".join(f"{p:.6f}" for p in vector.probabilities)] if vector.probabilities else [])])


def read(text: str) -> list[Vector]:
    """The vectors of a text. Raises ValueError, naming the line, if it is no such text."""
    return [_vector(line, number) for number, line in enumerate(text.splitlines(), 1)]


def _vector(line: str, number: int) -> Vector:
    try:
        width, height, picture, expected, *more = line.split(" ")
        probabilities = tuple(float(p) for p in more[0].split(",")) if more else ()
        return Vector(_pixels(picture, int(height), int(width)), _pixels(expected, SIDE, SIDE), probabilities)
    except ValueError as error:
        raise ValueError(f"line {number} is no vector: {error}") from None


def _pixels(text: str, height: int, width: int) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(text), np.uint8).reshape(height, width)
