"""Two faces of one function: the fast logits are Keras' logits, and their gradients TensorFlow's own, ties included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from core.config.scenario import Model
from core.data import read
from core.models import builtin, stock
from core.plan import Pull
from tests import models as model

# Weights on which nothing is 0 by accident: biases too.
WEIGHTS = [w + np.float32(0.05) * (w.ndim == 1) for w in model.initial(3)]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """f32 [64, 28, 28]: digits, blank paper, full ink, one dot, coarse steps (where ties are common)."""
    digits = read("mnist")[1].x[:60].astype(np.float32) / 255
    dot = np.zeros((28, 28), np.float32)
    dot[13, 14] = 1
    return np.concatenate([digits, [np.zeros((28, 28)), np.ones((28, 28)), dot, digits[0].round()]]).astype(np.float32)


def test_logits_are_those_of_keras(images: np.ndarray) -> None:
    ours = model.spec().logits(stock, [tf.constant(w) for w in WEIGHTS], tf.constant(images)).numpy()
    assert ours == pytest.approx(model.keras_model(WEIGHTS)(images[..., None]).numpy(), abs=1e-5)


def test_probabilities_are_the_softmax_of_the_logits(images: np.ndarray) -> None:
    z = model.keras_model(WEIGHTS)(images[..., None])
    p = model.keras_model(WEIGHTS, probabilities=True)(images[..., None]).numpy()
    assert p == pytest.approx(tf.nn.softmax(z).numpy(), abs=1e-6)


def test_the_last_two_rows_and_columns_cannot_reach_the_output(images: np.ndarray) -> None:
    cut = images.copy()
    cut[:, 26:], cut[:, :, 26:] = 1, 1
    keras = model.keras_model(WEIGHTS)
    assert np.array_equal(keras(images[..., None]).numpy(), keras(cut[..., None]).numpy())


def test_gradients_are_those_of_keras_even_where_maxima_tie(images: np.ndarray) -> None:
    labels, keras = np.arange(len(images)) % 10, model.keras_model(WEIGHTS)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    weights = [tf.constant(w) for w in WEIGHTS]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(weights)
        ours, theirs = loss(labels, model.spec().logits(stock, weights, images)), loss(labels, keras(images[..., None]))
    for mine, other in zip(tape.gradient(ours, weights), tape.gradient(theirs, keras.trainable_weights), strict=True):
        assert mine.numpy() == pytest.approx(other.numpy(), abs=5e-7)


@pytest.mark.parametrize("ops", [stock, builtin], ids=["TensorFlow", "LiteRT"])
@pytest.mark.parametrize(("side", "size", "h"), [(3, 2, 12), (4, 3, 8)])
def test_first_layer_and_its_gradients_equal_the_stock_operations_to_the_last_bit(
    ops: Any, side: int, size: int, h: int
) -> None:
    """On small whole numbers every sum is exact and ties are everywhere: which maximum is chosen shows in `images`."""
    generator = np.random.default_rng(0)
    images = tf.constant(generator.integers(0, 3, (20, 28, 28)).astype(np.float32))
    kernel = tf.constant(generator.integers(-1, 2, (side, side, 1, 32)).astype(np.float32))
    slope = tf.constant(generator.integers(-3, 4, (20, h, h, 32)).astype(np.float32))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([images, kernel])
        reach = size * h + side - 1
        ours = ops.conv_pool(images[:, :reach, :reach, None], kernel, size)
        plain = tf.nn.max_pool2d(tf.nn.conv2d(images[..., None], kernel, 1, "VALID"), size, size, "VALID")[:, :h, :h]
        mine, theirs = tf.reduce_sum(ours * slope), tf.reduce_sum(plain * slope)
    convolved = tf.nn.conv2d(images[..., None], kernel, 1, "VALID")[:, : size * h, : size * h].numpy()
    windows = convolved.reshape(20, h, size, h, size, 32)
    ties = (windows == windows.max((2, 4), keepdims=True)).sum((2, 4)) > 1
    assert ties.mean() > 0.1
    assert np.array_equal(ours.numpy(), plain.numpy())
    for of in (images, kernel):
        assert np.array_equal(tape.gradient(mine, of).numpy(), tape.gradient(theirs, of).numpy())


def test_initial_weights_are_glorots_by_address() -> None:
    weights = model.initial(0)
    assert [w.shape for w in weights] == list(model.spec().shapes) and {w.dtype for w in weights} == {
        np.dtype(np.float32)
    }
    assert sum(w.size for w in weights) == 225_034
    for w, (fan_in, fan_out) in zip(weights[::2], [(9, 288), (288, 576), (1600, 128), (128, 10)], strict=True):
        limit = np.sqrt(6 / (fan_in + fan_out))
        assert 0.97 * limit < np.abs(w).max() <= limit and abs(w.mean()) < 0.1 * limit
    assert not any(b.any() for b in weights[1::2])
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.initial(0), strict=True))
    assert not np.array_equal(weights[0], model.initial(1)[0])


def test_decay_is_the_slope_of_the_l2_that_keras_adds() -> None:
    options = Model(l2=0.01)
    keras = model.keras_model(WEIGHTS, options)
    with tf.GradientTape() as tape:
        penalty = tf.add_n(keras.losses)
    slopes = tape.gradient(penalty, keras.trainable_weights)
    for slope, w, a in zip(slopes, WEIGHTS, Pull.decay(WEIGHTS, options.l2).a, strict=True):
        assert a * w == pytest.approx(0 * w if slope is None else slope.numpy(), rel=1e-5, abs=1e-9)


def test_dropout_of_keras_is_silent_outside_training(images: np.ndarray) -> None:
    with_options = model.keras_model(WEIGHTS, Model(dropout=0.5, l2=0.01))
    assert np.array_equal(
        with_options(images[..., None]).numpy(), model.keras_model(WEIGHTS)(images[..., None]).numpy()
    )
