"""MOON's contrast against the paper's formula, and where there is none: it is then averaging, to the last bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clients.learner import learn
from clients.sources.simulated import shard
from core.config.part import Part
from core.config.scenario import Model, Scenario
from core.data import read
from core.methods.base import Memory
from core.models import MODELS, ModelSpec, stock
from core.models.layers import Dense, Flatten
from core.plan import Lesson, Pull, Rehearsal, draw
from fl import strategies
from fl.messages import Task
from fl.strategies.moon import ModelContrast
from tests.fakes import federate, losses_on_both_engines, same
from tests.models import engine, initial, spec

START, PREVIOUS = initial(3), initial(4)
MU, TAU = 2.0, 0.7


def test_a_step_is_the_papers_loss() -> None:
    """Written as the paper writes it, with the cosines and the softmax of two."""
    scenario, digits = Scenario("moon"), read("mnist")[0].take(np.arange(32))
    lesson = Lesson(0, START, digits, np.zeros((32, 0), np.float32), 0, 2, 0.05, scenario)
    plan = draw(lesson, Pull.none(START), Rehearsal.none())
    memory: Memory = {"moon": {0: {f"w{i}": w for i, w in enumerate(PREVIOUS)}}}
    contrast = ModelContrast(spec(), MU, TAU).contrast(plan, memory, lesson, engine)
    learned = engine.train(START, replace(plan, contrast=contrast)).weights

    x, y = (tf.gather(array, plan.order[0]) for array in (plan.images / np.float32(255), plan.labels))
    weights = [tf.constant(w) for w in START]

    def similar(z: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        return tf.exp(tf.reduce_sum(z * other, 1) / tf.norm(z, axis=1) / tf.norm(other, axis=1) / TAU)

    with tf.GradientTape() as tape:
        tape.watch(weights)
        z, near, far = (spec().body(stock, w, x) for w in (weights, START, PREVIOUS))
        con = -tf.math.log(similar(z, near) / (similar(z, near) + similar(z, far)))
        cross = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=spec().head(stock, weights, z))
        loss = tf.reduce_mean(cross + MU * con)
    slopes = tape.gradient(loss, weights)
    plain = engine.train(START, plan).weights
    for new, old, slope in zip(learned, START, slopes, strict=True):
        assert new == pytest.approx(old - np.float32(0.05) * slope.numpy(), abs=1e-6)
    assert max(np.abs(a - b).max() for a, b in zip(learned, plain, strict=True)) > 1e-4


def test_features_that_are_all_zero_are_held_to_nothing() -> None:
    dead = [np.zeros_like(w) for w in START]
    scenario, digits = Scenario("moon"), read("mnist")[0].take(np.arange(32))
    lesson = Lesson(0, dead, digits, np.zeros((32, 0), np.float32), 0, 2, 0.05, scenario)
    plan = draw(lesson, Pull.none(dead), Rehearsal.none())
    memory: Memory = {"moon": {0: {f"w{i}": w for i, w in enumerate(PREVIOUS)}}}
    contrast = ModelContrast(spec(), MU, TAU).contrast(plan, memory, lesson, engine)
    assert contrast and contrast.apart.any()
    assert same(engine.train(dead, replace(plan, contrast=contrast)).weights, engine.train(dead, plan).weights)


def test_a_clients_memory_is_one_model_whatever_the_number_of_rounds(tiny: Scenario) -> None:
    scenario, memory = replace(tiny, strategy=Part("moon")), dict[str, object]()
    for round in (1, 2):
        update, memory = learn(shard(scenario.json(), 1), Task(scenario, round, 1, 0.05, START), memory, engine)  # type: ignore[arg-type,assignment]
        (slot,) = memory["moon"].values()  # type: ignore[attr-defined]
        assert same(list(slot.values()), update.arrays)


def test_without_weight_and_in_the_first_round_it_is_averaging(tiny: Scenario, tmp_path: Path) -> None:
    def ends(rounds: int, **settings: float) -> str:
        part = Part("moon", settings) if settings else Part("fedavg")
        folder = tmp_path / f"{rounds} {settings}"
        return federate(replace(tiny, rounds=rounds, cohort=4, strategy=part), folder).weights_sha256

    assert ends(1) == ends(1, mu=1.0)
    assert ends(2) == ends(2, mu=0.0) != ends(2, mu=1.0)


@pytest.mark.slow
def test_on_litert_it_learns_what_it_learns_on_tensorflow(tiny: Scenario, tmp_path: Path) -> None:
    base = replace(tiny, rounds=3, cohort=4, looks=(), augment=(), strategy=Part("moon", {"mu": 5.0}))
    losses = losses_on_both_engines(base, tmp_path)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_model_whose_features_are_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def linear(image: tuple[int, int], classes: int) -> ModelSpec:
        return ModelSpec("linear", image, classes, (Flatten(), Dense("logits", classes, relu=False)))

    monkeypatch.setitem(MODELS, "linear", linear)
    with pytest.raises(ValueError, match=r"model\.kind = linear are pixels"):
        strategies.build(Scenario("moon", strategy=Part("moon"), model=Model("linear")))
