"""Versions: the model at the end of each stage, its exports, and which of them is `current`.

`RUN/versions/0003/` holds weights.npz, version.json and model.*; `RUN/versions/current` is a link to the newest that passed
the scenario's gate. The run's own model.* are those of the current version.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.disk import placed, read_object
from core.scenario import Gate
from server.report import write

Arrays = list[np.ndarray]
Facts = dict[str, Any]
CURRENT = "current"


def keep(folder: Path, number: int, arrays: Arrays, facts: Facts, shared: Mapping[str, np.ndarray]) -> Path:
    """Write a version's weights, what the server keeps for methods, and facts; a repeated stage writes the same again."""
    place = home(folder, number)
    named = {f"weight{i}": a for i, a in enumerate(arrays)} | {f"shared/{key}": a for key, a in shared.items()}
    with placed(place / "weights.npz") as file:
        np.savez(file, **named)  # type: ignore[arg-type]
    write(place / "version.json", json.dumps(facts, indent=1) + "\n")
    return place


def home(folder: Path, number: int) -> Path:
    """A version's folder."""
    return folder / "versions" / f"{number:04d}"


def weights(place: Path) -> Arrays:
    """A version's weights. Raises ValueError if they cannot be read."""
    try:
        with np.load(place / "weights.npz", allow_pickle=False) as file:
            return [file[f"weight{i}"] for i in range(sum(name.startswith("weight") for name in file.files))]
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{place} holds no readable version: {error}") from None


def shared(place: Path) -> dict[str, np.ndarray]:
    """What the server kept for methods when it was made."""
    with np.load(place / "weights.npz", allow_pickle=False) as file:
        return {name.removeprefix("shared/"): file[name] for name in file.files if name.startswith("shared/")}


def exported(version: Path) -> Facts:
    """What an earlier export of a version found; nothing, if there was none or it cannot be read: then it is made again."""
    try:
        return read_object(version / "export.json", "files", "refused")
    except (FileNotFoundError, ValueError):
        return {}


def listed(folder: Path) -> list[Path]:
    """All versions, oldest first."""
    return sorted(p for p in (folder / "versions").glob("[0-9]*") if (p / "version.json").exists())


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
    """What the link `current` names, whether it is there or not."""
    link = folder / "versions" / CURRENT
    return folder / "versions" / os.readlink(link) if link.is_symlink() else None


def objections(gate: Gate, row: Sequence[float], best: Sequence[float | None]) -> list[str]:
    """Why a version may not become current; empty if it may.

    row: its accuracy on each task; best: the best that any version before it had on each task met before, else None for a
    task that this stage brought, NaN for one not met yet.
    """
    met = [share for share, ever in zip(row, best, strict=True) if ever is None or ever == ever]
    lost = [ever - share for share, ever in zip(row, best, strict=True) if ever is not None and ever == ever]
    mean = sum(met) / max(1, len(met))
    forgotten = sum(lost) / len(lost) if lost else 0.0
    told = []
    if mean < gate.accuracy:
        told.append(f"accuracy on the tasks met is {mean:.4f}, less than gate.accuracy = {gate.accuracy:g}")
    if forgotten > gate.forgetting:
        told.append(f"forgetting of earlier tasks is {forgotten:.4f}, more than gate.forgetting = {gate.forgetting:g}")
    return told


def publish(folder: Path, place: Path) -> None:
    """Make a version the current one: the link, and the run's own model.* and export.json. Each step is a rename."""
    link = folder / "versions" / f".{CURRENT}"
    link.unlink(missing_ok=True)
    link.symlink_to(place.name)
    os.replace(link, folder / "versions" / CURRENT)
    for old in (*folder.glob("model.*"), *folder.glob("export.json")):
        if not (place / old.name).exists():
            old.unlink()
    for file in (*place.glob("model.*"), *place.glob("export.json")):
        with placed(folder / file.name) as copy:
            copy.write(file.read_bytes())
