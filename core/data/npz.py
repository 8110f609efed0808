"""A user's own images as one .npz file with x_train, y_train, x_test, y_test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from core import arrays
from core.data.spec import Source, checked, counted

NAMES = ("x_train", "y_train", "x_test", "y_test")


def read(path: Path) -> Source:
    """All that the file holds. Raises ValueError, naming it, if it is damaged or of the wrong kind."""
    return source(path.name, unpacked(path))


def source(name: str, four: Mapping[str, np.ndarray]) -> Source:
    """The data set of these four arrays. Raises ValueError, naming their file, if they are none."""
    train, test = (checked(four[f"x_{part}"], four[f"y_{part}"], name) for part in ("train", "test"))
    if train.x.max() == 1:
        raise ValueError(f"{name}: images should be 0 … 255, not 0 … 1: multiply them by 255")
    return Source(counted(name, train.y, test.y), train, test)


def unpacked(path: Path) -> dict[str, np.ndarray]:
    """The four arrays, by name. Raises ValueError, naming the file, if it has none."""
    try:
        return arrays.read(path, only=NAMES)
    except (OSError, ValueError) as error:
        raise ValueError(f"data {path.name!r} is not an npz with {', '.join(NAMES)}: {error}") from None
