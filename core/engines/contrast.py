"""The contrast of features (core.plan.Contrast), of operations that LiteRT has builtin, with their gradients."""

from __future__ import annotations

import tensorflow as tf

TINY = 1e-12  # added to a squared length, for features that are all 0


def contrast(features: tf.Tensor, apart: tf.Tensor) -> tf.Tensor:
    """log(1 + exp(⟨φ/|φ|, apart⟩)) of each row, f32 [n]; features, apart: f32 [n, features]."""
    length = tf.sqrt(tf.reduce_sum(features * features, 1) + TINY)
    return tf.math.log(1 + tf.exp(tf.reduce_sum(features * apart, 1) / length))
