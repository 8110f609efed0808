"""After every round: global weights, strategy state, round, history, in one file; atomic; the newest two are kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core import arrays
from core.disk import numbered, placed
from core.safe_json import json_object

KEPT = 2
FACTS = "told"  # the entry for all that is no array, as JSON
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
    """Write checkpoints/round-00007.npz: beside, then renamed; then forget all but the newest two."""
    home = folder / "checkpoints"
    named = {f"weight/{i}": a for i, a in enumerate(state.arrays)}
    named |= {f"strategy/{k}": a for k, a in state.strategy.items()}
    named |= {f"shared/{k}": a for k, a in state.shared.items()}
    facts = {"round": state.round, "history": state.history, "events": state.events, "arrays": list(named)}
    named = {FACTS: np.frombuffer(json.dumps(facts).encode(), np.uint8)} | named
    with placed(home / f"round-{state.round:05d}.npz") as file:
        np.savez(file, **arrays.seal(named))  # type: ignore[arg-type]
    for old in list(numbered(home).values())[:-KEPT]:
        old.unlink()


def newest(folder: Path, like: Arrays | None = None) -> tuple[State | None, list[str]]:
    """The newest checkpoint that can be read, and the names of newer ones that are damaged.

    like: weights of the model that it should hold; another model's checkpoint counts as damaged.
    """
    damaged: list[str] = []
    for number, path in reversed(numbered(folder / "checkpoints").items()):
        try:
            state = _read(path, number)
            if like is not None and [w.shape for w in state.arrays] != [w.shape for w in like]:
                raise ValueError(f"{path.name} holds another model")
            return state, damaged
        except (OSError, ValueError):
            damaged.append(path.name)
    return None, damaged


def _read(path: Path, number: int) -> State:
    """Read the checkpoint of this round. Raises ValueError if it is damaged, or does not hold what it says."""
    named = arrays.read(path, sealed=True)
    facts = json_object(named.pop(FACTS, np.zeros(0, np.uint8)).tobytes())
    history, events = facts.get("history"), facts.get("events")
    if (
        not isinstance(history, list)
        or not all(isinstance(one, dict) for one in history)
        or facts.get("round") != number
    ):
        raise ValueError(f"{path.name} is not of round {number}, or its history is none")
    if not isinstance(events, list) or not all(isinstance(one, str) for one in events):
        raise ValueError(f"{path.name} has no list of events")
    if list(named) != facts.get("arrays"):
        raise ValueError(f"{path.name} holds other arrays than it says")
    weights = [named[name] for name in (f"weight/{i}" for i in range(len(named))) if name in named]
    if not weights or any(w.dtype != np.float32 for w in weights):
        raise ValueError(f"{path.name} holds no model's weights")
    strategy, shared = (
        {name.removeprefix(kind): a for name, a in named.items() if name.startswith(kind)}
        for kind in ("strategy/", "shared/")
    )
    if len(weights) + len(strategy) + len(shared) < len(named):
        raise ValueError(f"{path.name} holds arrays that are nobody's")
    return State(number, weights, strategy, history, events, shared)
