"""The same operations as core/models/stock.py from what LiteRT has builtin: matrix products, comparisons and reshapes.

Stock gradients of convolution, pooling and ReLU are no builtin operations of it. All shapes are static here: a training step's
file has one batch size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from core.models.norm_ops import grouped, inverse_root, norm_squares, variance
from core.models.stock import dense_squares, greatest, pooled, squared

__all__ = [
    "conv", "conv_pool", "conv_squares", "dense_squares", "flat", "grouped", "inverse_root", "norm_squares", "pool", "relu",
    "variance",
]  # fmt: skip


def relu(x: tf.Tensor) -> Any:
    """ReLU whose gradient is a product (ReluGrad is no builtin operation)."""
    return x * tf.stop_gradient(tf.cast(x > 0, tf.float32))


def conv(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolution as one matrix product over patches."""
    size, _, channels, filters = kernel.shape
    p = patches(x, size)
    count, h, w, depth = p.shape
    z = tf.reshape(p, [count * h * w, depth]) @ tf.reshape(kernel, [size * size * channels, filters])
    return tf.reshape(z, [count, h, w, filters])


def pool(x: tf.Tensor, size: int) -> tf.Tensor:
    """Max-pool; the gradient goes to the first of equal maxima, as in TensorFlow."""
    if size == 1:  # of one number the greatest is itself
        return x
    _, rows, columns, _ = x.shape
    if rows % size or columns % size:  # what no window fills
        x = tf.slice(x, [0] * 4, [-1, rows - rows % size, columns - columns % size, -1])
    return greatest(tf.split(tf.nn.space_to_depth(x, size), size * size, 3), _passed)


def conv_pool(x: tf.Tensor, kernel: tf.Tensor, size: int) -> tf.Tensor:
    """Convolution of one channel and max-pool, as products with windows (core.models.stock)."""
    return pooled(tf.nn.space_to_depth(x, size), kernel, size, _passed)


def _passed(g: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """What of a gradient goes to the second of two, as a product."""
    return g * tf.cast(second > first, g.dtype)


def flat(x: tf.Tensor) -> tf.Tensor:
    """[n, h, w, c] → [n, h · w · c]."""
    return tf.reshape(x, [x.shape[0], int(np.prod(x.shape[1:]))])


def patches(x: tf.Tensor, size: int) -> tf.Tensor:
    """What a kernel of size × size lies on, at each position: [n, h, w, c] → [n, h', w', size² · c]."""
    count, rows, columns, channels = x.shape
    h, w = rows - size + 1, columns - size + 1
    return tf.concat([tf.slice(x, [0, i, j, 0], [count, h, w, channels]) for i in range(size) for j in range(size)], 3)


def conv_squares(x: tf.Tensor, slope: tf.Tensor, size: int) -> list[tf.Tensor]:
    """Σ over examples and losses of the squared gradients of a convolution's kernel and bias. slope: [losses, n, h, w, filters]."""
    return squared(patches(x, size), slope, (size, size, x.shape[-1], slope.shape[-1]))
