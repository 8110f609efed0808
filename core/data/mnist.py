"""MNIST (LeCun et al. 1998), as it ships with the repository."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from core.data import npz
from core.data.idx import md5
from core.data.spec import DatasetSpec, Source

SPEC = DatasetSpec("mnist", 10)
FILE = Path(__file__).with_name("mnist.npz")
HERE = Path("core/data/mnist.npz")  # where `flwr run .` was given: a checkout, whose data the app bundle lacks
ELSEWHERE = "MNIST_NPZ"  # in the environment of a SuperLink: the file, for its app bundles carry code only

# MD5 of the four IDX files as Yann LeCun published them (before gzip), rebuilt here from the arrays: header, then bytes.
MD5 = {
    "x_train": "6bbc9ace898e44ae57da46a324031adb",
    "y_train": "a25bea736e30d166cdddb491f175f624",
    "x_test": "2646ac647ad5339dbf082846283269ea",
    "y_test": "27ae3e4e09519cfbb04c329615203637",
}


def read(file: Path | None = None) -> Source:
    """All of it, from this file or else where it ships. Raises ValueError if it is missing, or not what was published."""
    path = file or Path(os.environ.get(ELSEWHERE) or (FILE if FILE.exists() else HERE))
    arrays = npz.unpacked(path)
    for name, array in arrays.items():
        if (digest := md5(array)) != MD5[name]:
            raise ValueError(f"{path.name} is damaged: {name} has MD5 {digest}, the original IDX file {MD5[name]}")
    return replace(npz.source(path.name, arrays), spec=SPEC)
