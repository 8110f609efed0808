"""Images and labels: MNIST as it ships with the repository, or a user's own.

Layout everywhere: x uint8 [n, 28, 28], 0 = paper, 255 = ink; y int64 [n], 0 … 9.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import arrays
from core.config.scenario import Scenario
from core.data import pictures
from core.seeds import rng

MNIST = Path(__file__).with_name("mnist.npz")
ELSEWHERE = "MNIST_NPZ"  # names the file where the code came without it: Flower's app bundles carry code only
CLASSES = 10
SIDE = 28
HIDDEN = {"cnn": 128, "mlp": 400}  # units before the logits of each model (core/model.py)

# MD5 of the four IDX files as Yann LeCun published them (before gzip), rebuilt here from the arrays: header, then bytes.
IDX_MD5 = {
    "x_train": "6bbc9ace898e44ae57da46a324031adb",
    "y_train": "a25bea736e30d166cdddb491f175f624",
    "x_test": "2646ac647ad5339dbf082846283269ea",
    "y_test": "27ae3e4e09519cfbb04c329615203637",
}


@dataclass(frozen=True)
class Examples:
    """Images x, uint8 [n, 28, 28], and their labels y, int64 [n]."""

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: np.ndarray) -> Examples:
        """The examples at these rows, in this order."""
        return Examples(self.x[rows], self.y[rows])

    @staticmethod
    def join(parts: Sequence[Examples]) -> Examples:
        """All examples of all parts, in order."""
        return Examples(np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts]))


@dataclass(frozen=True)
class Data:
    """What a run learns from, is steered by (validation: held out of the training set), and is judged on (test)."""

    train: Examples
    validation: Examples
    test: Examples
    notes: tuple[str, ...] = ()  # sentences on what was odd in the data, or left out of it


def load(scenario: Scenario) -> Data:
    """The scenario's data, cut and split by address: every process gets the same rows."""
    train, test, notes = _source(scenario.data, scenario.ink)
    train, test = (
        _some(train, scenario.train, scenario.seed, "train"),
        _some(test, scenario.test, scenario.seed, "test"),
    )
    if scenario.digits:
        train = train.take(np.flatnonzero(np.isin(train.y, scenario.digits)))
    if scenario.validation >= len(train):
        raise ValueError(f"validation = {scenario.validation} leaves nothing of {len(train)} training images")
    order = rng(scenario.seed, "validation").permutation(len(train))
    validation, kept = np.sort(order[: scenario.validation]), np.sort(order[scenario.validation :])
    return Data(train.take(kept), train.take(validation), test, notes)


def _some(examples: Examples, count: int, seed: int, name: str) -> Examples:
    if not count:
        return examples
    if count > len(examples):
        raise ValueError(f"{name} = {count} is more than the {len(examples)} {name} images there are")
    return examples.take(np.sort(rng(seed, "some", name).permutation(len(examples))[:count]))


def read(source: str, ink: str = "auto") -> tuple[Examples, Examples]:
    """(train, test) from "mnist", an .npz with x_train y_train x_test y_test, or a folder <label>/*.png.

    ink: whether a folder's ink is "dark" or "light", or "auto" to judge it from its pictures. Raises ValueError, naming the
    source, if it is missing, damaged or of the wrong kind.
    """
    train, test, _ = _source(source, ink)
    return train, test


def _source(source: str, ink: str) -> tuple[Examples, Examples, tuple[str, ...]]:
    """What `read` returns, and sentences on what was odd or left out."""
    if source == "mnist":
        return *_npz(Path(os.environ.get(ELSEWHERE) or MNIST), IDX_MD5), ()
    path = Path(source)
    try:
        if path.is_dir():
            return _folder(path, ink)
        if path.is_file():
            return *_npz(path, {}), ()
    except OSError as error:
        raise ValueError(f"data = {source[:200]!r} cannot be read: {error.strerror}") from None
    raise ValueError(f"data = {source!r} is neither 'mnist' nor an .npz file nor a folder <label>/*.png")


def _npz(path: Path, md5: dict[str, str]) -> tuple[Examples, Examples]:
    try:
        named = arrays.read(path, only=tuple(IDX_MD5))
    except (OSError, ValueError) as error:
        raise ValueError(f"data {path.name!r} is not an npz with {', '.join(IDX_MD5)}: {error}") from None
    for name, digest in md5.items():
        if (found := hashlib.md5(idx(named[name]), usedforsecurity=False).hexdigest()) != digest:
            raise ValueError(f"{path.name} is damaged: {name} has MD5 {found}, the original IDX file {digest}")
    train, test = (_checked(named[f"x_{part}"], named[f"y_{part}"], path.name) for part in ("train", "test"))
    if train.x.max() == 1:
        raise ValueError(f"{path.name}: images should be 0 … 255, not 0 … 1: multiply them by 255")
    return train, test


def idx(array: np.ndarray) -> bytes:
    """The bytes of the IDX file that holds this uint8 array: magic number, sizes (big-endian), values."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


def _checked(x: np.ndarray, y: np.ndarray, name: str) -> Examples:
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


def _folder(path: Path, ink: str) -> tuple[Examples, Examples, tuple[str, ...]]:
    """Every sixth image of each label (by name) is a test image."""
    from core.data import folder  # which knows the layout above

    names, notes = folder.pictures(path), folder.left_out(path)
    labels = np.array([int(name.split("/")[0]) for name in names], np.int64)
    test = (np.arange(len(names)) - np.searchsorted(labels, labels)) % 6 == 5
    if not test.any():
        found = "; ".join(notes) or "it is empty"
        raise ValueError(f"folder {path.name!r} needs <label>/*.png with at least six images of a label ({found})")
    drawn = {name: pictures.picture(path / name, SIDE) for name in names}
    images = np.stack(list(drawn.values()))
    dark = folder.dark_ink(images, ink)
    x = folder.inked(images, dark)
    if dark and ink == "auto":
        notes += (
            f"{path.name}: its ink is dark, its paper light (judged by the pictures' borders), so they were inverted",
        )
    return Examples(x[~test], labels[~test]), Examples(x[test], labels[test]), (*notes, *folder.odd(drawn, dark))
