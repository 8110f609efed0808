"""Is this scenario possible? Answered with numpy alone, before TensorFlow, Flower or Ray are imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from core.augment import AUGMENTS, Warp
from core.conditions import CONDITIONS
from core.data import load
from core.looks import LOOKS
from core.methods import METHODS
from core.scenario import Scenario, options
from core.schedule import SCHEDULES, rate
from core.softmax import SOFTMAXES
from core.stream import STREAMS, course
from fl import roster
from fl.partition import PARTITIONERS, partition
from fl.strategies import STRATEGIES
from fl.strategies import check as check_strategy
from scenarios import SCENARIOS

REGISTRIES: dict[str, Mapping[str, Callable[..., Any]]] = {
    "partition": PARTITIONERS,
    "strategy": STRATEGIES,
    "schedule": SCHEDULES,
    "methods": METHODS,
    "softmax": SOFTMAXES,
    "augment": AUGMENTS,
    "looks": LOOKS,
    "stream": STREAMS,
}


def check(scenario: Scenario) -> tuple[str, ...]:
    """Build every piece once, on the real labels; returns sentences on what is odd in the data, or left out of it.

    Raises ValueError, naming the value and the choices.
    """
    check_strategy(scenario.strategy, scenario.cohort)
    rate(scenario, 1, [])
    if scenario.schedule.name == "plateau" and not scenario.validation:
        raise ValueError("schedule = plateau needs validation > 0: it watches the loss on held-out training images")
    for kind in ("methods", "augment", "looks"):
        names = [part.name for part in getattr(scenario, kind)]
        if len(set(names)) < len(names):
            raise ValueError(f"{kind} = {'+'.join(names)} names one piece twice")
    for part in scenario.methods:
        part.build("methods", METHODS)
    if scenario.model.kind != "cnn" and (heads := {p.name for p in scenario.methods} & {"acil", "slda"}):
        raise ValueError(f"methods = {min(heads)} needs model.kind = cnn: it reads the convolutions' features")
    for part in scenario.augment:
        part.build("augment", AUGMENTS, Warp.none(1), np.zeros(1, np.float32), np.random.default_rng(0))
    for part in scenario.looks:
        part.build("looks", LOOKS, np.zeros((1, 28, 28), np.uint8), 0.5)
    scenario.softmax.build("softmax", SOFTMAXES, np.zeros(1, np.int32), np.ones(1, bool))
    course(scenario)
    for round in {1, *(first for _, first in (*scenario.join, *scenario.leave))}:
        if not roster.present(scenario, round):
            raise ValueError(f"join = {scenario.join} and leave = {scenario.leave} leave nobody in round {round}")
    data = load(scenario)
    partition(scenario.partition, data.train.y, scenario.clients, scenario.minimum, scenario.seed)
    return data.notes


def listing() -> dict[str, dict[str, str]]:
    """Everything that can be named, by kind, each with its one-line meaning and its settings."""
    told = {"scenario": {name: meaning for name, (_, meaning) in SCENARIOS.items()}}
    for kind, registry in REGISTRIES.items():
        told[kind] = {name: _meaning(piece) for name, piece in registry.items()}
    told["condition"] = {name: f"{_meaning(piece)}  [{usual:g}]" for name, (piece, usual) in CONDITIONS.items()}
    return told


def _meaning(piece: Callable[..., Any]) -> str:
    first = " ".join((piece.__doc__ or "").strip().split("\n\n")[0].split())
    settings = ", ".join(f"{name}={p.default}" for name, p in options(piece).items())
    return f"{first}  [{settings}]" if settings else first
