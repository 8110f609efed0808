"""After every round: all that a run needs to go on, in one file; atomic; the newest two are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from core import arrays
from core.arrays import Arrays, in_order
from core.config.parse import typed
from core.curves import Point
from core.disk import numbered, placed
from core.methods.base import Shared
from core.safe_json import json_object
from fl.strategies import State
from server import run_folder
from server.record import RoundRecord

KEPT = 2
SCHEMA = 3  # 1: before round records had types; 2: before all methods had one budget
FACTS = "facts"  # the entry for all that is no array, as JSON


@dataclass(frozen=True)
class RunState:
    """All that a run needs to go on from a finished round."""

    round: int
    arrays: Arrays  # the global weights
    strategy: State = field(default_factory=dict)
    shared: Shared = field(default_factory=dict)  # what the server keeps for methods
    history: tuple[RoundRecord, ...] = ()
    events: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)  # what its rounds were played with (server/inputs.py)

    @property
    def curve(self) -> list[Point]:
        """The training so far."""
        return [row.point for row in self.history]

    @property
    def seen(self) -> int:
        """Gradient examples so far."""
        return self.history[-1].seen if self.history else 0

    def with_events(self, *events: str) -> RunState:
        """The same, with something more to tell."""
        return replace(self, events=(*self.events, *events))


class OtherSchema(ValueError):
    """A checkpoint that another version of this program wrote: it is whole, and cannot be read here."""


def save(folder: Path, state: RunState) -> None:
    """Write checkpoints/round-00007.npz: under another name, then renamed; then remove all but the newest two, and those of later
    rounds, too: they are damaged, or the run would have gone on from them."""
    home = folder / run_folder.CHECKPOINTS
    named = arrays.numbered("weight/", state.arrays)
    named |= {f"strategy/{k}": a for k, a in state.strategy.items()}
    named |= {f"shared/{k}": a for k, a in state.shared.items()}
    named = {FACTS: np.frombuffer(_facts(state, list(named)).encode(), np.uint8)} | named
    with placed(home / f"round-{state.round:05d}.npz") as file:
        np.savez(file, **arrays.seal(named))  # type: ignore[arg-type]
    saved = numbered(home)
    later = [path for number, path in saved.items() if number > state.round]
    for old in (*later, *[path for number, path in saved.items() if number <= state.round][:-KEPT]):
        old.unlink()


def _facts(state: RunState, names: list[str]) -> str:
    """What a checkpoint holds beside its arrays, as JSON; each round's is made once, not anew in every checkpoint."""
    history = ", ".join(row.line for row in state.history)
    facts = {"schema": SCHEMA, "round": state.round, "events": state.events, "arrays": names, "inputs": state.inputs}
    return f'{json.dumps(facts)[:-1]}, "history": [{history}]}}'


def newest(folder: Path, like: Arrays | None = None) -> tuple[RunState | None, list[str]]:
    """The newest checkpoint that can be read, and the names of newer ones that are damaged.

    like: weights of the model that it should hold; another model's checkpoint counts as damaged. Raises OtherSchema, naming
    the file, if another version of this program wrote it.
    """
    damaged: list[str] = []
    for number, path in reversed(numbered(folder / run_folder.CHECKPOINTS).items()):
        try:
            state = _read(path, number)
            if like is not None and [w.shape for w in state.arrays] != [w.shape for w in like]:
                raise ValueError(f"{path.name} holds another model")
            return state, damaged
        except OtherSchema:
            raise
        except (OSError, ValueError):
            damaged.append(path.name)
    return None, damaged


def _read(path: Path, number: int) -> RunState:
    """Read the checkpoint of this round. Raises ValueError if it is damaged, or does not hold what it says."""
    named = arrays.read(path, sealed=True)
    if "told" in named and FACTS not in named:
        raise OtherSchema(
            f"{path} was written by an older version of this program, which can go on with it; run it anew here"
        )
    facts = json_object(named.pop(FACTS, np.zeros(0, np.uint8)).tobytes())
    if (schema := facts.get("schema")) != SCHEMA:
        raise OtherSchema(f"{path} has schema {str(schema)[:40]}; this version of the program reads {SCHEMA}")
    history, events = _history(path, facts, number)
    inputs = typed(f"{path.name}: inputs", facts.get("inputs", {}), Mapping[str, str])  # an older program's has none
    if list(named) != facts.get("arrays"):
        raise ValueError(f"{path.name} holds other arrays than it says")
    weights = in_order("weight/", named)
    if not weights or any(w.dtype != np.float32 for w in weights):
        raise ValueError(f"{path.name} holds no model's weights")
    strategy, shared = (
        {name.removeprefix(kind): a for name, a in named.items() if name.startswith(kind)}
        for kind in ("strategy/", "shared/")
    )
    if len(weights) + len(strategy) + len(shared) < len(named):
        raise ValueError(f"{path.name} holds arrays that are nobody's")
    return RunState(number, weights, strategy, shared, history, events, inputs)


def _history(path: Path, facts: Mapping[str, Any], number: int) -> tuple[tuple[RoundRecord, ...], tuple[str, ...]]:
    """The rounds and events of a checkpoint. Raises ValueError if they make no sense."""
    if facts.get("round") != number:
        raise ValueError(f"{path.name} is not of round {number}")
    history: tuple[RoundRecord, ...] = typed(f"{path.name}: history", facts.get("history"), tuple[RoundRecord, ...])
    events: tuple[str, ...] = typed(f"{path.name}: events", facts.get("events"), tuple[str, ...])
    return history, events
