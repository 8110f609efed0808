"""The shared CNN: Conv 3×3×32, pool 2, Conv 3×3×64, pool 2, Dense 128, Dense 10; ReLU; logits out; 225,034 weights.

Two faces of one function. `keras_model` is the face that people know: summary, `.keras` file, export. `logits` is the same function
of (weights, images), written for training speed; tests hold the two equal. What makes it fast, all of it exact:

- Bias and ReLU commute with max-pooling (both are monotone), so we pool first and touch a quarter of the elements.
- The second pool drops the 11th row and column of its 11×11 input, so nothing that only they depend on is computed:
  a 26×26 crop of the image gives 24×24, 12×12, 10×10, 5×5 instead of 28, 26, 13, 11, 5.
- The first convolution has one channel: as a matrix product over 4×4 windows (one for each pooled cell, holding its four
  3×3 windows) it is far denser work than a convolution, and its four results are just what the pool compares.
- Max-pooling's gradient goes to the *first* of equal maxima, as TensorFlow's does (ties are common on blank paper).

Weights, in Keras' order, all float32: kernel [3,3,1,32], bias [32], kernel [3,3,32,64], bias [64], kernel [1600,128],
bias [128], kernel [128,10], bias [10].

For comparison with the literature there is a plain MLP too, 784-400-400-400-10, 638,810 weights (`Model.kind`). Weights say by
their shapes which of the two they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from core.config.scenario import Model
from core.data import CLASSES, HIDDEN, SIDE
from core.seeds import rng

SHAPES = ((3, 3, 1, 32), (32,), (3, 3, 32, 64), (64,), (1600, 128), (128,), (128, CLASSES), (CLASSES,))
MLP = ((SIDE * SIDE, 400), (400,), (400, 400), (400,), (400, 400), (400,), (400, CLASSES), (CLASSES,))
KINDS = {"cnn": SHAPES, "mlp": MLP}
_SEEN = SIDE - 2  # the last two rows and columns of an image cannot max_update_ratio the output

Weights = list[np.ndarray]


def initial(seed: int, kind: str = "cnn") -> Weights:
    """Uniform kernels (Glorot and Bengio 2010, as Keras does) and zero biases, by address."""
    generator = rng(seed, "weights")

    def one(shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) == 1:
            return np.zeros(shape, np.float32)
        field = np.prod(shape[:-2])  # 9 for a 3×3 convolution, 1 for a dense layer
        limit = np.sqrt(6 / (field * (shape[-2] + shape[-1])))
        return generator.uniform(-limit, limit, shape).astype(np.float32)

    return [one(shape) for shape in KINDS[kind]]


def keras_model(weights: Weights | None = None, options: Model | None = None, *, probabilities: bool = False) -> Any:
    """The model as Keras knows it: image f32 [n, 28, 28, 1] in 0 … 1 → logits (or probabilities) f32 [n, 10]."""
    from tensorflow import keras

    options = options or Model()
    layers = keras.layers
    l2 = keras.regularizers.l2(options.l2) if options.l2 else None
    body = [
        layers.Conv2D(32, 3, activation="relu", kernel_regularizer=l2, name="conv1"),
        layers.MaxPooling2D(2, name="pool1"),
        layers.Conv2D(64, 3, activation="relu", kernel_regularizer=l2, name="conv2"),
        layers.MaxPooling2D(2, name="pool2"),
        layers.Flatten(name="flat"),
    ]
    plain = [
        layers.Flatten(name="flat"),
        *(layers.Dense(400, activation="relu", kernel_regularizer=l2, name=name) for name in ("first", "second")),
    ]
    stack = [
        keras.Input((SIDE, SIDE, 1), name="image"),
        *(body if options.kind == "cnn" else plain),
        layers.Dense(HIDDEN[options.kind], activation="relu", kernel_regularizer=l2, name="hidden"),
        *([layers.Dropout(options.dropout, name="dropout")] if options.dropout else []),
        layers.Dense(CLASSES, kernel_regularizer=l2, name="logits"),
        *([layers.Softmax(name="probabilities")] if probabilities else []),
    ]
    model = keras.Sequential(stack, name="digits")
    if weights is not None:
        model.set_weights(weights)
    return model


def logits(weights: list[tf.Tensor], images: tf.Tensor, dropout_mask: tf.Tensor | None = None) -> tf.Tensor:
    """The model as a function. images: f32 [n, 28, 28] in 0 … 1; dropout_mask: f32 [n, hidden], what multiplies the last
    hidden units."""
    k3, b3, k4, b4 = weights[4:]
    h = tf.nn.relu(seen(weights, images) @ k3 + b3)
    return (h if dropout_mask is None else h * dropout_mask) @ k4 + b4


def seen(weights: list[tf.Tensor], images: tf.Tensor) -> tf.Tensor:
    """What the layers before the last two make of images f32 [n, 28, 28]: f32 [n, 1600] (CNN) or [n, 400] (MLP)."""
    if weights[0].shape.rank == 2:
        return _plain(weights, images)
    k1, b1, k2, b2 = weights[:4]
    h = tf.nn.relu(conv_pool(images, k1) + b1)  # [n, 12, 12, 32]
    h = tf.nn.relu(_pool(tf.nn.conv2d(h, k2, 1, "VALID")) + b2)  # [n, 5, 5, 64]
    return tf.reshape(h, [-1, 1600])


def _plain(weights: list[tf.Tensor], images: tf.Tensor) -> tf.Tensor:
    """The first two layers of the MLP: f32 [n, 400]."""
    h = tf.reshape(images, [-1, SIDE * SIDE])
    for kernel, bias in (weights[:2], weights[2:4]):
        h = tf.nn.relu(h @ kernel + bias)
    return h


def squares(weights: list[tf.Tensor], images: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
    """Σ over examples of the squared gradient of the example's own cross-entropy, of the weights' shapes.

    A layer's gradient for one example is (what it saw)ᵀ · (the loss's slope at its output): one backward pass gives the
    slopes of all examples at once, and only these small products are squared and summed. (A mean gradient squared, which
    many EWC codes take, is something else: positive and negative gradients cancel in it.)
    """
    if weights[0].shape.rank == 2:
        return _plain_squares(weights, images, labels)
    k1, b1, k2, b2, k3, b3, k4, b4 = weights
    n = tf.shape(images)[0]
    # What is added to each layer's output, nothing: the gradient with respect to it is the slope there.
    zeros = [tf.zeros([n, *shape]) for shape in ((24, 24, 32), (10, 10, 64), (128,), (CLASSES,))]
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        one, two, three, four = zeros
        h1 = tf.nn.relu(_pool(tf.nn.conv2d(images[:, :_SEEN, :_SEEN, None], k1, 1, "VALID") + one) + b1)
        h2 = tf.reshape(tf.nn.relu(_pool(tf.nn.conv2d(h1, k2, 1, "VALID") + two) + b2), [-1, 1600])
        h3 = tf.nn.relu(h2 @ k3 + b3 + three)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=h3 @ k4 + b4 + four)
    d1, d2, d3, d4 = tape.gradient(loss, zeros)

    def kernel(x: tf.Tensor, slope: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        patches = tf.image.extract_patches(x, [1, 3, 3, 1], [1] * 4, [1] * 4, "VALID")
        p = tf.reshape(patches, [n, -1, patches.shape[-1]])
        each = tf.matmul(p, tf.reshape(slope, [n, -1, slope.shape[-1]]), transpose_a=True)
        return tf.reshape(tf.reduce_sum(tf.square(each), 0), like.shape)

    def bias(slope: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.square(tf.reduce_sum(tf.reshape(slope, [n, -1, slope.shape[-1]]), 1)), 0)

    return [
        kernel(images[:, :_SEEN, :_SEEN, None], d1, k1), bias(d1), kernel(h1, d2, k2), bias(d2),
        _dense(h2, d3), bias(d3), _dense(h3, d4), bias(d4),
    ]  # fmt: skip


def _dense(x: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    """Σ over examples of the squares of a dense kernel's gradients."""
    return tf.matmul(tf.square(x), tf.square(slope), transpose_a=True)


def _plain_squares(weights: list[tf.Tensor], images: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
    """The same of the MLP."""
    kernels, biases = weights[::2], weights[1::2]
    zeros = [tf.zeros([tf.shape(images)[0], bias.shape[0]]) for bias in biases]
    seen_ = []
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        h = tf.reshape(images, [-1, SIDE * SIDE])
        for kernel, bias, zero in zip(kernels, biases, zeros, strict=True):
            seen_.append(h)
            z = h @ kernel + bias + zero
            h = tf.nn.relu(z)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=z)
    slopes = tape.gradient(loss, zeros)
    pairs = [(_dense(x, d), tf.reduce_sum(tf.square(d), 0)) for x, d in zip(seen_, slopes, strict=True)]
    return [one for pair in pairs for one in pair]


def conv_pool(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """First convolution and pool: [n, 28, 28] → [n, 12, 12, 32]."""
    cells = tf.nn.space_to_depth(images[:, :_SEEN, :_SEEN, None], 2)  # [n, 13, 13, 4]
    near = [cells[:, :-1, :-1], cells[:, :-1, 1:], cells[:, 1:, :-1], cells[:, 1:, 1:]]
    windows = tf.reshape(tf.concat(near, -1), [-1, 16])  # the 4×4 window of each pooled cell
    flat = tf.reshape(kernel, [9, 32])
    return tf.reshape(max4(*[windows @ (tf.constant(mask) @ flat) for mask in _MASKS]), [-1, 12, 12, 32])


def _masks() -> np.ndarray:
    """f32 [4, 16, 9]: where the 3×3 kernel lies in the 4×4 window, for each of a pooled cell's four positions."""
    masks = np.zeros((4, 16, 9), np.float32)
    for position in range(4):
        for pixel in range(16):
            cell, inner = divmod(pixel, 4)  # space_to_depth's order: 2×2 cells of 2×2 pixels
            row = 2 * (cell // 2) + inner // 2 - position // 2
            column = 2 * (cell % 2) + inner % 2 - position % 2
            if 0 <= row < 3 and 0 <= column < 3:
                masks[position, pixel, 3 * row + column] = 1
    return masks


_MASKS = _masks()


def _pool(z: tf.Tensor) -> tf.Tensor:
    """Max-pool 2×2: [n, 2h, 2w, c] → [n, h, w, c]."""
    return tf.nn.max_pool2d(z, 2, 2, "VALID")


@tf.custom_gradient
def max4(a: tf.Tensor, b: tf.Tensor, c: tf.Tensor, d: tf.Tensor) -> Any:
    """Greatest of four; the gradient goes to the first that reaches it."""
    top = tf.maximum(tf.maximum(a, b), tf.maximum(c, d))

    def gradient(g: tf.Tensor) -> tuple[tf.Tensor, ...]:
        parts, zero = [], tf.zeros_like(g)
        for one in (a, b, c):
            parts.append(tf.where(tf.equal(one, top), g, zero))
            g = g - parts[-1]
        return (*parts, g)

    return top, gradient
