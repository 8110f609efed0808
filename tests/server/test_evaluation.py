"""How good the global model is: counted on every image, and asked of clients, at most a hundred."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from flwr.app import RecordDict

from core.config.scenario import Scenario
from core.data import Data, load
from core.scores import Sums
from fl import wire
from fl.messages import Task
from server import evaluation
from server.record import Shard
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


def asked(clients: Mapping[int, Client], scenario: Scenario) -> tuple[list[Shard], dict[int, str]]:
    with mock.patch("fl.channel.time", Clock()):
        return evaluation.clients(federation(FakeGrid(clients), scenario), START, 2)


def test_clients_say_what_they_hold_and_how_good_the_model_is_for_them(tiny: Scenario) -> None:
    shards, failed = asked(dict.fromkeys(range(4), examined), tiny)
    assert failed == {} and [one.client for one in shards] == [0, 1, 2, 3]
    assert shards[1] == Shard(1, 20, (1,) * 10, {"rotate": 0.25, "blur": 0.5}, accuracy=0.5, tested=20)


def test_clients_that_do_not_answer_or_answer_nonsense_are_named(tiny: Scenario) -> None:
    clients: dict[int, Client] = {0: examined, 1: broken, 2: silent, 3: lambda task: wire.reply(honest(task))}
    shards, failed = asked(clients, replace(tiny, round_timeout=0.2))
    assert [one.client for one in shards] == [0]
    assert "disk is full" in failed[1] and "no answer" in failed[2] and "records" in failed[3]


def test_of_many_clients_the_same_hundred_are_asked(tiny: Scenario) -> None:
    many, drawn = replace(tiny, clients=250), []
    for _ in "ab":
        shards, failed = asked(dict.fromkeys(range(250), examined), many)
        drawn.append([one.client for one in shards])
    assert drawn[0] == drawn[1] == sorted(set(drawn[0])) and len(drawn[0]) == 100 and failed == {}
    assert drawn[0][-1] > 150  # not simply the first
