"""One budget, in steps and in gradient examples: equal for all methods and baselines, in every preset. Nothing is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clients.learner import learn
from clients.sources.simulated import Shard
from core.arrays import Arrays
from core.config.part import Part
from core.config.scenario import Scenario
from core.data import Examples, load
from core.methods import METHODS
from core.models import of
from core.plan import Learned, Plan, budget
from core.scores import Sums
from core.stream import course, ends, lay
from fl import roster
from fl.messages import Task, Update
from fl.partition import partition
from scenarios.experiment import baselines
from scenarios.experiment.baselines import centralized, local
from scenarios.presets import SCENARIOS

CLOSED_FORM = ("acil", "slda")  # their heads are solved; they take no gradient step
WARM = "stsa"  # so is this one's, after the rounds of the first stage, in which its body trains
SURROGATE = "fedssi"  # trains one beside, on the same rows: the only method that takes more
ROUNDS = 12
STAGED = [name for name, (preset, _) in SCENARIOS.items() if len(course(preset).tasks) > 1]
# With every method: new labels, new conditions, each client in an order of its own. With the others only one that rehearses.
KINDS = ("class_incremental", "domain_incremental", "asynchronous")


def small(name: str) -> Scenario:
    """A preset with fewer clients, images and rounds; its stream, its local training, who is there when are as they are."""
    preset = SCENARIOS[name][0]
    clients, rounds = min(10, preset.clients), max(ROUNDS, len(course(preset).tasks))
    rounds = preset.rounds if preset.join or preset.leave else min(rounds, preset.rounds)
    return replace(
        preset, clients=clients, cohort=min(preset.cohort, clients), train=1500, validation=100, test=100, rounds=rounds,
        looks=(), augment=(),
    )  # fmt: skip


def shards(scenario: Scenario) -> list[Examples]:
    """What each client holds; blank images, for nobody looks at them."""
    labels = load(scenario).train.y
    rows = partition(scenario.partition, labels, scenario.clients, scenario.minimum, scenario.seed)
    return [Examples(np.zeros((len(mine), 28, 28), np.uint8), labels[mine]) for mine in rows]


def due(scenario: Scenario) -> list[dict[int, int]]:
    """{client: steps} of each round, by hand: passes over what a client holds of its stage, in full batches."""
    streams = [lay(scenario, mine.y, client) for client, mine in enumerate(shards(scenario))]
    found = []
    for number in range(1, scenario.rounds + 1):
        own = {c: len(streams[c].parts[streams[c].stage(number)]) for c in roster.choose(scenario, number)}
        epochs, batch = scenario.local.epochs, scenario.local.batch
        found.append({c: max(1, round(n * epochs / batch)) if n else 0 for c, n in own.items()})
    return found


class Counting:
    """An engine that takes no step, and counts those that it is asked for."""

    def __init__(self, scenario: Scenario) -> None:
        self.model, self.steps = of(scenario), 0

    def train(self, start: Arrays, plan: Plan) -> Learned:
        self.steps += len(plan.order)
        assert plan.order.size == len(plan.order) * (plan.order.shape[1] if len(plan.order) else 0)
        return Learned(start, Sums(0.0, 0, plan.order.size), [np.zeros_like(w) for w in start] if plan.path else [])

    def logits(self, arrays: Arrays, images: np.ndarray) -> np.ndarray:
        return np.zeros((len(images), self.model.classes), np.float32)

    def features(self, arrays: Arrays, images: np.ndarray) -> np.ndarray:
        return np.zeros((len(images), self.model.features), np.float32)

    def gradient(self, arrays: Arrays, images: np.ndarray, labels: np.ndarray) -> Arrays:
        return [np.zeros_like(w) for w in arrays]

    def fisher(self, arrays: Arrays, images: np.ndarray) -> Arrays:
        return [np.zeros_like(w) for w in arrays]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, method", [(name, method) for name in STAGED for method in METHODS if name in KINDS or method == "replay"]
)
def test_every_method_takes_the_steps_of_its_clients_own_examples(name: str, method: str) -> None:
    scenario = replace(small(name), methods=(Part(method),), softmax=Part("plain"))
    wanted, start, examples = due(scenario), of(scenario).initial(0), shards(scenario)
    for client in (0, scenario.clients - 1):
        memory: Any = {}
        for number, cohort in enumerate(wanted, 1):
            engine = Counting(scenario)
            mine = Shard(client, examples[client], np.zeros((len(examples[client]), 0), np.float32), {})
            done, memory = learn(mine, Task(scenario, number, client, 0.1, start), memory, engine)  # type: ignore[arg-type]
            solved = method in CLOSED_FORM or (method == WARM and number > ends(scenario)[0])
            expected = 0 if solved else cohort.get(client)
            if expected is not None:
                assert engine.steps == expected * (2 if method == SURROGATE else 1)
                assert not expected or done.sums.examples == expected * scenario.local.batch


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_baselines_of_every_preset_take_as_many_steps_as_its_clients(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario, steps = small(name), list[tuple[int, int]]()

    def counted(shard: Shard, task: Task, memory: Any, engine: Any) -> tuple[Update, Any]:
        stream = lay(task.scenario, shard.train.y, task.client)
        assert len(stream.parts) == 1  # it has all of its data from the first round on
        count = budget(task.scenario, len(stream.parts[0]))
        steps.append((task.round, count))
        return Update(task.client, task.arrays, len(shard.train), Sums(0.0, 0, count * scenario.local.batch)), {}

    for module in (centralized, local):
        monkeypatch.setattr(module, "learn", counted)
        monkeypatch.setattr(module.evaluation, "evaluate", lambda *_: Sums(1.0, 1, 2))
        monkeypatch.setattr(module, "default", lambda _: SimpleNamespace())
    wanted = [sum(cohort.values()) for cohort in due(scenario)]
    for kind in ("centralized", "local"):
        steps.clear()
        folder = tmp_path / kind
        folder.mkdir()
        rounds = getattr(centralized if kind == "centralized" else local, kind)(
            baselines.reduced(scenario, kind), folder
        )
        list(rounds)
        sums = [sum(count for number, count in steps if number == one) for one in range(1, scenario.rounds + 1)]
        assert sums == wanted, kind
        done = baselines.result(folder)
        assert done and done.curve[-1].seen == sum(wanted) * scenario.local.batch


@pytest.mark.parametrize("method", ["replay", "joint"])
def test_who_rehearses_while_it_has_nothing_of_its_own_spends_more(method: str) -> None:
    scenario = replace(small("class_incremental"), partition=Part("labels", {"k": 2}), methods=(Part(method),))
    examples, start = shards(scenario), of(scenario).initial(0)
    empty = [c for c, mine in enumerate(examples) if 0 in mine.y and not {8, 9} & set(mine.y.tolist())]
    assert empty  # else nobody has nothing in the last stage
    for idle, some in (("rest", False), ("rehearse", True)):
        memory: Any = {}
        one = replace(scenario, idle=idle)
        mine = Shard(empty[0], examples[empty[0]], np.zeros((len(examples[empty[0]]), 0), np.float32), {})
        for number in (1, one.rounds):
            engine = Counting(one)
            _, memory = learn(mine, Task(one, number, empty[0], 0.1, start), memory, engine)  # type: ignore[arg-type]
        assert (engine.steps > 0) == some
