"""Operations of norms. LiteRT has all of them builtin, so both engines take these.

The stock gradient of a root is none of its builtin operations; a product is.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf


@tf.custom_gradient
def inverse_root(x: tf.Tensor) -> Any:
    """1 / √x."""
    root = tf.math.rsqrt(x)
    return root, lambda slope: -0.5 * slope * root * root * root


def variance(mean: tf.Tensor, square: tf.Tensor) -> tf.Tensor:
    """E[x²] − E[x]², which rounding does not make negative."""
    return tf.maximum(square - mean * mean, 0.0)


def moments(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance of each channel, over everything else: f32 [channels] each."""
    axes = list(range(len(x.shape) - 1))
    mean = tf.reduce_mean(x, axes)
    return mean, tf.reduce_mean(tf.square(x - mean), axes)


def grouped(x: tf.Tensor, groups: int, epsilon: float) -> tf.Tensor:
    """Each example's groups of channels with mean 0 and variance 1."""
    *positions, channels = x.shape[1:]
    parts = tf.reshape(x, [-1, math.prod(positions), groups, channels // groups])
    far = parts - tf.reduce_mean(parts, [1, 3], keepdims=True)
    root = inverse_root(tf.reduce_mean(far * far, [1, 3], keepdims=True) + epsilon)
    return tf.reshape(far * root, [-1, *positions, channels])


def norm_squares(normed: tf.Tensor, slope: tf.Tensor) -> list[tf.Tensor]:
    """Σ over examples and losses of the squared gradients of scale and shift. slope: each loss's behind both, [losses, n, …]."""
    axes = list(range(2, len(slope.shape) - 1))  # an example's positions
    return [tf.reduce_sum(tf.square(tf.reduce_sum(one, axes)), [0, 1]) for one in (normed * slope, slope)]
