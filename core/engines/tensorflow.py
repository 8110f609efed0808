"""Carry out a plan in TensorFlow: one graph loop, traced once for all clients and rounds of a process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

from core.arrays import Arrays
from core.models import ModelSpec
from core.models import stock as ops
from core.models.fisher import squares
from core.plan import Learned, Plan
from core.scores import Sums

PAGE = 500  # images at a time when only looking
FISHER_PAGE = 100  # each has 51,200 numbers of the second convolution's gradient, and more


def one_thread() -> None:
    """Give TensorFlow one thread, in every process alike: results differ between one and two. Call before its first use."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


@dataclass(frozen=True)
class TensorFlowEngine:
    """TensorFlow's engine for one model."""

    model: ModelSpec

    def train(self, weights: Arrays, plan: Plan) -> Learned:
        """SGD, with heavy-ball momentum if asked, over the plan's batches."""
        if not len(plan.order):
            return Learned(weights, Sums(), [])
        out, loss, correct, path = _loop(self.model, plan.guard.shape[1] > 0, plan.path, plan.clip > 0)(
            weights, plan.images, plan.order, plan.labels, plan.hard, plan.shift, plan.soft, plan.logits, plan.dropout_mask,
            plan.pull.a, plan.pull.b, plan.rate, np.float32(plan.momentum), np.float32(plan.clip), plan.guard,
        )  # fmt: skip
        sums = Sums(float(loss), int(correct), plan.order.size)
        return Learned([w.numpy() for w in out], sums, [p.numpy() for p in path])

    def logits(self, weights: Arrays, images: np.ndarray) -> np.ndarray:
        """The model's logits, f32 [n, classes], for images uint8 [n, 28, 28]."""
        if not len(images):
            return np.zeros((0, self.model.classes), np.float32)
        look, tensors = _look(self.model), [tf.constant(w) for w in weights]
        return np.concatenate([look(tensors, images[i : i + PAGE]).numpy() for i in range(0, len(images), PAGE)])

    def features(self, weights: Arrays, images: np.ndarray) -> np.ndarray:
        """What the model's head sees, f32 [n, features], for images uint8 [n, 28, 28]."""
        if not len(images):
            return np.zeros((0, self.model.features), np.float32)
        look, tensors = _body(self.model), [tf.constant(w) for w in weights]
        return np.concatenate([look(tensors, images[i : i + PAGE]).numpy() for i in range(0, len(images), PAGE)])

    def fisher(self, weights: Arrays, images: np.ndarray, labels: np.ndarray) -> Arrays:
        """Mean over examples of the squared gradient of each one's own log-likelihood (core.engines.base)."""
        tensors, total = [tf.constant(w) for w in weights], [np.zeros(w.shape) for w in weights]
        for i in range(0, len(images), FISHER_PAGE):
            rows = slice(i, i + FISHER_PAGE)
            pages = _squares(self.model)(tensors, images[rows], labels[rows].astype(np.int32))
            for sum_, page in zip(total, pages, strict=True):
                sum_ += page.numpy()
        return [(one / max(1, len(images))).astype(np.float32) for one in total]


@cache
def engine(model: ModelSpec) -> TensorFlowEngine:
    """The engine of this model."""
    return TensorFlowEngine(model)


def _spec(*shape: int | None, dtype: tf.DType = tf.float32) -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype)


def _scaled(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(images, tf.float32) / 255


def _signature(model: ModelSpec) -> list[Any]:
    """Weights and images."""
    return [[_spec(*shape) for shape in model.shapes], _spec(None, *model.image, dtype=tf.uint8)]


@cache
def _look(model: ModelSpec) -> tf.types.experimental.PolymorphicFunction:
    return tf.function(lambda w, images: model.logits(ops, w, _scaled(images)), _signature(model))


@cache
def _body(model: ModelSpec) -> tf.types.experimental.PolymorphicFunction:
    return tf.function(lambda w, images: model.body(ops, w, _scaled(images)), _signature(model))


@cache
def _squares(model: ModelSpec) -> tf.types.experimental.PolymorphicFunction:
    def page(weights: list[tf.Tensor], images: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        def loss(z: tf.Tensor) -> tf.Tensor:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=z)

        return squares(model, ops, weights, _scaled(images), loss)

    return tf.function(page, [*_signature(model), _spec(None, dtype=tf.int32)])


@cache
def _loop(model: ModelSpec, guarded: bool, path: bool, clipped: bool) -> tf.types.experimental.PolymorphicFunction:
    """The training loop, with shapes that no client, round or number of stages changes.

    Weights and speeds live in variables of this process, both set at the start of every call (so nothing of one client
    reaches the next), for then one fused kernel a weight moves them in variable. `guarded` bends gradients (A-GEM), `path`
    sums −gradient · movement (SI), `clipped` bounds their length; a loop without them does not pay for them.
    """
    variables = [tf.Variable(tf.zeros(shape), trainable=False) for shape in model.shapes]
    speeds = [tf.Variable(tf.zeros(shape), trainable=False) for shape in model.shapes]
    specs = [tf.TensorSpec(None, tf.float32) for _ in model.shapes]  # a scalar, or the weight's shape
    table = _spec(None, model.classes)
    signature = [
        *_signature(model), _spec(None, None, dtype=tf.int32), _spec(None, dtype=tf.int32),
        _spec(None), table, table, table, _spec(None, None, None), specs, specs,
        _spec(None), _spec(), _spec(), _spec(None, None, dtype=tf.int32),
    ]  # fmt: skip

    @tf.function(input_signature=signature, autograph=False)
    def run(start, images, order, labels, hard, shift, soft, teacher, dropout_mask, a, b, rate, momentum, clip, guard):  # type: ignore[no-untyped-def]
        for variable, speed, w in zip(variables, speeds, start, strict=True):
            variable.assign(w)
            speed.assign(tf.zeros_like(w))

        def slopes_at(weights, rows, loss):  # type: ignore[no-untyped-def]
            x, y = _scaled(tf.gather(images, rows)), tf.gather(labels, rows)
            with tf.GradientTape() as tape:
                tape.watch(weights)
                total, counts = loss(x, y, rows)
            return tape.gradient(total, weights), counts

        def step(i, loss, correct, path_):  # type: ignore[no-untyped-def]
            weights = [variable.read_value() for variable in variables]

            def teach(x, y, rows):  # type: ignore[no-untyped-def]
                z = model.logits(ops, weights, x, dropout_mask[i])
                cross = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z + tf.gather(shift, rows))
                match = tf.reduce_mean(tf.gather(soft, rows) * tf.square(z - tf.gather(teacher, rows)), 1) / 2
                right = tf.reduce_sum(tf.cast(tf.equal(tf.argmax(z, 1, tf.int32), y), tf.int32))
                return tf.reduce_mean(tf.gather(hard, rows) * cross + match), (tf.reduce_sum(cross), right)

            def keep(x, y, rows):  # type: ignore[no-untyped-def]
                return tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=model.logits(ops, weights, x))
                ), ()

            slopes, (cross, right) = slopes_at(weights, order[i], teach)
            if guarded:
                slopes = _bent(slopes, slopes_at(weights, guard[i], keep)[0])
            pulled = [slope + ai * w + bi for slope, ai, w, bi in zip(slopes, a, weights, b, strict=True)]
            if clipped:
                pulled, _ = tf.clip_by_global_norm(pulled, clip)
            moves = [
                tf.raw_ops.ResourceApplyMomentum(  # speed = momentum·speed + slope; variable -= rate·speed
                    var=variable.handle, accum=speed.handle, lr=rate[i], momentum=momentum, grad=slope
                )
                for variable, speed, slope in zip(variables, speeds, pulled, strict=True)
            ]
            with tf.control_dependencies(moves):
                if path:
                    after = [variable.read_value() for variable in variables]
                    path_ = [p + g * (w - v) for p, g, w, v in zip(path_, slopes, weights, after, strict=True)]
                return i + 1, loss + cross, correct + right, path_

        empty = [tf.zeros(shape) for shape in model.shapes] if path else []
        zero = (tf.constant(0), tf.constant(0.0), tf.constant(0), empty)
        _, loss, correct, along = tf.while_loop(lambda i, *_: i < tf.shape(order)[0], step, zero, parallel_iterations=1)
        return [variable.read_value() for variable in variables], loss, correct, along

    return run


def _bent(slopes: list[tf.Tensor], kept: list[tf.Tensor]) -> list[tf.Tensor]:
    """A-GEM's projection (Chaudhry et al. 2019, arXiv:1812.00420): where a step would raise the kept loss, take that part away."""
    dot = tf.add_n([tf.reduce_sum(g * k) for g, k in zip(slopes, kept, strict=True)])
    size = tf.add_n([tf.reduce_sum(k * k) for k in kept])
    share = tf.where(dot < 0, dot / tf.maximum(size, 1e-12), 0.0)
    return [g - share * k for g, k in zip(slopes, kept, strict=True)]
