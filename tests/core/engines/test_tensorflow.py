"""The engine against the stock formulation: Keras, its cross-entropy, a GradientTape and ten lines of SGD."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
import tensorflow as tf

from core import model
from core.data import Examples, read
from core.engines import judge
from core.engines import tensorflow as engine
from core.plan import Lesson, Plan, Pull, Rehearsal, draw
from core.scenario import Local, Model, Scenario
from tests.fakes import same

WEIGHTS = [w + np.float32(0.05) * (w.ndim == 1) for w in model.initial(3)]
Weights = list[np.ndarray]


@pytest.fixture(scope="module")
def digits() -> Examples:
    return read("mnist")[0].take(np.arange(96))


@pytest.fixture(scope="module")
def planned(digits: Examples) -> Callable[..., Plan]:
    """A plan of so many steps of 32."""

    def plan(steps: int, options: Model | None = None, **changes: object) -> Plan:
        scenario = Scenario("engine", model=options or Model(), local=Local(epochs=steps / 3))
        lesson = Lesson(0, WEIGHTS, digits, np.zeros((96, 0), np.float32), 0, 1, 0.05, scenario)
        return replace(draw(lesson, Pull.none(WEIGHTS), Rehearsal.none()), **changes)  # type: ignore[arg-type]

    return plan


def stock(weights: Weights, plan: Plan) -> Weights:
    """The same plan with what every TensorFlow user knows; hidden units are silenced between two Keras layers."""
    w, speed = weights, [np.zeros_like(w) for w in weights]
    keras = model.keras_model()
    *below, last = keras.layers
    cross_entropy = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    for rows, silenced, rate in zip(plan.order, plan.silenced, plan.rate, strict=True):
        keras.set_weights(w)
        with tf.GradientTape() as tape:
            z = last(
                reduce(lambda h, layer: layer(h), below, plan.images[rows, ..., None] / np.float32(255)) * silenced
            )
            matched = tf.reduce_mean((z - plan.logits[rows]) ** 2, 1) / 2
            loss = tf.reduce_mean(plan.hard[rows] * cross_entropy(plan.labels[rows], z) + plan.soft[rows] * matched)
        slopes = [g.numpy() for g in tape.gradient(loss, keras.trainable_weights)]
        slopes = [g + a * v + b for g, a, v, b in zip(slopes, plan.pull.a, w, plan.pull.b, strict=True)]
        speed = [plan.momentum * v + g for v, g in zip(speed, slopes, strict=True)]
        w = [v - rate * s for v, s in zip(w, speed, strict=True)]
    return w


def assert_close(ours: Weights, theirs: Weights) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == np.float32 and mine == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_the_stock_formulation(planned: Callable[..., Plan], steps: int, momentum: float) -> None:
    plan = planned(steps, momentum=momentum)
    learned, _ = engine.train(WEIGHTS, plan)
    assert_close(learned, stock(WEIGHTS, plan))
    assert max(np.abs(new - old).max() for new, old in zip(learned, WEIGHTS, strict=True)) > 1e-3


def test_a_pull_adds_its_gradient(planned: Callable[..., Plan]) -> None:
    pull = Pull.towards([w + 1 for w in WEIGHTS], 0.3) + Pull(model.decay(Model(l2=0.1)), Pull.none(WEIGHTS).b)
    plan = planned(1, pull=pull)
    learned, _ = engine.train(WEIGHTS, plan)
    assert_close(learned, stock(WEIGHTS, plan))
    free = engine.train(WEIGHTS, planned(1))[0]
    assert learned[7] - free[7] == pytest.approx(0.05 * 0.3, abs=1e-6)  # rate · strength · distance, for biases


def test_dropout_silences_hidden_units(planned: Callable[..., Plan]) -> None:
    plan = planned(2, Model(dropout=0.5))
    learned, _ = engine.train(WEIGHTS, plan)
    assert_close(learned, stock(WEIGHTS, plan))
    assert not same(learned, engine.train(WEIGHTS, planned(2))[0])


def test_a_teacher_and_weights_of_examples_are_in_the_loss(planned: Callable[..., Plan]) -> None:
    generator, n = np.random.default_rng(0), 64
    taught = {
        "hard": generator.random(n, np.float32), "soft": generator.random(n, np.float32),
        "logits": generator.normal(0, 3, (n, 10)).astype(np.float32),
    }  # fmt: skip
    plan = planned(2, **taught)
    learned, _ = engine.train(WEIGHTS, plan)
    assert_close(learned, stock(WEIGHTS, plan))
    for name in taught:
        assert not same(learned, engine.train(WEIGHTS, planned(2, **{k: v for k, v in taught.items() if k != name}))[0])


def test_the_rate_is_each_steps_own(planned: Callable[..., Plan]) -> None:
    plan = planned(2, rate=np.array([0.05, 0.0], np.float32))
    assert same(engine.train(WEIGHTS, plan)[0], engine.train(WEIGHTS, planned(1))[0])


def test_a_rate_of_zero_changes_nothing(planned: Callable[..., Plan]) -> None:
    plan = planned(3, rate=np.zeros(3, np.float32), momentum=0.9)
    assert same(engine.train(WEIGHTS, plan)[0], WEIGHTS)


def test_sums_are_those_of_the_weights_before_each_step(planned: Callable[..., Plan]) -> None:
    plan = planned(3, rate=np.zeros(3, np.float32))
    sums = engine.train(WEIGHTS, plan)[1]
    expected = judge(engine.answers(WEIGHTS, plan.images), plan.labels)
    assert sums.loss == pytest.approx(expected.loss, rel=1e-5)
    assert (sums.correct, sums.examples) == (expected.correct, 96)


def test_answers_are_the_models_page_by_page(digits: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = engine.answers(WEIGHTS, digits.x)
    expected = model.keras_model(WEIGHTS)(digits.x[..., None].astype(np.float32) / 255).numpy()
    assert whole == pytest.approx(expected, abs=1e-5)
    monkeypatch.setattr(engine, "PAGE", 40)
    assert engine.answers(WEIGHTS, digits.x) == pytest.approx(whole, abs=1e-5)
    assert engine.answers(WEIGHTS, digits.x[:0]).shape == (0, 10)


def test_training_leaves_what_it_is_given_alone(planned: Callable[..., Plan]) -> None:
    start, plan = [w.copy() for w in WEIGHTS], planned(2)
    images = plan.images.copy()
    engine.train(start, plan)
    assert same(start, WEIGHTS) and np.array_equal(plan.images, images)


def test_nothing_of_one_training_reaches_the_next(planned: Callable[..., Plan]) -> None:
    plan = planned(2, momentum=0.9)
    alone = engine.train(WEIGHTS, plan)
    engine.train([w + 1 for w in WEIGHTS], planned(3, momentum=0.9))
    again = engine.train(WEIGHTS, plan)
    assert same(alone[0], again[0]) and alone[1] == again[1]
