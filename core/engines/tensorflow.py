"""Carry out a plan in TensorFlow: one graph loop, traced once for all clients and rounds of a process."""

from __future__ import annotations

from functools import cache

import numpy as np
import tensorflow as tf

from core import model
from core.data import CLASSES
from core.model import Weights, squares
from core.plan import Learned, Plan
from core.scores import Sums

Shapes = tuple[tuple[int, ...], ...]

PAGE = 500  # images at a time when only looking
FISHER_PAGE = 100  # each has 51,200 numbers of the second convolution's gradient, and more


def one_thread() -> None:
    """Give TensorFlow one thread, in every process alike: results differ between one and two. Call before its first use."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def train(weights: Weights, plan: Plan) -> Learned:
    """SGD, with heavy-ball momentum if asked, over the plan's batches."""
    if not len(plan.order):
        return Learned(weights, Sums(), [])
    out, loss, correct, path = _loop(_shapes(weights), plan.guard.shape[1] > 0, plan.path, plan.clip > 0)(
        weights, plan.images, plan.order, plan.labels, plan.hard, plan.shift, plan.soft, plan.logits, plan.dropout_mask,
        plan.pull.a, plan.pull.b, plan.rate, np.float32(plan.momentum), np.float32(plan.clip), plan.guard,
    )  # fmt: skip
    sums = Sums(float(loss), int(correct), plan.order.size)
    return Learned([w.numpy() for w in out], sums, [p.numpy() for p in path])


def logits(weights: Weights, images: np.ndarray) -> np.ndarray:
    """The model's logits, f32 [n, 10], for images uint8 [n, 28, 28]."""
    if not len(images):
        return np.zeros((0, CLASSES), np.float32)
    tensors = [tf.constant(w) for w in weights]
    pages = [_look(_shapes(weights))(tensors, images[i : i + PAGE]).numpy() for i in range(0, len(images), PAGE)]
    return np.concatenate(pages)


def features(weights: Weights, images: np.ndarray) -> np.ndarray:
    """What the layers before the last two see, f32 [n, 1600] for the CNN, for images uint8 [n, 28, 28]."""
    tensors = [tf.constant(w) for w in weights]
    pages = [_watch(_shapes(weights))(tensors, images[i : i + PAGE]).numpy() for i in range(0, len(images), PAGE)]
    return np.concatenate(pages) if pages else np.zeros((0, len(weights[4])), np.float32)


def fisher(weights: Weights, images: np.ndarray, labels: np.ndarray) -> Weights:
    """Mean over examples of the squared gradient of each one's own log-likelihood: the diagonal of the Fisher information
    if the labels are drawn from the model's own answers. images: uint8 [n, 28, 28]; labels: int [n]."""
    tensors, total = [tf.constant(w) for w in weights], [np.zeros(w.shape) for w in weights]
    for i in range(0, len(images), FISHER_PAGE):
        rows = slice(i, i + FISHER_PAGE)
        for sum_, page in zip(
            total, _squares(_shapes(weights))(tensors, images[rows], labels[rows].astype(np.int32)), strict=True
        ):
            sum_ += page.numpy()
    return [(one / max(1, len(images))).astype(np.float32) for one in total]


def _spec(*shape: int | None, dtype: tf.DType = tf.float32) -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype)


def _scaled(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(images, tf.float32) / 255


def _shapes(weights: Weights) -> Shapes:
    return tuple(w.shape for w in weights)


_IMAGES = _spec(None, 28, 28, dtype=tf.uint8)


@cache
def _look(shapes: Shapes) -> tf.types.experimental.PolymorphicFunction:
    specs = [_spec(*shape) for shape in shapes]
    return tf.function(lambda weights, images: model.logits(weights, _scaled(images)), [specs, _IMAGES])


@cache
def _watch(shapes: Shapes) -> tf.types.experimental.PolymorphicFunction:
    specs = [_spec(*shape) for shape in shapes]
    return tf.function(lambda weights, images: model.seen(weights, _scaled(images)), [specs, _IMAGES])


@cache
def _squares(shapes: Shapes) -> tf.types.experimental.PolymorphicFunction:
    signature = [[_spec(*shape) for shape in shapes], _IMAGES, _spec(None, dtype=tf.int32)]
    return tf.function(lambda weights, images, labels: squares(weights, _scaled(images), labels), signature)


@cache
def _loop(shapes: Shapes, guarded: bool, path: bool, clipped: bool) -> tf.types.experimental.PolymorphicFunction:
    """The training loop, with shapes that no client, round or number of stages changes.

    Weights and speeds live in variables of this process, both set at the start of every call (so nothing of one client
    reaches the next), for then one fused kernel a weight moves them in variable. `guarded` bends gradients (A-GEM), `path`
    sums −gradient · movement (SI), `clipped` bounds their length; a loop without them does not pay for them.
    """
    variables = [tf.Variable(tf.zeros(shape), trainable=False) for shape in shapes]
    speeds = [tf.Variable(tf.zeros(shape), trainable=False) for shape in shapes]
    specs = [tf.TensorSpec(None, tf.float32) for _ in shapes]  # a scalar, or the weight's shape
    signature = [
        [_spec(*shape) for shape in shapes], _IMAGES, _spec(None, None, dtype=tf.int32), _spec(None, dtype=tf.int32),
        _spec(None), _spec(None, 10), _spec(None, 10), _spec(None, 10), _spec(None, None, None), specs, specs,
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
                z = model.logits(weights, x, dropout_mask[i])
                cross = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z + tf.gather(shift, rows))
                match = tf.reduce_mean(tf.gather(soft, rows) * tf.square(z - tf.gather(teacher, rows)), 1) / 2
                right = tf.reduce_sum(tf.cast(tf.equal(tf.argmax(z, 1, tf.int32), y), tf.int32))
                return tf.reduce_mean(tf.gather(hard, rows) * cross + match), (tf.reduce_sum(cross), right)

            def keep(x, y, rows):  # type: ignore[no-untyped-def]
                return tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=model.logits(weights, x))
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

        empty = [tf.zeros(shape) for shape in shapes] if path else []
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
