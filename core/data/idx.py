"""Four IDX files in a folder, as MNIST and its kin were published: plain, or packed by gzip.

A file is a magic number (0, 0, 8 for bytes, how many dimensions), the sizes, big-endian, and the values. They are foreign
files: what a header says is held against the file's own size before anything is allocated.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
from pathlib import Path
from typing import IO

import numpy as np

from core.arrays import DAMAGE, LARGEST, filled
from core.data.spec import Source, checked, counted
from core.disk import opened

FILES = {
    "x_train": "train-images-idx3-ubyte", "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte", "y_test": "t10k-labels-idx1-ubyte",
}  # fmt: skip
PACKING = 1032  # how many times its packed size a file may unpack to: deflate does no more


def is_idx_folder(folder: Path) -> bool:
    """Does this folder hold such files? The training images tell."""
    return _file(folder, "x_train") is not None


def read(folder: Path) -> tuple[Source, dict[str, str]]:
    """What the four files hold, and the MD5 of each before it was packed, by x_train, y_train, x_test, y_test.

    Raises ValueError, naming the file, if one is missing, damaged or holds something else.
    """
    arrays = {name: _read(folder, name) for name in FILES}
    train, test = (checked(arrays[f"x_{part}"], arrays[f"y_{part}"], folder.name) for part in ("train", "test"))
    source = Source(counted(folder.name, train.y, test.y), train, test)
    return source, {name: md5(array) for name, array in arrays.items()}


def parts(array: np.ndarray) -> tuple[bytes, memoryview]:
    """The header and the values of the IDX file that holds this uint8 array; values are not copied."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return header, np.ascontiguousarray(array, np.uint8).reshape(-1).data


def md5(array: np.ndarray) -> str:
    """The MD5 of the IDX file that holds this uint8 array: publishers give it, and it is no secret that it keeps."""
    header, values = parts(array)
    total = hashlib.md5(header, usedforsecurity=False)
    total.update(values)
    return total.hexdigest()


def _file(folder: Path, name: str) -> Path | None:
    paths = (folder / FILES[name], folder / f"{FILES[name]}.gz")
    return next((path for path in paths if path.is_file()), None)


def _read(folder: Path, name: str) -> np.ndarray:
    path = _file(folder, name)
    if path is None:
        raise ValueError(f"folder {folder.name!r} has no {FILES[name]} or {FILES[name]}.gz")
    try:
        with opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            if path.suffix != ".gz":
                return _array(file, 3 if name[0] == "x" else 1, size)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _array(unpacked, 3 if name[0] == "x" else 1, PACKING * size)
    except DAMAGE as error:
        raise ValueError(f"{path.name} in {folder.name!r} cannot be read: {str(error)[:300]}") from None


def _array(file: IO[bytes] | gzip.GzipFile, dimensions: int, most: int) -> np.ndarray:
    """The array of an open file, which holds no more than `most` bytes."""
    magic, header = file.read(4), file.read(4 * dimensions)
    if magic != bytes([0, 0, 8, dimensions]) or len(header) < 4 * dimensions:
        raise ValueError(f"it does not begin as an IDX file of bytes in {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", header)
    if (count := math.prod(shape)) > min(most, LARGEST):  # before anything of that size is allocated
        raise ValueError(f"it says that it holds {count:,} bytes, and cannot")
    array = np.empty(count, np.uint8)
    if filled(file, array.data) < count or file.read(1):
        raise ValueError(f"it is not as long as an array of {list(shape)}")
    return array.reshape(shape)
