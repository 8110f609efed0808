"""Reductions, held to the last bit: what should change nothing changes nothing. Each runs the whole way through."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.learner import learn
from clients.sources.simulated import Shard, shard
from core.arrays import digest
from core.config.part import Part
from core.config.scenario import Local, Model, Scenario
from core.engines import tensorflow
from core.engines.base import Engine
from core.methods import METHODS, Finetune
from core.methods.base import Memory
from core.plan import Lesson, Plan, Pull, Rehearsal, draw
from fl import roster
from fl.messages import Task
from scenarios.backends.local import LocalGrid
from scenarios.experiment import baselines
from scenarios.experiment.baselines.centralized import centralized
from tests.fakes import FakeGrid, federate, play, same
from tests.models import engine, initial, spec

Weights = list[np.ndarray]
START = initial(2)


@pytest.fixture(scope="module")
def busy(tiny: Scenario) -> Scenario:
    """All that a client can be asked to do at once."""
    return replace(tiny, noise=0.1, model=Model(dropout=0.3, l2=0.001), local=Local(momentum=0.9, epochs=1.5))


@pytest.fixture(scope="module")
def client_shard(busy: Scenario) -> Shard:
    return shard(busy.json(), 1)


@pytest.fixture(scope="module")
def lesson(busy: Scenario, client_shard: Shard) -> Lesson:
    strength = np.tile(client_shard.strength, (len(client_shard.train), 1))
    return Lesson(0, START, client_shard.train, strength, client=1, round=1, rate=0.05, scenario=busy)


@pytest.fixture(scope="module")
def plain(lesson: Lesson) -> Weights:
    """What fine-tuning learns."""
    return trained(lesson, Pull.none(START))


def trained(lesson: Lesson, pull: Pull, change: Callable[[Plan], Plan] = lambda plan: plan) -> Weights:
    return engine.train(START, change(draw(lesson, pull, Rehearsal.none()))).weights


def learned(shard: Shard, scenario: Scenario) -> Weights:
    """A client's weights after its first round."""
    update, _ = learn(shard, Task(scenario, 1, shard.client, 0.05, START), {}, engine)
    return update.arrays


# ── zero pull and empty rehearsal ≡ fine-tuning ──

ZERO_PULLS = {
    "towards the start": Pull.towards(START, 0.0),
    "towards elsewhere": Pull.towards([w + 1 for w in START], 0.0),
    "of the weights' shapes": Pull([0 * w for w in START], [0 * w for w in START]),
    "decay of nothing": Pull.decay(START, 0.0),
    "a sum": Pull.none(START) + Pull.towards(START, 0.0),
}


@pytest.mark.parametrize("name", ZERO_PULLS)
def test_a_zero_pull_is_fine_tuning(lesson: Lesson, plain: Weights, name: str) -> None:
    assert same(trained(lesson, ZERO_PULLS[name]), plain) and not same(plain, START)


def test_a_mask_of_ones_is_no_dropout(lesson: Lesson) -> None:
    free = replace(lesson, scenario=replace(lesson.scenario, model=Model()))
    masked = trained(
        free, Pull.none(START), lambda plan: replace(plan, dropout_mask=np.ones((*plan.order.shape, 128), "f4"))
    )
    assert same(masked, trained(free, Pull.none(START)))


@pytest.mark.parametrize("methods", ["finetune", "finetune+finetune"])
def test_a_chain_of_fine_tuning_is_fine_tuning(
    busy: Scenario, client_shard: Shard, plain: Weights, methods: str
) -> None:
    scenario = replace(busy.with_(("methods", methods)), model=replace(busy.model, l2=0.0))
    assert same(learned(client_shard, scenario), plain)


class Idle(Finetune):
    """A method that holds with no force and rehearses nothing."""

    def pull(self, memory: Memory, lesson: Lesson) -> Pull:
        return Pull.towards(lesson.start, 0.0)

    def rehearse(self, memory: Memory, lesson: Lesson, engine: Engine) -> Rehearsal:
        return replace(Rehearsal.none(), share=0.5)


def test_a_method_that_does_nothing_is_fine_tuning(
    busy: Scenario, client_shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "idle", Idle)
    plain, idle = (learned(client_shard, busy.with_(("methods", name))) for name in ("finetune", "idle"))
    assert same(idle, plain)


TRAINING = [name for name in METHODS if name not in ("acil", "slda")]  # these take no step


@pytest.mark.parametrize("name", TRAINING)
def test_a_method_in_its_first_round_is_fine_tuning(busy: Scenario, client_shard: Shard, name: str) -> None:
    """Nothing is remembered yet, so nothing can hold or be rehearsed."""
    plain, other = (learned(client_shard, busy.with_(("methods", n))) for n in ("finetune", name))
    assert same(other, plain)


# ── through the whole federation ──


def test_prox_without_mu_is_averaging(busy: Scenario, tmp_path: Path) -> None:
    reports = [
        federate(replace(busy, strategy=part), tmp_path / str(i))
        for i, part in enumerate([Part("fedavg"), Part("fedprox", {"mu": 0.0}), Part("fedprox", {"mu": 1.0})])
    ]
    assert reports[0].weights_sha256 == reports[1].weights_sha256 != reports[2].weights_sha256


def test_trimming_nothing_is_averaging_two_equal_clients(busy: Scenario, tmp_path: Path) -> None:
    """Two, for halves are exact: with more, sums are rounded in another order (see tests/fl/test_aggregation.py)."""
    equal = replace(busy, partition=Part("iid"), cohort=2)
    average, trimmed = (
        federate(replace(equal, strategy=part), tmp_path / part.name)
        for part in (Part("fedavg"), Part("fedtrimmedavg", {"beta": 0.0}))
    )
    assert average.weights_sha256 == trimmed.weights_sha256


@pytest.mark.parametrize("part", [Part("fedavgm", {"rate": 1.0, "momentum": 0.0}), Part("fedprox", {"mu": 0.0})])
def test_a_server_that_adds_nothing_is_averaging(part: Part) -> None:
    scenario = Scenario("laws", clients=4, cohort=4, rounds=3)
    one, other = (play(FakeGrid(), replace(scenario, strategy=p))[-1].arrays for p in (Part("fedavg"), part))
    assert same(one, other)


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_federation_of_one_is_the_centralized_baseline(busy: Scenario, schedule: str, tmp_path: Path) -> None:
    one = replace(busy, clients=1, cohort=1, rounds=3, schedule=Part(schedule))
    report = federate(one, tmp_path)
    list(centralized(baselines.reduced(one, "centralized"), tmp_path / "baseline"))
    baseline = baselines.result(tmp_path / "baseline")
    assert baseline and baseline.weights_sha256 == report.weights_sha256
    assert baseline.best == report.best["federated"] and baseline.best and baseline.best.weights_sha256
    assert baseline.curve == tuple(row.point for row in report.history)


@pytest.mark.parametrize("change", [{"name": "other"}, {"round_timeout": 99.0}])
def test_what_only_names_or_waits_changes_nothing(tiny: Scenario, change: dict[str, Any], tmp_path: Path) -> None:
    one, other = (federate(s, tmp_path / s.name / str(i)) for i, s in enumerate([tiny, replace(tiny, **change)]))
    assert one.weights_sha256 == other.weights_sha256


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"noise": 0.2}, {"looks": ()}, {"augment": ()}, {"cohort": 2},
     {"model": Model(dropout=0.3)}, {"model": Model(l2=0.01)}, {"local": Local(momentum=0.5)}],
)  # fmt: skip
def test_what_should_matter_matters(tiny: Scenario, change: dict[str, Any], tmp_path: Path) -> None:
    one, other = (federate(s, tmp_path / str(i)) for i, s in enumerate([tiny, replace(tiny, **change)]))
    assert one.weights_sha256 != other.weights_sha256


# ── isolation ──


class Mixed(LocalGrid):
    """Clients answer in an order of their own, last asked first."""

    def pull_messages(self, message_ids: Any) -> Any:
        self.unsent.reverse()
        return super().pull_messages(message_ids)


def test_the_order_in_which_clients_play_changes_nothing(busy: Scenario, tmp_path: Path) -> None:
    """So nothing of one client reaches the next in the same process."""
    plain = federate(busy, tmp_path / "plain")
    home = {"memory": str(tmp_path / "mixed" / "clients")}
    mixed = federate(busy, tmp_path / "mixed", grid=Mixed(roster.nodes(busy), home))
    assert plain.weights_sha256 == mixed.weights_sha256


ALONE = """
import scenarios
import sys
from clients.learner import learn
from clients.sources.simulated import shard
from core.arrays import digest
from core.config.scenario import Scenario
from core.engines import default
from core.models import of
from fl.messages import Task
scenario = Scenario.of(sys.argv[1])
task = Task(scenario, 1, 1, 0.05, of(scenario).initial(2))
update, _ = learn(shard(scenario.json(), 1), task, {}, default(scenario))
print(digest(update.arrays))
"""


@pytest.mark.slow
def test_a_client_after_others_learns_what_it_learns_alone_in_its_own_process(
    busy: Scenario, client_shard: Shard
) -> None:
    learn(shard(busy.json(), 0), Task(busy, 1, 0, 0.1, [w + 1 for w in START]), {}, engine)
    here = digest(learned(client_shard, busy))
    home = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, busy.json()], cwd=home, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [here]


def test_shapes_of_a_plan_do_not_grow_with_what_is_asked(lesson: Lesson, client_shard: Shard) -> None:
    """An engine traces its step once a process for each set of terms that there is, whatever the client, the round or the pull."""
    trained(lesson, Pull.none(START))
    trained(lesson, Pull.towards(START, 0.2))
    traced = tensorflow._loop.cache_info().misses
    longer = replace(lesson.scenario, local=replace(lesson.scenario.local, epochs=3.0))
    trained(replace(lesson, round=9, scenario=longer), Pull.none(START))
    trained(replace(lesson, round=9, scenario=longer), Pull([0.1 * w for w in START], START))
    trained(lesson, Pull.towards(START, 0.1))
    trained(
        replace(lesson, examples=client_shard.train.take(np.arange(20)), strength=lesson.strength[:20]),
        Pull.none(START),
    )
    assert tensorflow._loop.cache_info().misses == traced and len(spec().shapes) == 8
