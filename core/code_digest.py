"""The program's own sources as a digest: what was made by other code is not taken for what this code makes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

HOME = Path(__file__).parents[1]  # where the rooms are


def digest(*parts: str) -> str:
    """SHA-256 of these sources as they are on the disk. parts: rooms (all .py files in them), or single files, below HOME."""
    total = hashlib.sha256()
    for file in sorted(_files(parts)):
        total.update(f"{file.relative_to(HOME)} ".encode() + file.read_bytes())
    return total.hexdigest()


def _files(parts: Sequence[str]) -> list[Path]:
    paths = [HOME / part for part in parts]
    return [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]
