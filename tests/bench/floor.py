"""The floor: what a fast loop in TensorFlow's own operations takes, with no project around it. It stays as it is: a yardstick.

Weights are variables that each step moves in place (`assign_sub`), images one float tensor that stays in memory, batches are
gathered by their rows; the last batch may be short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Arrays = list[np.ndarray]


def epoch(
    images: np.ndarray, labels: np.ndarray, shapes: Any, rate: float, batch: int, rows: int
) -> Callable[..., Arrays]:
    """(weights, row numbers [rows]) → new weights: one epoch of SGD. images: uint8 [n, 28, 28]."""
    import tensorflow as tf

    x = tf.constant(images[..., None].astype(np.float32) / 255.0)
    y = tf.constant(labels.astype(np.int32))
    variables = [tf.Variable(tf.zeros(shape)) for shape in shapes]

    def step(ix: Any) -> None:
        xb, yb = tf.gather(x, ix), tf.gather(y, ix)
        with tf.GradientTape() as tape:
            z = _logits(tf, variables, xb)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(yb, z))
        for variable, slope in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(rate * slope)

    @tf.function(input_signature=[tf.TensorSpec([rows], tf.int32)])
    def run(ix: Any) -> None:
        for i in tf.range(rows // batch):
            step(tf.reshape(ix[i * batch : (i + 1) * batch], [batch]))
        if rows % batch:
            step(ix[rows // batch * batch :])

    def train(weights: Arrays, order: np.ndarray) -> Arrays:
        for variable, w in zip(variables, weights, strict=True):
            variable.assign(w)
        run(tf.constant(order.astype(np.int32)))
        return [variable.numpy() for variable in variables]

    return train


def _logits(tf: Any, v: Any, x: Any) -> Any:
    h = tf.nn.max_pool2d(tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, v[0], 1, "VALID"), v[1])), 2, 2, "VALID")
    h = tf.nn.max_pool2d(tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(h, v[2], 1, "VALID"), v[3])), 2, 2, "VALID")
    h = tf.nn.relu(tf.nn.bias_add(tf.matmul(tf.reshape(h, [-1, 1600]), v[4]), v[5]))
    return tf.nn.bias_add(tf.matmul(h, v[6]), v[7])
