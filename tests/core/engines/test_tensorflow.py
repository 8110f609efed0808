"""The engine against the stock formulation: Keras, its cross-entropy, a GradientTape and ten lines of SGD."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
import tensorflow as tf

from core.config.scenario import Local, Model, Scenario
from core.data import Examples, read
from core.engines import Engine, get, step, step_file, tensorflow
from core.models import ModelSpec
from core.models.layers import Dense, Flatten
from core.plan import Lesson, Plan, Pull, Rehearsal, draw
from core.scores import score
from tests import models as model
from tests.fakes import same
from tests.models import engine

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
    """The same plan with what every TensorFlow user knows; hidden units are dropped between two Keras layers."""
    w, speed = weights, [np.zeros_like(w) for w in weights]
    keras = model.keras_model()
    *below, last = keras.layers
    cross_entropy = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    for rows, dropout_mask, rate in zip(plan.order, plan.dropout_mask, plan.rate, strict=True):
        keras.set_weights(w)
        with tf.GradientTape() as tape:
            z = last(
                reduce(lambda h, layer: layer(h), below, plan.images[rows, ..., None] / np.float32(255)) * dropout_mask
            )
            matched = tf.reduce_mean(plan.soft[rows] * (z - plan.logits[rows]) ** 2, 1) / 2
            cross = cross_entropy(plan.labels[rows], plan.scale * z + plan.shift[rows])
            loss = tf.reduce_mean(plan.hard[rows] * cross + matched)
        slopes = [g.numpy() for g in tape.gradient(loss, keras.trainable_weights)]
        slopes = [g + a * v + b for g, a, v, b in zip(slopes, plan.pull.a, w, plan.pull.b, strict=True)]
        speed = [plan.momentum * v + g for v, g in zip(speed, slopes, strict=True)]
        w = [v - rate * s for v, s in zip(w, speed, strict=True)]
    return w


def assert_close(ours: Weights, theirs: Weights, within: float = 1e-6) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == np.float32 and mine == pytest.approx(other, abs=within)


def light(spec: ModelSpec) -> Engine:
    """The engine without TensorFlow, in batches of 32."""
    file = step_file.build(spec, 32)
    return get("litert", spec, file, step.digest(file))


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_the_stock_formulation(planned: Callable[..., Plan], steps: int, momentum: float) -> None:
    plan = planned(steps, momentum=momentum)
    learned = engine.train(WEIGHTS, plan).weights
    assert_close(learned, stock(WEIGHTS, plan))
    assert max(np.abs(new - old).max() for new, old in zip(learned, WEIGHTS, strict=True)) > 1e-3


def test_a_pull_adds_its_gradient(planned: Callable[..., Plan]) -> None:
    pull = Pull.towards([w + 1 for w in WEIGHTS], 0.3) + Pull.decay(WEIGHTS, 0.1)
    plan = planned(1, pull=pull)
    learned = engine.train(WEIGHTS, plan).weights
    assert_close(learned, stock(WEIGHTS, plan))
    free = engine.train(WEIGHTS, planned(1)).weights
    assert learned[7] - free[7] == pytest.approx(0.05 * 0.3, abs=1e-6)  # rate · strength · distance, for biases


def test_dropout_silences_hidden_units(planned: Callable[..., Plan]) -> None:
    plan = planned(2, Model(dropout=0.5))
    learned = engine.train(WEIGHTS, plan).weights
    assert_close(learned, stock(WEIGHTS, plan))
    assert not same(learned, engine.train(WEIGHTS, planned(2)).weights)


def test_a_long_gradient_is_cut_to_its_limit_and_a_short_one_is_left_alone(planned: Callable[..., Plan]) -> None:
    free, far, near = (engine.train(WEIGHTS, planned(1, clip=clip)).weights for clip in (0.0, 1e6, 0.01))
    assert_close(far, free)
    moves = [np.concatenate([(new - old).ravel() for new, old in zip(w, WEIGHTS, strict=True)]) for w in (free, near)]
    assert np.linalg.norm(moves[1]) == pytest.approx(0.05 * 0.01, rel=1e-3)  # rate · limit
    assert moves[1] / np.linalg.norm(moves[1]) == pytest.approx(moves[0] / np.linalg.norm(moves[0]), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tensorflow", "litert"])
def test_what_is_cut_is_the_datas_gradient_and_not_the_pull(planned: Callable[..., Plan], kind: str) -> None:
    """Nothing is left of the data's gradient, so the weights go to where the pull alone takes them, however long it is."""
    pull = Pull.towards([w + 100 for w in WEIGHTS], 20.0)  # at rate 0.05 all the way in one step
    either = engine if kind == "tensorflow" else light(model.spec())
    learned = either.train(WEIGHTS, planned(1, pull=pull, clip=1e-6)).weights
    assert_close([w - 100 for w in learned], WEIGHTS, 1e-4)


def test_a_teacher_and_weights_of_examples_are_in_the_loss(planned: Callable[..., Plan]) -> None:
    generator, n = np.random.default_rng(0), 64
    taught = {
        "hard": generator.random(n, np.float32), "soft": generator.random((n, 10), np.float32),
        "scale": generator.random(10, np.float32), "shift": generator.normal(0, 2, (n, 10)).astype(np.float32),
        "logits": generator.normal(0, 3, (n, 10)).astype(np.float32),
    }  # fmt: skip
    plan = planned(2, **taught)
    learned = engine.train(WEIGHTS, plan).weights
    assert_close(learned, stock(WEIGHTS, plan))
    for name in taught:
        assert not same(
            learned, engine.train(WEIGHTS, planned(2, **{k: v for k, v in taught.items() if k != name})).weights
        )


def test_the_rate_is_each_steps_own(planned: Callable[..., Plan]) -> None:
    plan = planned(2, rate=np.array([0.05, 0.0], np.float32))
    assert same(engine.train(WEIGHTS, plan).weights, engine.train(WEIGHTS, planned(1)).weights)


def test_a_rate_of_zero_changes_nothing(planned: Callable[..., Plan]) -> None:
    plan = planned(3, rate=np.zeros(3, np.float32), momentum=0.9)
    assert same(engine.train(WEIGHTS, plan).weights, WEIGHTS)


def test_sums_are_those_of_the_weights_before_each_step(planned: Callable[..., Plan]) -> None:
    plan = planned(3, rate=np.zeros(3, np.float32))
    sums = engine.train(WEIGHTS, plan).sums
    expected = score(engine.logits(WEIGHTS, plan.images), plan.labels)
    assert sums.loss == pytest.approx(expected.loss, rel=1e-5)
    assert (sums.correct, sums.examples) == (expected.correct, 96)


def test_answers_are_the_models_page_by_page(digits: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = engine.logits(WEIGHTS, digits.x)
    expected = model.keras_model(WEIGHTS)(digits.x[..., None].astype(np.float32) / 255).numpy()
    assert whole == pytest.approx(expected, abs=1e-5)
    monkeypatch.setattr(tensorflow, "PAGE", 40)
    assert engine.logits(WEIGHTS, digits.x) == pytest.approx(whole, abs=1e-5)
    assert engine.logits(WEIGHTS, digits.x[:0]).shape == (0, 10)


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
    assert same(alone.weights, again.weights) and alone.sums == again.sums


def gradient(weights: Weights, images: np.ndarray, labels: np.ndarray, kind: str = "cnn") -> Weights:
    """Of the mean cross-entropy, by Keras and a tape."""
    keras = model.keras_model(weights, Model(kind=kind))
    cross_entropy = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        loss = cross_entropy(labels, keras(images[..., None] / np.float32(255)))
    return [g.numpy() for g in tape.gradient(loss, keras.trainable_weights)]


@pytest.mark.parametrize("kind", model.KINDS)
def test_fisher_is_the_mean_over_images_of_squared_gradients_of_all_answers(digits: Examples, kind: str) -> None:
    """Of each image and each class the squared gradient by itself, as much as the model believes in the class."""
    weights, images = model.initial(0, kind), digits.x[:3]
    found, z = model.tensorflow(kind).fisher(weights, images), model.tensorflow(kind).logits(weights, images)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    slopes = gradients(weights, images, kind)
    for mine, theirs in zip(found, slopes, strict=True):
        expected = np.einsum("nc,nc...->...", p, theirs.astype(np.float64) ** 2) / len(images)
        np.testing.assert_allclose(mine, expected, rtol=1e-3, atol=1e-8)


def gradients(weights: Weights, images: np.ndarray, kind: str) -> Weights:
    """Of log p(y|x) for each image and class, by Keras and a tape: [n, classes, *shape] for each weight."""
    keras = model.keras_model(weights, Model(kind=kind))
    with tf.GradientTape(persistent=True) as tape:
        logs = tf.nn.log_softmax(keras(images[..., None] / np.float32(255)))
    return [g.numpy() for g in tape.jacobian(logs, keras.trainable_weights, experimental_use_pfor=False)]


@pytest.mark.parametrize("classes", [2, 10, 300])
@pytest.mark.parametrize("kind", ["tensorflow", "litert"])
def test_fisher_of_softmax_regression_is_known(digits: Examples, classes: int, kind: str) -> None:
    """Σ_y p_y ((y = c) − p_c)² x² = p_c (1 − p_c) x², with all classes, however many; one label for each image is only near."""
    regression = ModelSpec("regression", (28, 28), classes, (Flatten(), Dense("logits", classes, relu=False)))
    weights = [3 * w + np.float32(0.1) for w in regression.initial(1)]
    either = get("tensorflow", regression) if kind == "tensorflow" else light(regression)
    z = (x := digits.x[:9].reshape(9, -1) / 255.0) @ weights[0] + weights[1]
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    kernel, bias = either.fisher(weights, digits.x[:9])
    assert kernel == pytest.approx((x**2).T @ (p * (1 - p)) / 9, rel=1e-4, abs=1e-6)
    assert bias == pytest.approx((p * (1 - p)).mean(0), rel=1e-4, abs=1e-6)
    assert not any(one.any() for one in either.fisher(weights, digits.x[:0]))


def test_the_mlp_learns_by_the_same_loop(digits: Examples, planned: Callable[..., Plan]) -> None:
    start, plan = model.initial(0, "mlp"), planned(1)
    assert [w.shape for w in start] == list(model.spec("mlp").shapes) and sum(w.size for w in start) == 638_810
    expected = model.keras_model(start, Model(kind="mlp"))(digits.x[..., None].astype(np.float32) / 255).numpy()
    mlp = model.tensorflow("mlp")
    assert mlp.logits(start, digits.x) == pytest.approx(expected, abs=1e-5)
    rows = plan.order[0]
    slopes = gradient(start, plan.images[rows], plan.labels[rows], "mlp")
    for w, slope, new in zip(start, slopes, mlp.train(start, plan).weights, strict=True):
        assert new == pytest.approx(w - plan.rate[0] * slope, abs=1e-6)


def test_features_are_what_the_dense_layers_see(digits: Examples) -> None:
    seen = engine.features(WEIGHTS, digits.x)
    assert seen.shape == (96, 1600) and seen.min() == 0
    k3, b3, k4, b4 = WEIGHTS[4:]
    assert np.maximum(seen @ k3 + b3, 0) @ k4 + b4 == pytest.approx(engine.logits(WEIGHTS, digits.x), abs=1e-4)


def test_a_path_is_what_each_step_gained(planned: Callable[..., Plan]) -> None:
    plan = planned(1, path=True)
    learned = engine.train(WEIGHTS, plan)
    slopes = gradient(WEIGHTS, plan.images[plan.order[0]], plan.labels[plan.order[0]])
    for path, slope in zip(learned.path, slopes, strict=True):
        assert path == pytest.approx(0.05 * slope**2, abs=1e-7)  # −g · Δw, Δw = −rate · g
    assert engine.train(WEIGHTS, planned(1)).path == [] and same(
        learned.weights, engine.train(WEIGHTS, planned(1)).weights
    )


def flat(arrays: Weights) -> np.ndarray:
    return np.concatenate([a.ravel() for a in arrays]).astype(np.float64)


def test_a_guarded_step_does_not_raise_the_kept_loss(planned: Callable[..., Plan]) -> None:
    plan = planned(1)
    guarded = replace(
        plan, images=np.concatenate([plan.images, plan.images]), labels=np.concatenate([plan.labels, (plan.labels + 1) % 10]),
        guard=plan.order + len(plan.images), hard=np.tile(plan.hard, 2), shift=np.tile(plan.shift, (2, 1)),
        soft=np.tile(plan.soft, (2, 1)), logits=np.tile(plan.logits, (2, 1)),
    )  # fmt: skip
    kept = flat(gradient(WEIGHTS, plan.images, (plan.labels + 1) % 10))
    free = flat(WEIGHTS) - flat(engine.train(WEIGHTS, plan).weights)
    bent = flat(WEIGHTS) - flat(engine.train(WEIGHTS, guarded).weights)
    assert free @ kept < 0 and abs(bent @ kept) < 1e-4 * np.linalg.norm(bent) * np.linalg.norm(kept) + 1e-9
    agreed = replace(guarded, labels=np.tile(plan.labels, 2))
    assert flat(engine.train(WEIGHTS, agreed).weights) == pytest.approx(flat(engine.train(WEIGHTS, plan).weights))


def test_no_step_goes_against_a_reference(planned: Callable[..., Plan]) -> None:
    """What goes against it is taken away, whatever its length; where a step agrees, nothing changes."""
    free = flat(engine.train(WEIGHTS, planned(1)).weights) - flat(WEIGHTS)
    rows = planned(1).order[0]
    slope = gradient(WEIGHTS, planned(1).images[rows], planned(1).labels[rows])
    odd = [-g + np.abs(g).mean() for g in slope]  # a step of -slope would go against -slope
    moves = [
        flat(engine.train(WEIGHTS, planned(1, reference=[k * g for g in odd])).weights) - flat(WEIGHTS) for k in (1, 9)
    ]
    assert free @ flat(odd) > 0 and np.linalg.norm(moves[0]) < np.linalg.norm(free)
    assert abs(moves[0] @ flat(odd)) < 1e-3 * np.linalg.norm(moves[0]) * np.linalg.norm(flat(odd)) + 1e-9
    assert moves[1] == pytest.approx(moves[0], abs=1e-6)
    assert same(engine.train(WEIGHTS, planned(1, reference=slope)).weights, engine.train(WEIGHTS, planned(1)).weights)


def test_no_step_changes_nothing(planned: Callable[..., Plan]) -> None:
    plan = planned(1)
    learned = engine.train(WEIGHTS, replace(plan, order=plan.order[:0]))
    assert same(learned.weights, WEIGHTS) and learned.sums.examples == 0
