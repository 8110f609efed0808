"""What images and labels are: their shape, how many classes there are, and what these are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.config.scenario import CLASSES
from core.images import SIDE


@dataclass(frozen=True)
class DatasetSpec:
    """What all who share a data set agree on without reading it."""

    name: str
    classes: int  # labels are 0 … classes - 1
    names: tuple[str, ...] = ()  # of the classes, as people call them; those beyond are called by their numbers
    image: tuple[int, int] = (SIDE, SIDE)  # rows, columns

    def __post_init__(self) -> None:
        """Raises ValueError for a class whose name no list of labels can hold."""
        if odd := [name for name in self.names if "," in name or not name.isprintable()]:
            raise ValueError(
                f"{odd[0]!r} as a name of a class should have no comma and be one line: exported files list them"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """What each class is called."""
        return (*self.names[: self.classes], *map(str, range(len(self.names), self.classes)))


@dataclass(frozen=True)
class Examples:
    """Images x, uint8 [n, 28, 28], and their labels y, int64 [n]."""

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    @classmethod
    def none(cls) -> Examples:
        """No image, no label."""
        return cls(np.zeros((0, SIDE, SIDE), np.uint8), np.zeros(0, np.int64))

    def take(self, rows: np.ndarray) -> Examples:
        """The examples at these rows, in this order."""
        return Examples(self.x[rows], self.y[rows])

    def in_turns(self, order: np.ndarray) -> np.ndarray:
        """All rows, in an order in which classes take turns: the first of each class in this order, then the second of each.

        order: a permutation of all rows; those of one turn come by row.
        """
        rank = np.zeros(len(order), np.int64)
        for label in np.unique(self.y):
            rows = order[self.y[order] == label]
            rank[rows] = np.arange(len(rows))
        return np.argsort(rank, kind="stable")

    @staticmethod
    def join(parts: Sequence[Examples]) -> Examples:
        """All examples of all parts, in order."""
        return Examples(np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts]))


@dataclass(frozen=True)
class Source:
    """All that a data set's files hold."""

    spec: DatasetSpec
    train: Examples
    test: Examples
    notes: tuple[str, ...] = ()  # sentences on what was odd in the files, or left out of them


def checked(x: np.ndarray, y: np.ndarray, name: str) -> Examples:
    """Examples, if these arrays can be some. Raises ValueError, naming their file, if not."""
    if x.shape[1:] == (SIDE, SIDE, 1):
        x = x[..., 0]
    if x.dtype == np.uint8 and x.shape[1:] == (SIDE, SIDE) and y.ndim and len(x) != len(y):
        raise ValueError(f"{name}: {len(x):,} images, but {len(y):,} labels")
    if x.dtype != np.uint8 or x.shape != (*y.shape[:1], SIDE, SIDE) or not y.size:
        raise ValueError(
            f"{name}: images should be uint8 [n, {SIDE}, {SIDE}], one a label, not {x.dtype} {list(x.shape)}"
        )
    if y.shape not in ((len(x),), (len(x), 1)) or y.dtype.kind not in "iu":
        raise ValueError(f"{name}: labels should be integers [{len(x)}], not {y.dtype} {list(y.shape)}")
    y = y.reshape(len(x)).astype(np.int64)
    if y.min() < 0 or y.max() >= CLASSES:
        raise ValueError(f"{name}: labels should be 0 … {CLASSES - 1}, not {y.min()} … {y.max()}")
    return Examples(x, y)


def counted(name: str, *labels: np.ndarray) -> DatasetSpec:
    """The specification of a user's own data: as many classes as its labels, int [n], say, and two at least.

    The greatest label counts, not how many different ones there are: a label is the number of its logit.
    """
    return DatasetSpec(name, max(2, *(int(y.max(initial=0)) + 1 for y in labels)))
