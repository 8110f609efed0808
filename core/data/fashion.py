"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747): pictures of clothes, in MNIST's form and number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core.data import idx
from core.data.spec import DatasetSpec, Source

NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
SPEC = DatasetSpec("fashion", len(NAMES), NAMES)
HOME = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package dataset-fashion-mnist puts it

# MD5 of the four IDX files before gzip: packed anew, as Debian's are, they have others than the publisher's list says.
MD5 = {
    "x_train": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "y_train": "9018921c3c673c538a1fc5bad174d6f9",
    "x_test": "8181f5470baa50b63fa0f6fddb340f0a",
    "y_test": "15d484375f8d13e6eb1aabb0c3f46965",
}


def read(folder: Path | None = None) -> Source:
    """All of it, from this folder or else Debian's. Raises ValueError if files are missing, or not what was published."""
    home = folder or HOME
    if not idx.is_idx_folder(home):
        raise ValueError(
            f"data = fashion: its files are not in {home}; install Debian's dataset-fashion-mnist, or name the folder"
            f" that holds {', '.join(idx.FILES.values())} (or these with .gz) as data=FOLDER"
        )
    source, digests = idx.read(home)
    for name, digest in digests.items():
        if digest != MD5[name]:
            raise ValueError(f"{idx.FILES[name]} is damaged: it has MD5 {digest}, the published file {MD5[name]}")
    return replace(source, spec=SPEC)
