"""Is this scenario possible? Answered with numpy alone, before TensorFlow, Flower or Ray are imported."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.config.part import Part, options
from core.config.scenario import Model, Scenario
from core.data import DATASETS, Data, DatasetSpec, dataset, load
from core.methods import METHODS, closed_forms
from core.methods.base import Finetune
from core.models import MODELS, of
from core.schedule import SCHEDULES, rate
from core.softmax import SOFTMAXES
from core.stream import STREAMS, course
from core.views import conditions
from core.views.augment import AUGMENTS, Warp
from core.views.conditions import CONDITIONS
from core.views.looks import LOOKS
from fl import roster
from fl.partition import PARTITIONERS, partition
from fl.strategies import CUTTING, STRATEGIES, Strategy, build, chain
from fl.strategies.flower import Flower
from scenarios.presets import SCENARIOS

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


# Methods that work on earlier stages only.
LOOK_BACK = ("replay", "der", "derpp", "agem", "joint", "ewc", "si", "fedssi", "lwf")
ENOUGH = 20  # images a class and client, of which one that is dealt at random hardly ever has none
UNWEIGHTED = ("feddyn", "fedmedian", "fedtrimmedavg", "krum", "bulyan")  # strategies that count every client alike


def check(scenario: Scenario) -> tuple[str, ...]:
    """Build every piece once, on the real labels; returns sentences on what is odd in the data, or left out of it.

    Raises ValueError, naming the value and the choices.
    """
    strategy = _strategy(scenario)
    rate(scenario, 1, [])
    if scenario.schedule.name == "plateau" and not scenario.validation:
        raise ValueError("schedule = plateau needs validation > 0: it watches the loss on held-out training images")
    for name, usual in (("accuracy", 0.0), ("forgetting", 1.0)):
        if (value := getattr(scenario.gate, name)) != usual and not scenario.validation:
            raise ValueError(f"gate.{name} = {value:g} needs validation > 0: the gate reads held-out training images")
    for kind in ("methods", "augment", "looks"):
        names = [part.name for part in getattr(scenario, kind)]
        if len(set(names)) < len(names):
            raise ValueError(f"{kind} = {'+'.join(names)} names one piece twice")
    spec, model = dataset(scenario), of(scenario)
    if model.statistics and scenario.engine == "litert":
        raise ValueError("engine = litert has no model.norm = batch; choose model.norm = group, or engine = tensorflow")
    if model.statistics and scenario.local.batch < 2:
        raise ValueError("model.norm = batch needs local.batch of 2 or more: one example has no spread")
    if wrong := [digit for digit in scenario.digits if digit >= spec.classes]:
        raise ValueError(f"digits = {wrong[0]} is out of range: 0 … {spec.classes - 1}")
    for part in scenario.methods:
        if not isinstance(made := part.build("methods", METHODS, model), Finetune):
            raise ValueError(f"method {part.name} is {type(made).__name__}, no Finetune (core/methods/base.py)")
    if len(heads := closed_forms(scenario)) > 1:
        raise ValueError(f"methods = {'+'.join(head.name for head in heads)} each solve the head: name one of them")
    for part in scenario.augment:
        part.build("augment", AUGMENTS, Warp.none(1), np.zeros(1, np.float32), np.random.default_rng(0))
    for part in scenario.looks:
        part.build("looks", LOOKS, np.zeros((1, *spec.image), np.uint8), 0.5)
    scenario.softmax.build(
        "softmax", SOFTMAXES, np.zeros(1, np.int32), np.ones(1, bool), np.zeros((2, spec.classes), int)
    )
    tests = course(scenario).tests
    for condition in {test.condition for test in tests}:
        conditions.check(condition)
    _redealt(scenario)
    _cohorts(scenario, strategy)
    data = load(scenario)
    partition(scenario.partition, data.train.y, scenario.clients, scenario.minimum, scenario.seed)
    return (*data.notes, *_untested(scenario, data))


def _strategy(scenario: Scenario) -> Strategy:
    """The strategy. Raises ValueError if it is none, as a plugin's may be."""
    strategy = build(scenario)
    if lacks := [name for name in ("client", "start", "aggregate", "finish") if not hasattr(strategy, name)]:
        made = type(strategy).__name__
        raise ValueError(
            f"strategy {scenario.strategy.name} is {made}, which has no {lacks[0]} (fl/strategies/base.py)"
        )
    return strategy


def _untested(scenario: Scenario, data: Data) -> list[str]:
    """Tests of what the run before this one was taught for which there is no image. Raises ValueError if a task has none."""
    shared = course(scenario)
    missing = [task for task, test in enumerate(shared.tests) if not np.isin(data.test.y, test.labels).any()]
    images = f"{data.spec.name} has {len(data.test):,} test images (test = {scenario.test})"
    if own := [shared.tests[task].name for task in missing if task in shared.tasks]:
        raise ValueError(f"{images}, and none of them for: {'; '.join(own)}")
    return [
        f"{images}, and none for {shared.tests[task].name}: it counts as misread, before and after" for task in missing
    ]


def _cohorts(scenario: Scenario, strategy: Strategy) -> None:
    """Raises ValueError if somebody joins or leaves twice, or in a round nobody is there, or fewer are asked than the strategy can
    make a model of."""
    for name, pairs in (("join", scenario.join), ("leave", scenario.leave)):
        if len(dict(pairs)) < len(pairs):
            raise ValueError(f"{name} = {json.dumps(pairs)} names one client twice")
    for client, left in scenario.leave:
        if left <= (joined := dict(scenario.join).get(client, 1)):
            raise ValueError(
                f"client {client} joins in round {joined} and leaves in round {left}: it would never be there"
            )
    for round in _changes(scenario):
        if not roster.present(scenario, round):
            raise ValueError(f"join = {scenario.join} and leave = {scenario.leave} leave nobody in round {round}")
        asked = len(roster.asked(scenario, round))
        if not asked:
            raise ValueError(
                f"stragglers = {scenario.stragglers:g} with drop_stragglers leaves nobody of cohort = {scenario.cohort}"
            )
        if isinstance(strategy, Flower):
            try:
                strategy.check(asked)
            except ValueError as error:
                raise ValueError(f"{error}, as are asked in round {round}") from None


def _changes(scenario: Scenario) -> list[int]:
    """The rounds in which other clients are there than before, the first among them."""
    return sorted({1, *(first for _, first in (*scenario.join, *scenario.leave))})


def _redealt(scenario: Scenario) -> None:
    """Raises ValueError if only one of partition and stream deals for each stage, or not as often as the other."""
    stages = scenario.stream.settings("stream", STREAMS) if scenario.stream.name == "permuted" else {}
    deals = scenario.partition.settings("partition", PARTITIONERS) if scenario.partition.name == "redealt" else {}
    if (stages["tasks"] if stages.get("redealt") else None) != deals.get("times"):
        both = f"partition = {scenario.partition} and stream = {scenario.stream}"
        raise ValueError(f"{both}: partition = redealt goes with stream.redealt = true, times being stream.tasks")


def without_effect(scenario: Scenario) -> list[str]:
    """The settings of a possible scenario that cannot change what comes out of it, a sentence each."""
    notes = [*_of_methods(scenario), *_of_model(scenario), *_of_strategy(scenario)]
    if scenario.ink != "auto" and not Path(scenario.data).is_dir():
        notes.append(f"ink = {scenario.ink} has no effect: data = {scenario.data} is no folder of pictures")
    if scenario.stragglers and scenario.local.epochs <= 1 and not scenario.drop_stragglers:
        why = "nobody makes less than one pass (local.epochs)"
        notes.append(f"stragglers = {scenario.stragglers:g} has no effect: {why}")
    if scenario.drop_stragglers and not scenario.stragglers:
        notes.append("drop_stragglers = true has no effect: there are none (stragglers)")
    if scenario.probe and chain(scenario).personal:
        why = f"judges what clients send, not their personal models (strategy = {scenario.strategy})"
        notes.append(f"probe = {scenario.probe} {why}")
    if scenario.idle == "rehearse" and not chain(scenario).rehearses(1):
        notes.append("idle = rehearse has no effect: no method rehearses")
    return notes


def _of_strategy(scenario: Scenario) -> list[str]:
    """Of `without_effect`: what the strategy makes of so few clients, or of their weights."""
    strategy, notes = scenario.strategy, list[str]()
    weighted = f"weight_exponent = {scenario.weight_exponent:g}"
    if scenario.weight_exponent != 1 and strategy.name in UNWEIGHTED:
        notes.append(f"{weighted} has no effect: strategy {strategy.name} counts all clients alike")
    elif scenario.weight_exponent != 1 and scenario.cohort == 1:
        notes.append(f"{weighted} has no effect: one client a round has nobody to be weighed against")
    if strategy.name == "fedtrimmedavg":
        beta = strategy.settings("strategy", STRATEGIES)["beta"]
        if beta * scenario.cohort < 1:
            less = f"it cuts off less than one of {scenario.cohort} clients"
            notes.append(f"strategy.beta = {beta:g} has no effect: {less}")
    return notes


def cautions(scenario: Scenario) -> list[str]:
    """What a possible scenario's pieces do not do that their names may promise, a sentence each."""
    strategy, notes, built = scenario.strategy, list[str](), build(scenario)
    if not scenario.local.rate:
        notes.append("local.rate = 0 lets no client learn by gradients")
    if scenario.schedule.name == "plateau" and len(set(course(scenario).tasks)) > 1:
        why = "it watches one loss, of images of all stages as they are, which rises while a stage is learned"
        notes.append(f"schedule = plateau may end the run within a stage: {why}; restarts is for stages")
    if (needed := getattr(built, "needed", 1)) == scenario.cohort > 1:
        why = f"it needs {needed} replies and {needed} clients are asked"
        notes.append(f"strategy = {strategy.name} keeps the old weights where one is silent or refused: {why} (cohort)")
    if scenario.leave and any(method.counts_all for method in built.client()):
        notes.append(f"strategy = {strategy.name} goes on counting what clients that leave have sent (leave)")
    if strategy.name in CUTTING:
        model = of(scenario)
        weights = [np.zeros(shape, np.float32) for shape in model.shapes]
        senders = [part.name for part in scenario.methods if part.build("methods", METHODS, model).shapes(weights)]
        why = f"strategy = {strategy.name} judges weights only"
        notes += [f"methods = {name} sends something else, too, which counts of all clients: {why}" for name in senders]
    return notes


def _of_methods(scenario: Scenario) -> list[str]:
    """Of `without_effect`: settings of what is learned without forgetting, in a stream too short for them."""
    shared, notes = course(scenario), []
    for head in closed_forms(scenario):
        if (warm := head.warms(scenario)) >= scenario.rounds and not scenario.past:
            why = f"its body trains in {warm} of {scenario.rounds} rounds"
            notes.append(
                f"methods = {head.name} has no effect: {why}, and no head is solved (methods.{head.name}.warm)"
            )
    if len(shared.tasks) == 1 and not scenario.past:
        why = "has no effect: the stream has one stage"
        later = "what it keeps serves a run that goes on from this one (--from), or a device whose folder grows"
        notes += [f"methods = {part.name} {why}; {later}" for part in scenario.methods if _looks_back(part)]
        named = {"order": scenario.order, "lag": scenario.lag}
        notes += [f"{name} = {value:g} {why}" for name, value in named.items() if value]
        if scenario.gate.forgetting < 1:
            notes.append(f"gate.forgetting = {scenario.gate.forgetting:g} {why}, so there is nothing to forget")
        if scenario.probe and not closed_forms(scenario):
            notes.append(f"probe = {scenario.probe} {why}, so there is no forgetting to split")
    elif any(part.name == "lwf" for part in scenario.methods) and _has_all(scenario):
        why = "every stage brings a client all classes, and lwf teaches those that are not there"
        notes.append(f"methods = lwf has no effect: {why}")
    return notes


def _has_all(scenario: Scenario) -> bool:
    """Has a client images of each class in each stage, almost surely: dealt at random in equal parts, and enough of them?"""
    deals, stages = scenario.partition.settings("partition", PARTITIONERS), len(course(scenario).tasks)
    if scenario.partition.name == "redealt":
        equal, stages = not deals["per_client"], 1
    else:
        equal = scenario.partition.name == "iid"
    classes = of(scenario).classes
    if not equal or {test.labels for test in course(scenario).tests} != {tuple(range(classes))}:
        return False
    return (scenario.train or len(load(scenario).train)) / scenario.clients / stages >= ENOUGH * classes


def _of_model(scenario: Scenario) -> list[str]:
    """Of `without_effect`: the model's settings that its norm, or the run's length, makes idle."""
    model, notes = scenario.model, []
    if model.fix_norm and model.norm != "batch":
        notes.append(f"model.fix_norm = {model.fix_norm} has no effect: model.norm = {model.norm} has no statistics")
    elif model.fix_norm > scenario.rounds:
        why = f"the run ends with round {scenario.rounds} (rounds)"
        notes.append(f"model.fix_norm = {model.fix_norm} has no effect: {why}")
    if model.groups != Model.groups and model.norm != "group":
        notes.append(f"model.groups = {model.groups} has no effect: model.norm = {model.norm}")
    return notes


def _looks_back(part: Part) -> bool:
    return part.name in LOOK_BACK and not (part.name == "lwf" and part.args.get("teacher") == "round")


def listing() -> dict[str, dict[str, str]]:
    """Everything that can be named, by kind, each with its one-line meaning and its settings."""
    pieces = {"scenario": {name: meaning for name, (_, meaning) in SCENARIOS.items()}}
    for kind, registry in REGISTRIES.items():
        pieces[kind] = {name: _line(piece) for name, piece in registry.items()}
    pieces["model"] = {name: _line(piece) for name, piece in MODELS.items()}
    pieces["data"] = {name: _described(entry.spec) for name, entry in DATASETS.items()}
    pieces["condition"] = {name: f"{_line(piece)}  [{usual:g}]" for name, (piece, usual) in CONDITIONS.items()}
    return pieces


def _described(spec: DatasetSpec) -> str:
    rows, columns = spec.image
    return f"{spec.classes} classes, {rows} × {columns} pixels"


def _line(piece: Callable[..., Any]) -> str:
    settings = ", ".join(f"{name}={p.default}" for name, p in options(piece).items())
    return f"{meaning(piece)}  [{settings}]" if settings else meaning(piece)


def meaning(piece: Callable[..., Any]) -> str:
    """What a piece does: the first paragraph of its docstring, in a line."""
    return " ".join((piece.__doc__ or "").strip().split("\n\n")[0].split())
