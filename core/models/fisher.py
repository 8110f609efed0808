"""Per-example squared gradients of a model, over either engine's operations.

A layer's gradient for one example is (what it saw)ᵀ · (the loss's slope at its output): one backward pass gives the slopes of all
examples at once, and only these small products are squared and summed. (A mean gradient squared, which many EWC codes take, is
something else: positive and negative gradients cancel in it.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from core.models.spec import ModelSpec

Loss = Callable[[tf.Tensor], tf.Tensor]  # of the logits


def squares(model: ModelSpec, ops: Any, weights: Sequence[tf.Tensor], images: tf.Tensor, loss: Loss) -> list[tf.Tensor]:
    """Σ over examples of the squared gradient of the example's own loss (of the logits), of the weights' shapes."""
    tape, total, inputs, outputs = _watched(model, ops, weights, images, loss)
    return model.squares(ops, inputs, [slope[None] for slope in tape.gradient(total, outputs)])


def information(model: ModelSpec, ops: Any, weights: Sequence[tf.Tensor], images: tf.Tensor) -> list[tf.Tensor]:
    """Σ over images x and classes y of p(y|x) (∂ log p(y|x) / ∂w)², p being the model's own answers, of the weights' shapes.

    One forward pass, and a backward pass for each class, in a loop of the graph: any number of classes makes the same graph.
    """

    def logs(z: tf.Tensor) -> tf.Tensor:  # times √p, which is p once it is squared; examples do not touch each other
        return tf.reduce_sum(tf.stop_gradient(tf.sqrt(tf.nn.softmax(z))) * tf.nn.log_softmax(z), 0)

    tape, losses, inputs, outputs = _watched(model, ops, weights, images, logs)
    slopes = tape.jacobian(losses, outputs, parallel_iterations=1, experimental_use_pfor=False)
    return model.squares(ops, inputs, slopes)


def _watched(
    model: ModelSpec, ops: Any, weights: Sequence[tf.Tensor], images: tf.Tensor, loss: Loss
) -> tuple[Any, ...]:
    """A tape, a loss of the logits, what each layer saw, and what each computed: f32 [n, …]."""
    outputs: list[tf.Tensor] = []
    with tf.GradientTape(watch_accessed_variables=False) as tape:

        def watch(z: tf.Tensor) -> tf.Tensor:
            tape.watch(z)
            outputs.append(z)
            return z

        z, inputs = model.watched(ops, weights, images, watch)
        total = loss(z)
    return tape, total, inputs, outputs
