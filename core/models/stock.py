"""TensorFlow's own operations, for the models' forward and squares."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import tensorflow as tf

from core.models.norm_ops import grouped, inverse_root, moments, norm_squares, variance

__all__ = [
    "conv", "conv_pool", "conv_squares", "dense_squares", "flat", "greatest", "grouped", "inverse_root", "moments",
    "norm_squares", "patches", "pool", "pooled", "relu", "squared", "variance",
]  # fmt: skip
relu = tf.nn.relu
Passed = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def conv(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolution, stride 1, no padding: [n, h, w, c] → [n, h - k + 1, w - k + 1, filters]."""
    return tf.nn.conv2d(x, kernel, 1, "VALID")


def pool(x: tf.Tensor, size: int) -> tf.Tensor:
    """Max-pool: [n, size · h, size · w, c] → [n, h, w, c]."""
    return tf.nn.max_pool2d(x, size, size, "VALID")


def flat(x: tf.Tensor) -> tf.Tensor:
    """[n, h, w, c] → [n, h · w · c]."""
    return tf.reshape(x, [-1, int(np.prod(x.shape[1:]))])


def conv_pool(x: tf.Tensor, kernel: tf.Tensor, size: int) -> tf.Tensor:
    """Convolution of one channel and max-pool, as products with windows: [n, rows, columns, 1] → [n, h, w, filters].

    The rows are as many as the last window reaches: size · (h - 1) + size + k - 1, a multiple of the pool's size.
    """
    _, rows, columns, _ = x.shape
    # space_to_depth of one channel, in a third of its time.
    cells = tf.transpose(tf.reshape(x, [-1, rows // size, size, columns // size, size]), [0, 1, 3, 2, 4])
    cells = tf.reshape(cells, [-1, rows // size, columns // size, size**2])
    return pooled(cells, kernel, size, _passed)


def _passed(g: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """What of a gradient goes to the second of two. ReluGrad does it in one pass; to compare, convert and multiply takes three."""
    return tf.raw_ops.ReluGrad(gradients=g, features=second - first)


def pooled(cells: tf.Tensor, kernel: tf.Tensor, size: int, passed: Passed) -> tf.Tensor:
    """`conv_pool` of images by cells of size × size pixels, [n, rows, columns, size²]. passed: see `greatest`."""
    side = (kernel.shape[0] - 1) // size + 1  # cells in a window's row
    h, w = cells.shape[1] - side + 1, cells.shape[2] - side + 1
    shifted = [cells[:, i : i + h, j : j + w] for i in range(side) for j in range(side)]
    windows = tf.reshape(tf.concat(shifted, -1), [-1, (side * size) ** 2])  # the window of each pooled cell
    rows = tf.reshape(kernel, [-1, kernel.shape[-1]])
    positions = [windows @ (tf.constant(mask) @ rows) for mask in _masks(kernel.shape[0], size)]
    return tf.reshape(greatest(positions, passed), [-1, h, w, kernel.shape[-1]])


def greatest(parts: list[tf.Tensor], passed: Passed) -> Any:
    """The greatest of several, in pairs; the gradient goes to the first that reaches it, as max-pooling's does in TensorFlow.

    passed: (gradient, first, second) → what of it goes to the second, none where they are equal. Ties are common on blank paper.
    """

    @tf.custom_gradient
    def greater(first: tf.Tensor, second: tf.Tensor) -> Any:
        def gradient(g: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            to_second = passed(g, first, second)
            return g - to_second, to_second

        return tf.maximum(first, second), gradient

    while len(parts) > 1:
        parts = [reduce(greater, parts[i : i + 2]) for i in range(0, len(parts), 2)]
    return parts[0]


def _masks(side: int, size: int) -> np.ndarray:
    """f32 [size², window, side²]: where the kernel lies in a cell's window, for each of the cell's positions."""
    cells = (side - 1) // size + 1
    masks = np.zeros((size**2, (cells * size) ** 2, side**2), np.float32)
    for position in range(size**2):
        for pixel in range((cells * size) ** 2):
            cell, inner = divmod(pixel, size**2)  # cell by cell
            row = size * (cell // cells) + inner // size - position // size
            column = size * (cell % cells) + inner % size - position % size
            if 0 <= row < side and 0 <= column < side:
                masks[position, pixel, side * row + column] = 1
    return masks


def patches(x: tf.Tensor, size: int) -> tf.Tensor:
    """What a kernel of size × size lies on, at each position: [n, h, w, c] → [n, h', w', size² · c]."""
    return tf.image.extract_patches(x, [1, size, size, 1], [1] * 4, [1] * 4, "VALID")


def conv_squares(x: tf.Tensor, slope: tf.Tensor, size: int) -> list[tf.Tensor]:
    """Σ over examples and losses of the squared gradients of a convolution's kernel and bias. slope: [losses, n, h, w, filters]."""
    return squared(patches(x, size), slope, (size, size, x.shape[-1], slope.shape[-1]))


def squared(patches: tf.Tensor, slope: tf.Tensor, shape: tuple[int, ...]) -> list[tf.Tensor]:
    """The same, from the patches. shape: the kernel's."""
    losses, n = (tf.shape(slope)[i] if slope.shape[i] is None else slope.shape[i] for i in (0, 1))
    p = tf.reshape(patches, [n, -1, patches.shape[-1]])
    d = tf.reshape(slope, [losses, n, -1, slope.shape[-1]])
    gradients = tf.matmul(p, d, transpose_a=True)  # one gradient a loss and example: [losses, n, size² · c, filters]
    kernel = tf.reshape(tf.reduce_sum(tf.square(gradients), [0, 1]), shape)
    return [kernel, tf.reduce_sum(tf.square(tf.reduce_sum(d, 2)), [0, 1])]


def dense_squares(x: tf.Tensor, slope: tf.Tensor) -> list[tf.Tensor]:
    """Σ over examples and losses of the squared gradients of a dense layer's kernel and bias: (x · slope)² = x² · slope².

    slope: [losses, n, units].
    """
    squares = tf.reduce_sum(tf.square(slope), 0)
    return [tf.matmul(tf.square(x), squares, transpose_a=True), tf.reduce_sum(squares, 0)]
