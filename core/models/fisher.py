"""Per-example squared gradients of a model, over either engine's operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from core.models.spec import ModelSpec


def squares(
    model: ModelSpec, ops: Any, weights: Sequence[tf.Tensor], images: tf.Tensor, loss: Callable[[tf.Tensor], tf.Tensor]
) -> list[tf.Tensor]:
    """Σ over examples of the squared gradient of the example's own loss (of the logits), of the weights' shapes.

    A layer's gradient for one example is (what it saw)ᵀ · (the loss's slope at its output): one backward pass gives the
    slopes of all examples at once, and only these small products are squared and summed. (A mean gradient squared, which
    many EWC codes take, is something else: positive and negative gradients cancel in it.)
    """
    seen: list[tf.Tensor] = []
    with tf.GradientTape(watch_accessed_variables=False) as tape:

        def watch(z: tf.Tensor) -> tf.Tensor:
            tape.watch(z)
            seen.append(z)
            return z

        z, inputs = model.watched(ops, weights, images, watch)
        total = loss(z)
    return model.squares(ops, inputs, tape.gradient(total, seen))
