"""After every round: global weights, strategy state, round, history, in one file; atomic; the newest two are kept."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core.disk import placed

KEPT = 2
Arrays = list[np.ndarray]


@dataclass(frozen=True)
class State:
    """All that a run needs to go on from a finished round."""

    round: int
    arrays: Arrays
    strategy: dict[str, np.ndarray] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    shared: dict[str, np.ndarray] = field(default_factory=dict)  # what the server keeps for methods


def save(folder: Path, state: State) -> None:
    """Write checkpoints/round-0007.npz: beside, then renamed; then forget all but the newest two."""
    home = folder / "checkpoints"
    named = {f"weight/{i}": a for i, a in enumerate(state.arrays)}
    named |= {f"strategy/{k}": a for k, a in state.strategy.items()}
    named |= {f"shared/{k}": a for k, a in state.shared.items()}
    facts = {"round": state.round, "history": state.history, "events": state.events, "arrays": list(named)}
    told = json.dumps(facts)
    with placed(home / f"round-{state.round:05d}.npz") as file:
        np.savez(file, told=np.frombuffer(told.encode(), np.uint8), **named)  # type: ignore[arg-type]
    for old in sorted(home.glob("round-*.npz"))[:-KEPT]:
        old.unlink()


def newest(folder: Path) -> tuple[State | None, list[str]]:
    """The newest checkpoint that can be read, and the names of newer ones that are damaged."""
    damaged: list[str] = []
    for path in sorted((folder / "checkpoints").glob("round-*.npz"), reverse=True):
        try:
            return _read(path), damaged
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
            damaged.append(path.name)
    return None, damaged


def _read(path: Path) -> State:
    """Read one file. The zip's own checksums (CRC-32) tell a damaged one."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    told = json.loads(arrays.pop("told").tobytes())
    if list(arrays) != told["arrays"]:  # a zip's checksums do not protect the names in it
        raise ValueError(f"{path.name} holds other arrays than it says")
    weights = [arrays[f"weight/{i}"] for i in range(sum(name.startswith("weight/") for name in arrays))]
    strategy, shared = (
        {name.removeprefix(kind): a for name, a in arrays.items() if name.startswith(kind)}
        for kind in ("strategy/", "shared/")
    )
    return State(told["round"], weights, strategy, told["history"], told["events"], shared)
