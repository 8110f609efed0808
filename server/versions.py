"""Versions: the model at the end of each stage, its exports, and which of them is `current`.

`RUN/versions/0003/` holds weights.npz, version.json and model.*; `RUN/versions/current` is a link to the newest that passed
the scenario's gate. The run's own model.* are those of the current version.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from core import arrays
from core.arrays import Arrays
from core.config.parse import typed
from core.config.scenario import Gate
from core.disk import copied, placed, removed
from core.methods.base import Shared
from core.safe_json import read_object
from server import run_folder
from server.record import Exports, Version, plain, write

CURRENT = "current"


def keep(folder: Path, about: Version, weights: Arrays, shared: Shared) -> Path:
    """Write a version's weights, what the server keeps for methods, and its facts; a repeated stage writes the same again."""
    version = home(folder, about.version)
    named = arrays.numbered("weight", weights) | {f"shared/{key}": a for key, a in shared.items()}
    with placed(version / "weights.npz") as file:
        np.savez(file, **arrays.seal(named))  # type: ignore[arg-type]
    write(version / "version.json", json.dumps(plain(about), indent=1) + "\n")
    return version


def home(folder: Path, number: int) -> Path:
    """A version's folder."""
    return folder / run_folder.VERSIONS / f"{number:04d}"


def weights(version: Path) -> Arrays:
    """A version's weights. Raises ValueError, naming the file, if they cannot be read."""
    named = {name: array for name, array in _arrays(version).items() if not name.startswith("shared/")}
    found = arrays.in_order("weight", named)
    if not found or len(found) < len(named) or any(w.dtype != np.float32 for w in found):
        raise ValueError(
            f"{version / 'weights.npz'} does not hold a model's weights: {', '.join(named)[:100] or 'nothing'}"
        )
    return found


def shared(version: Path) -> dict[str, np.ndarray]:
    """What the server kept for methods when it was made. Raises ValueError, naming the file, if it cannot be read."""
    return {name.removeprefix("shared/"): a for name, a in _arrays(version).items() if name.startswith("shared/")}


def _arrays(version: Path) -> dict[str, np.ndarray]:
    try:
        return arrays.read(version / "weights.npz", sealed=True)
    except FileNotFoundError:
        raise ValueError(f"{version} holds no version: it has no weights.npz") from None


def about(version: Path) -> Version:
    """What version.json says of a version. Raises ValueError, naming the file, if it cannot be read."""
    file = version / "version.json"
    found: Version = typed(str(file), read_object(file), Version)
    if found.version < 0:
        raise ValueError(f"{file}: version = {found.version} should be 0 or more")
    return found


def exported(version: Path) -> Exports | None:
    """What an earlier export of a version found; None, if there was none or it cannot be read: then it is made again."""
    file = version / run_folder.EXPORTS
    try:
        found: Exports = typed(str(file), read_object(file, "files", "refused"), Exports)
    except (FileNotFoundError, ValueError):
        return None
    return found


def listed(folder: Path) -> list[Path]:
    """All versions, oldest first."""
    return sorted(p for p in (folder / run_folder.VERSIONS).glob("[0-9]*") if (p / "version.json").exists())


def by_number(folder: Path, number: int) -> Path:
    """The version of this number. Raises ValueError, naming those that there are."""
    if (version := home(folder, number)) not in (existing := listed(folder)):
        names = ", ".join(str(int(other.name)) for other in existing) or "there are none"
        raise ValueError(f"version {number} is not in {folder}; choose from {names}")
    return version


def origin(folder: Path, version: Path | None = None) -> dict[str, str]:
    """Where exported files come from, as they say it: the run, and which of its versions."""
    return {"run": folder.absolute().name} | ({"version": str(int(version.name))} if version else {})


def current(folder: Path) -> Path | None:
    """The current version's folder, if there is one. Raises ValueError if the link leads nowhere."""
    version = linked(folder)
    if version and version not in listed(folder):
        names = ", ".join(str(one) for one in listed(folder)) or "none is left"
        raise ValueError(
            f"{folder / 'versions' / CURRENT} leads to {version}, which is no version; roll back to one of: {names}"
        )
    return version


def linked(folder: Path) -> Path | None:
    """What the link `current` names, whether it is there or not; of a run that was copied without links, which version it holds."""
    link = folder / run_folder.VERSIONS / CURRENT
    if link.is_symlink():
        return folder / run_folder.VERSIONS / os.readlink(link)
    with suppress(OSError, ValueError):
        return home(folder, about(link).version)
    return None


def objections(gate: Gate, row: Sequence[float], best: Sequence[float | None]) -> list[str]:
    """Why a version may not become current; empty if it may.

    row: its accuracy on each task, on validation images; best: the best that any version before it had on each task met before,
    else None for a task that this stage brought, NaN for one not met yet, or that nobody can judge.
    """
    met = [share for share, ever in zip(row, best, strict=True) if ever is None or ever == ever]
    lost = [ever - share for share, ever in zip(row, best, strict=True) if ever is not None and ever == ever]
    mean = sum(met) / max(1, len(met))
    forgotten = sum(lost) / len(lost) if lost else 0.0
    reasons = []
    if mean < gate.accuracy:
        reasons.append(f"accuracy on the tasks met is {mean:.4f}, less than gate.accuracy = {gate.accuracy:g}")
    if forgotten > gate.forgetting:
        reasons.append(
            f"forgetting of earlier tasks is {forgotten:.4f}, more than gate.forgetting = {gate.forgetting:g}"
        )
    return reasons


def publish(folder: Path, version: Path) -> None:
    """Make a version the current one: the link, and the run's own model.* and export.json. Each step is a rename."""
    link = folder / run_folder.VERSIONS / f".{CURRENT}"
    link.unlink(missing_ok=True)
    link.symlink_to(version.name)
    if (old := folder / run_folder.VERSIONS / CURRENT).is_dir() and not old.is_symlink():  # of a copy without links
        removed(old)
    os.replace(link, folder / run_folder.VERSIONS / CURRENT)
    for old in (*folder.glob("model.*"), *folder.glob(run_folder.EXPORTS)):
        if not (version / old.name).exists():
            removed(old)
    for file in (*version.glob("model.*"), *version.glob(run_folder.EXPORTS)):
        copied(file, folder / file.name)
