"""How good the global model is: counted on every image, and asked of clients, at most a hundred."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core import model
from core.config.scenario import Scenario
from core.data import Data, load
from fl import wire
from fl.messages import Task
from server import evaluation
from tests.fakes import START, FakeGrid, Onlooker, broken, honest, silent

WEIGHTS = model.initial(1)


@pytest.fixture(scope="module")
def digits(tiny: Scenario) -> Data:
    return load(tiny)


def test_the_score_is_that_of_keras(digits: Data) -> None:
    keras = model.keras_model(WEIGHTS, probabilities=True)
    p = keras(digits.test.x[..., None].astype(np.float32) / 255).numpy()
    sums = evaluation.evaluate(WEIGHTS, digits.test)
    assert sums.correct == int((p.argmax(1) == digits.test.y).sum()) and sums.examples == 150
    assert sums.loss == pytest.approx(-np.log(p[np.arange(150), digits.test.y]).sum(), rel=1e-4)


def test_the_confusion_matrix_counts_every_image_once(digits: Data) -> None:
    matrix = evaluation.confusion(WEIGHTS, digits.test)
    assert matrix.shape == (10, 10) and matrix.sum() == 150
    assert matrix.sum(1).tolist() == np.bincount(digits.test.y, minlength=10).tolist()  # rows are the true classes
    assert matrix.trace() == evaluation.evaluate(WEIGHTS, digits.test).correct


def judging(task: Task) -> object:
    """An honest client asked to judge."""
    return wire.reply(replace(honest(task), arrays=[], labels=(1,) * 10, looks=(0.25, 0.5)))


def test_clients_say_what_they_hold_and_how_good_the_model_is_for_them(tiny: Scenario) -> None:
    told, failed = evaluation.clients(FakeGrid(dict.fromkeys(range(4), judging)), tiny, START, Onlooker(), 2)  # type: ignore[arg-type]
    assert failed == {} and [one["client"] for one in told] == [0, 1, 2, 3]
    assert told[1] == {
        "client": 1, "examples": 20, "labels": [1] * 10, "looks": {"rotate": 0.25, "blur": 0.5}, "accuracy": 0.5,
        "tested": 20,
    }  # fmt: skip


def test_clients_that_do_not_answer_or_answer_nonsense_are_named(tiny: Scenario) -> None:
    grid = FakeGrid({0: judging, 1: broken, 2: silent, 3: lambda task: wire.reply(honest(task))})  # type: ignore[dict-item]
    told, failed = evaluation.clients(grid, replace(tiny, round_timeout=0.2), START, Onlooker(), 2)
    assert [one["client"] for one in told] == [0]
    assert "disk is full" in failed[1] and "no answer" in failed[2] and "records" in failed[3]


def test_of_many_clients_the_same_hundred_are_asked(tiny: Scenario) -> None:
    many, asked = replace(tiny, clients=250), []
    for _ in "ab":
        grid = FakeGrid(dict.fromkeys(range(250), judging))  # type: ignore[arg-type]
        told, failed = evaluation.clients(grid, many, START, Onlooker(), 2)
        asked.append([one["client"] for one in told])
    assert asked[0] == asked[1] == sorted(set(asked[0])) and len(asked[0]) == 100 and failed == {}
    assert asked[0][-1] > 150  # not simply the first
