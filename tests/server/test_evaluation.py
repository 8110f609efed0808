"""How good the global model is: counted on every image, and asked of clients, at most a hundred."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from flwr.app import RecordDict

from core.config.part import Part
from core.config.scenario import Scenario
from core.data import Data, Examples, load
from core.scores import Sums
from fl import wire
from fl.messages import Task, Update
from fl.wire import Expected
from server import evaluation
from server.evaluation import Probe
from server.record import RoundRecord, Shard
from server.rounds import Round
from tests import models as model
from tests.fakes import START, Client, Clock, FakeGrid, broken, federation, honest, silent
from tests.models import engine

WEIGHTS = model.initial(1)


@pytest.fixture(scope="module")
def digits(tiny: Scenario) -> Data:
    return load(tiny)


def test_the_score_is_that_of_keras(digits: Data) -> None:
    keras = model.keras_model(WEIGHTS, probabilities=True)
    p = keras(digits.test.x[..., None].astype(np.float32) / 255).numpy()
    sums = evaluation.evaluate(engine, WEIGHTS, digits.test)
    assert sums.correct == int((p.argmax(1) == digits.test.y).sum()) and sums.examples == 150
    assert sums.loss == pytest.approx(-np.log(p[np.arange(150), digits.test.y]).sum(), rel=1e-4)


def test_the_confusion_matrix_counts_every_image_once(digits: Data) -> None:
    matrix = evaluation.confusion(engine, WEIGHTS, digits.test)
    assert matrix.shape == (10, 10) and matrix.sum() == 150
    assert matrix.sum(1).tolist() == np.bincount(digits.test.y, minlength=10).tolist()  # rows are the true classes
    assert matrix.trace() == evaluation.evaluate(engine, WEIGHTS, digits.test).correct


def examined(task: Task) -> RecordDict:
    """An honest client asked to test."""
    sums = Sums(10.0, 10, 20)
    return wire.reply(replace(honest(task), arrays=[], sums=sums, labels=(1,) * 10, looks=(0.25, 0.5)))


def evaluated(clients: Mapping[int, Client], scenario: Scenario) -> tuple[list[Shard], dict[int, str]]:
    with mock.patch("fl.channel.time", Clock()):
        return evaluation.clients(federation(FakeGrid(clients), scenario), START, 2)


def test_clients_say_what_they_hold_and_how_good_the_model_is_for_them(tiny: Scenario) -> None:
    shards, failed = evaluated(dict.fromkeys(range(4), examined), tiny)
    assert failed == {} and [one.client for one in shards] == [0, 1, 2, 3]
    assert shards[1] == Shard(1, 20, (1,) * 10, {"rotate": 0.25, "blur": 0.5}, accuracy=0.5, tested=20)


def test_clients_that_do_not_answer_or_answer_nonsense_are_named(tiny: Scenario) -> None:
    clients: dict[int, Client] = {0: examined, 1: broken, 2: silent, 3: lambda task: wire.reply(honest(task))}
    shards, failed = evaluated(clients, replace(tiny, round_timeout=0.2))
    assert [one.client for one in shards] == [0]
    assert "disk is full" in failed[1] and "no answer" in failed[2] and "records" in failed[3]


def test_of_many_clients_the_same_hundred_are_asked(tiny: Scenario) -> None:
    many, drawn = replace(tiny, clients=250), []
    for _ in "ab":
        shards, failed = evaluated(dict.fromkeys(range(250), examined), many)
        drawn.append([one.client for one in shards])
    assert drawn[0] == drawn[1] == sorted(set(drawn[0])) and len(drawn[0]) == 100 and failed == {}
    assert drawn[0][-1] > 150  # not simply the first


TWO = {"stream": Part("classes", {"per_task": 5}), "probe": 20}


def over(record: RoundRecord, updates: Mapping[int, list[np.ndarray]]) -> Round:
    """A round that left the weights of seed 2."""
    return Round(record, model.initial(2), {}, {}, updates)


def test_the_probe_has_as_many_images_of_every_task_and_knows_what_each_client_met(
    tiny: Scenario, digits: Data
) -> None:
    scenario = replace(tiny, **TWO)  # type: ignore[arg-type]
    suite = evaluation.TestSuite.of(scenario, digits.test, engine)
    probe = Probe(scenario, suite, WEIGHTS)
    counts = [np.bincount(part, minlength=10).tolist() for part in np.split(probe.images.y, probe.ends)]
    assert counts == [[4] * 5 + [0] * 5, [0] * 5 + [4] * 5]
    history = [RoundRecord(1, tasks={0: 0, 1: 0, 2: 0}, without=(2,))]
    row = RoundRecord(2, clients=(0, 1, 2, 3), tasks={0: 1, 1: 0, 2: 1, 3: 1})
    found = probe.split(over(row, {client: model.initial(3 + client) for client in range(4)}), history)

    def reads(arrays: list[np.ndarray], task: int) -> float:
        mine = probe.images.take(np.arange(20) + 20 * task)
        return evaluation.evaluate(engine, arrays, mine).accuracy

    after = model.initial(2)
    # Only client 0 met task 0 and is taught another now; 1 is being taught it still, 2 had nothing of it, 3 was not there.
    assert found.temporal == pytest.approx(reads(WEIGHTS, 0) - reads(model.initial(3), 0))
    spatial = [
        np.mean([reads(model.initial(3 + client), task) - reads(after, task) for task in tasks])
        for client, tasks in enumerate([(0, 1), (0,), (1,), (1,)])
    ]
    assert found.spatial == pytest.approx(np.mean(spatial))
    assert found.temporal_error is not None and found.spatial_error


def test_where_the_server_solves_the_head_what_it_changes_is_spatial(tiny: Scenario, digits: Data) -> None:
    scenario = replace(tiny, **TWO)  # type: ignore[arg-type]
    probe = Probe(scenario, evaluation.TestSuite.of(scenario, digits.test, engine), WEIGHTS)
    before = [part.mean() for part in probe.newest]
    row = RoundRecord(2, clients=(0, 1), tasks={0: 1, 1: 1}, without=(1,))
    found = probe.split(over(row, {}), [RoundRecord(1, clients=(0, 1), tasks={0: 0, 1: 0})])
    assert found.temporal == 0
    assert found.spatial == pytest.approx(
        np.mean([b - part.mean() for b, part in zip(before, probe.newest, strict=True)])
    )


def test_the_gate_reads_every_tasks_validation_images_under_its_condition(tiny: Scenario, digits: Data) -> None:
    scenario = replace(tiny, stream=Part("domains", {"conditions": "plain+invert"}))
    read = evaluation.Tests(scenario, digits, WEIGHTS, engine).judged(WEIGHTS)
    inverted = Examples(255 - digits.validation.x, digits.validation.y)
    wanted = [evaluation.evaluate(engine, WEIGHTS, one).accuracy for one in (digits.validation, inverted)]
    assert read == pytest.approx(wanted)
    none = load(replace(scenario, validation=0))
    assert evaluation.Tests(replace(scenario, validation=0), none, WEIGHTS, engine).judged(WEIGHTS) == (None, None)


def test_a_client_without_test_images_has_no_accuracy(tiny: Scenario) -> None:
    untested = Update(1, [], 60, Sums())
    reply = wire.update(wire.reply(untested), Expected(1, [], round=0))
    assert reply.own_examples == 60 and evaluation._shard(reply, tiny).accuracy is None


def test_of_earlier_digits_the_gate_reads_what_the_run_before_held_out(tiny: Scenario) -> None:
    first = replace(tiny, digits=(0, 1, 2, 3))
    later = replace(tiny, digits=(4, 5), past=1, past_tasks=("0,1,2,3 plain",))
    assert load(later).earlier.x.tobytes() == load(first).validation.x.tobytes()
    assert not len(load(first).earlier) and None not in evaluation.Tests(later, load(later), WEIGHTS, engine).judged(
        WEIGHTS
    )
