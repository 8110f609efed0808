"""Carry out a plan in TensorFlow: one graph loop, traced once for all clients and rounds of a process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

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
        loop = _loop(self.model, plan.guard.shape[1] > 0, plan.path, plan.clip > 0)
        out, loss, correct, path = loop(weights, Given.of(plan))
        sums = Sums(float(loss), int(correct), plan.order.size)
        return Learned([w.numpy() for w in out], sums, [p.numpy() for p in path])

    def logits(self, weights: Arrays, images: np.ndarray) -> np.ndarray:
        """The model's logits, f32 [n, classes], for images uint8 [n, 28, 28]."""
        return _paged(_look(self.model), weights, images, self.model.classes)

    def features(self, weights: Arrays, images: np.ndarray) -> np.ndarray:
        """What the model's head sees, f32 [n, features], for images uint8 [n, 28, 28]."""
        return _paged(_body(self.model), weights, images, self.model.features)

    def fisher(self, weights: Arrays, images: np.ndarray, labels: np.ndarray) -> Arrays:
        """Mean over examples of the squared gradient of each one's own log-likelihood (core.engines.base)."""
        tensors, total = [tf.constant(w) for w in weights], [np.zeros(w.shape) for w in weights]
        for i in range(0, len(images), FISHER_PAGE):
            rows = slice(i, i + FISHER_PAGE)
            pages = _squares(self.model)(tensors, images[rows], labels[rows].astype(np.int32))
            for sum_, page in zip(total, pages, strict=True):
                sum_ += page.numpy()
        return [(one / max(1, len(images))).astype(np.float32) for one in total]


def engine(model: ModelSpec, step: bytes = b"", digest: str = "") -> TensorFlowEngine:
    """The engine of this model; it needs no training step's file, for it traces its own."""
    one_thread()
    return _engine(model)


@cache
def _engine(model: ModelSpec) -> TensorFlowEngine:
    return TensorFlowEngine(model)


def _paged(look: Any, weights: Arrays, images: np.ndarray, width: int) -> np.ndarray:
    """What a graph says of images, a page at a time: f32 [n, width]."""
    tensors, none = [tf.constant(w) for w in weights], np.zeros((0, width), np.float32)
    return np.concatenate([none, *(look(tensors, images[i : i + PAGE]).numpy() for i in range(0, len(images), PAGE))])


def _spec(*shape: int | None, dtype: tf.DType = tf.float32) -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype)


def _scaled(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(images, tf.float32) / 255


def _signature(model: ModelSpec) -> list[Any]:
    """Weights and images."""
    return [[_spec(*shape) for shape in model.shapes], _spec(None, *model.image, dtype=tf.uint8)]


@cache
def _look(model: ModelSpec) -> tf.types.experimental.PolymorphicFunction:
    return tf.function(lambda w, images: model.logits(ops, w, _scaled(images)), _signature(model), autograph=False)


@cache
def _body(model: ModelSpec) -> tf.types.experimental.PolymorphicFunction:
    return tf.function(lambda w, images: model.body(ops, w, _scaled(images)), _signature(model), autograph=False)


@cache
def _squares(model: ModelSpec) -> tf.types.experimental.PolymorphicFunction:
    def page(weights: list[tf.Tensor], images: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        def loss(z: tf.Tensor) -> tf.Tensor:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=z)

        return squares(model, ops, weights, _scaled(images), loss)

    return tf.function(page, [*_signature(model), _spec(None, dtype=tf.int32)], autograph=False)


class Given(NamedTuple):
    """What a training loop takes beside the weights: a plan (core.plan.Plan), as tensors."""

    images: Any
    order: Any
    labels: Any
    hard: Any
    shift: Any
    soft: Any
    logits: Any
    dropout_mask: Any
    a: Any
    b: Any
    rate: Any
    momentum: Any
    clip: Any
    guard: Any

    @classmethod
    def of(cls, plan: Plan) -> Given:
        """This plan's."""
        return cls(
            plan.images, plan.order, plan.labels, plan.hard, plan.shift, plan.soft, plan.logits, plan.dropout_mask,
            plan.pull.a, plan.pull.b, plan.rate, np.float32(plan.momentum), np.float32(plan.clip), plan.guard,
        )  # fmt: skip

    @classmethod
    def specs(cls, model: ModelSpec) -> Given:
        """Of every plan for this model."""
        pulls = [tf.TensorSpec(None, tf.float32) for _ in model.shapes]  # a scalar, or the weight's shape
        rows, table = _spec(None, None, dtype=tf.int32), _spec(None, model.classes)
        return cls(
            _signature(model)[1], rows, _spec(None, dtype=tf.int32), _spec(None), table, table, table,
            _spec(None, None, None), pulls, pulls, _spec(None), _spec(), _spec(), rows,
        )  # fmt: skip


@cache
def _loop(model: ModelSpec, guarded: bool, path: bool, clipped: bool) -> tf.types.experimental.PolymorphicFunction:
    """The training loop, with shapes that no client, round or number of stages changes.

    Weights and speeds live in variables of this process, both set at the start of every call (so nothing of one client
    reaches the next), for then one fused kernel a weight moves them in place. `guarded` bends gradients (A-GEM), `path`
    sums −gradient · movement (SI), `clipped` bounds their length; a loop without them does not pay for them.
    """
    variables = [tf.Variable(tf.zeros(shape), trainable=False) for shape in model.shapes]
    speeds = [tf.Variable(tf.zeros(shape), trainable=False) for shape in model.shapes]

    @tf.function(input_signature=[_signature(model)[0], Given.specs(model)], autograph=False)
    def run(start: list[tf.Tensor], given: Given) -> Any:
        for variable, speed, w in zip(variables, speeds, start, strict=True):
            variable.assign(w)
            speed.assign(tf.zeros_like(w))

        def step(i: Any, loss: Any, correct: Any, along: Any) -> Any:
            weights = [variable.read_value() for variable in variables]
            slopes, cross, right = _taught(model, weights, given, i)
            if guarded:
                slopes = _bent(slopes, _kept(model, weights, given, i))
            pulled = [slope + a * w + b for slope, a, w, b in zip(slopes, given.a, weights, given.b, strict=True)]
            if clipped:
                pulled, _ = tf.clip_by_global_norm(pulled, given.clip)
            with tf.control_dependencies(_moved(variables, speeds, pulled, given.rate[i], given.momentum)):
                if path:
                    after = [variable.read_value() for variable in variables]
                    along = [p + g * (w - v) for p, g, w, v in zip(along, slopes, weights, after, strict=True)]
                return i + 1, loss + cross, correct + right, along

        zeros = [tf.zeros(shape) for shape in model.shapes] if path else []
        begin, steps = (tf.constant(0), tf.constant(0.0), tf.constant(0), zeros), tf.shape(given.order)[0]
        _, loss, correct, along = tf.while_loop(lambda i, *_: i < steps, step, begin, parallel_iterations=1)
        return [variable.read_value() for variable in variables], loss, correct, along

    return run


def _taught(model: ModelSpec, weights: list[tf.Tensor], given: Given, i: tf.Tensor) -> tuple[Any, tf.Tensor, tf.Tensor]:
    """The gradient of a step's loss, and what it saw: the sum of cross-entropies, how many images it read right."""
    rows = given.order[i]
    x, y = _scaled(tf.gather(given.images, rows)), tf.gather(given.labels, rows)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        z = model.logits(ops, weights, x, given.dropout_mask[i])
        cross = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z + tf.gather(given.shift, rows))
        match = tf.reduce_mean(tf.gather(given.soft, rows) * tf.square(z - tf.gather(given.logits, rows)), 1) / 2
        loss = tf.reduce_mean(tf.gather(given.hard, rows) * cross + match)
    right = tf.reduce_sum(tf.cast(tf.equal(tf.argmax(z, 1, tf.int32), y), tf.int32))
    return tape.gradient(loss, weights), tf.reduce_sum(cross), right


def _kept(model: ModelSpec, weights: list[tf.Tensor], given: Given, i: tf.Tensor) -> list[tf.Tensor]:
    """The gradient of the mean cross-entropy of rows to guard."""
    rows = given.guard[i]
    x, y = _scaled(tf.gather(given.images, rows)), tf.gather(given.labels, rows)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        logits = model.logits(ops, weights, x)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    slopes: list[tf.Tensor] = tape.gradient(loss, weights)
    return slopes


def _moved(variables: Any, speeds: Any, slopes: Any, rate: tf.Tensor, momentum: tf.Tensor) -> list[tf.Operation]:
    """A step: speed = momentum · speed + slope; variable −= rate · speed."""
    return [
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle, accum=speed.handle, lr=rate, momentum=momentum, grad=slope
        )
        for variable, speed, slope in zip(variables, speeds, slopes, strict=True)
    ]


def _bent(slopes: list[tf.Tensor], kept: list[tf.Tensor]) -> list[tf.Tensor]:
    """A-GEM's projection (Chaudhry et al. 2019, arXiv:1812.00420): where a step would raise the kept loss, take that part away."""
    dot = tf.add_n([tf.reduce_sum(g * k) for g, k in zip(slopes, kept, strict=True)])
    size = tf.add_n([tf.reduce_sum(k * k) for k in kept])
    share = tf.where(dot < 0, dot / tf.maximum(size, 1e-12), 0.0)
    return [g - share * k for g, k in zip(slopes, kept, strict=True)]
