"""Carry out a plan in TensorFlow: one graph loop, traced once for all clients and rounds of a process."""

from __future__ import annotations

from functools import cache

import numpy as np
import tensorflow as tf

from core.engines import Sums
from core.model import SHAPES, Weights, logits
from core.plan import Plan

PAGE = 500  # images at a time when only looking


def one_thread() -> None:
    """Give TensorFlow one thread, in every process alike: results differ between one and two. Call before its first use."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def train(weights: Weights, plan: Plan) -> tuple[Weights, Sums]:
    """SGD, with heavy-ball momentum if asked, over the plan's batches. Returns the new weights and sums over all rows seen."""
    out, loss, correct = _loop()(
        weights, plan.images, plan.order, plan.labels, plan.hard, plan.soft, plan.logits, plan.silenced,
        plan.pull.a, plan.pull.b, plan.rate, np.float32(plan.momentum),
    )  # fmt: skip
    return [w.numpy() for w in out], Sums(float(loss), int(correct), plan.order.size)


def answers(weights: Weights, images: np.ndarray) -> np.ndarray:
    """The model's logits, f32 [n, 10], for images uint8 [n, 28, 28]."""
    if not len(images):
        return np.zeros((0, SHAPES[-1][0]), np.float32)
    held = [tf.constant(w) for w in weights]
    pages = [_look()(held, images[i : i + PAGE]).numpy() for i in range(0, len(images), PAGE)]
    return np.concatenate(pages)


def _spec(*shape: int | None, dtype: tf.DType = tf.float32) -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype)


@cache
def _look() -> tf.types.experimental.PolymorphicFunction:
    specs = [[_spec(*shape) for shape in SHAPES], _spec(None, 28, 28, dtype=tf.uint8)]
    return tf.function(lambda weights, images: logits(weights, tf.cast(images, tf.float32) / 255), specs)


@cache
def _loop() -> tf.types.experimental.PolymorphicFunction:
    """The training loop, with shapes that no client, round or number of stages changes.

    Weights and speeds live in variables of this process, both set at the start of every call (so nothing of one client
    reaches the next), for then one fused kernel a weight moves them in place.
    """
    places = [tf.Variable(tf.zeros(shape), trainable=False) for shape in SHAPES]
    speeds = [tf.Variable(tf.zeros(shape), trainable=False) for shape in SHAPES]
    held = [tf.TensorSpec(None, tf.float32) for _ in SHAPES]  # a scalar, or the weight's shape
    signature = [
        [_spec(*shape) for shape in SHAPES],
        _spec(None, 28, 28, dtype=tf.uint8), _spec(None, None, dtype=tf.int32), _spec(None, dtype=tf.int32),
        _spec(None), _spec(None), _spec(None, 10), _spec(None, None, None), held, held, _spec(None), _spec(),
    ]  # fmt: skip

    @tf.function(input_signature=signature, autograph=False)
    def run(start, images, order, labels, hard, soft, teacher, silenced, a, b, rate, momentum):  # type: ignore[no-untyped-def]
        for place, speed, w in zip(places, speeds, start, strict=True):
            place.assign(w)
            speed.assign(tf.zeros_like(w))

        def step(i, loss, correct):  # type: ignore[no-untyped-def]
            rows = order[i]
            x = tf.cast(tf.gather(images, rows), tf.float32) / 255
            y, h, s = tf.gather(labels, rows), tf.gather(hard, rows), tf.gather(soft, rows)
            weights = [place.read_value() for place in places]
            with tf.GradientTape() as tape:
                tape.watch(weights)
                z = logits(weights, x, silenced[i])
                hard_loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z)
                soft_loss = tf.reduce_mean(tf.square(z - tf.gather(teacher, rows)), 1) / 2
                total = tf.reduce_mean(h * hard_loss + s * soft_loss)
            slopes = tape.gradient(total, weights)
            moves = [
                tf.raw_ops.ResourceApplyMomentum(  # speed = momentum·speed + slope; place -= rate·speed
                    var=place.handle, accum=speed.handle, lr=rate[i], momentum=momentum, grad=slope + ai * w + bi
                )
                for place, speed, slope, ai, w, bi in zip(places, speeds, slopes, a, weights, b, strict=True)
            ]
            right = tf.reduce_sum(tf.cast(tf.equal(tf.argmax(z, 1, tf.int32), y), tf.int32))
            with tf.control_dependencies(moves):
                return i + 1, loss + tf.reduce_sum(hard_loss), correct + right

        zero = (tf.constant(0), tf.constant(0.0), tf.constant(0))
        _, loss, correct = tf.while_loop(lambda i, *_: i < tf.shape(order)[0], step, zero, parallel_iterations=1)
        return [place.read_value() for place in places], loss, correct

    return run
