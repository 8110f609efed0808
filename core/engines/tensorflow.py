"""Carry out a plan in TensorFlow: one graph loop, traced once for all clients and rounds of a process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from core.arrays import Arrays, flat, shaped
from core.engines.base import PAGE
from core.engines.contrast import contrast
from core.models import ModelSpec, fisher
from core.models import stock as ops
from core.plan import Learned, Plan
from core.scores import Sums

FISHER_PAGE = 500  # images times classes; each has 18,432 numbers of the second convolution's gradient, and more


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
        terms = Terms.of(plan)
        arguments = tf.nest.map_structure(tf.constant, (flat(weights), _inputs(plan, terms)))
        out, loss, correct, path = _loop(self.model, terms)(*arguments)
        sums = Sums(float(loss), int(correct), plan.order.size)
        return Learned(shaped(out.numpy(), self.model.shapes), sums, self._whole([p.numpy() for p in path]))

    def _whole(self, slopes: Arrays) -> Arrays:
        """What there is for each array that takes gradients, and zeros for statistics, which have none."""
        rest, statistics = iter(slopes), self.model.statistics
        return [
            np.zeros(s, np.float32) if i in statistics else next(rest)
            for i, s in enumerate(self.model.shapes)
            if slopes
        ]

    def logits(self, weights: Arrays, images: np.ndarray) -> np.ndarray:
        """The model's logits, f32 [n, classes], for images uint8 [n, 28, 28]."""
        return _paged(_look(self.model), weights, images, self.model.classes)

    def features(self, weights: Arrays, images: np.ndarray) -> np.ndarray:
        """What the model's head sees, f32 [n, features], for images uint8 [n, 28, 28]."""
        return _paged(_body(self.model), weights, images, self.model.features)

    def gradient(self, weights: Arrays, images: np.ndarray, labels: np.ndarray) -> Arrays:
        """Of the mean cross-entropy of these images (core.engines.base)."""
        tensors, total = [tf.constant(w) for w in weights], [np.zeros(w.shape) for w in self.model.trainable(weights)]
        for i in range(0, len(images), PAGE):
            page = images[i : i + PAGE], labels[i : i + PAGE].astype(np.int32)
            for sum_, slope in zip(total, _gradient(self.model)(tensors, *page), strict=True):
                sum_ += len(page[0]) / len(images) * slope.numpy()
        return self._whole([one.astype(np.float32) for one in total])

    def fisher(self, weights: Arrays, images: np.ndarray) -> Arrays:
        """The diagonal of the Fisher information, over all classes (core.engines.base)."""
        tensors, total = [tf.constant(w) for w in weights], [np.zeros(w.shape) for w in weights]
        page = max(1, FISHER_PAGE // self.model.classes)
        for i in range(0, len(images), page):
            for sum_, squares in zip(total, _information(self.model)(tensors, images[i : i + page]), strict=True):
                sum_ += squares.numpy()
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
    tensors, empty = [tf.constant(w) for w in weights], np.zeros((0, width), np.float32)
    return np.concatenate([empty, *(look(tensors, images[i : i + PAGE]).numpy() for i in range(0, len(images), PAGE))])


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
def _gradient(model: ModelSpec) -> tf.types.experimental.PolymorphicFunction:
    def page(weights: list[tf.Tensor], images: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        return _slopes(model, weights, _scaled(images), labels)

    return tf.function(page, [*_signature(model), _spec(None, dtype=tf.int32)], autograph=False)


@cache
def _information(model: ModelSpec) -> tf.types.experimental.PolymorphicFunction:
    def page(weights: list[tf.Tensor], images: tf.Tensor) -> list[tf.Tensor]:
        return fisher.information(model, ops, weights, _scaled(images))

    return tf.function(page, _signature(model), autograph=False)


class Terms(NamedTuple):
    """What of a plan's mathematics is there at all: a loop does not pay for what is not."""

    pulled: bool
    momentum: bool
    weighted: bool  # rows count differently
    scaled: bool  # logits inside the cross-entropy
    shifted: bool
    matched: bool  # a teacher's logits
    dropout: bool
    guarded: bool  # A-GEM bends gradients
    referred: bool  # Fed-A-GEM does, by one gradient for all steps
    path: bool  # SI sums −gradient · movement
    clipped: bool  # the length of a step's gradient is bounded, but for the pull
    contrasted: bool  # MOON holds features to another model's
    fixed_norm: bool  # batch norms go by the statistics that came

    @classmethod
    def of(cls, plan: Plan) -> Terms:
        """This plan's."""
        return cls(
            pulled=any(a.any() for a in (*plan.pull.a, *plan.pull.b)),
            momentum=plan.momentum != 0,
            weighted=bool((plan.hard != 1).any()),
            scaled=bool((plan.scale != 1).any()),
            shifted=bool(plan.shift.any()),
            matched=bool(plan.soft.any()),
            dropout=bool((plan.dropout_mask != 1).any()),
            guarded=plan.guard.shape[1] > 0,
            referred=any(one.any() for one in plan.reference),
            path=plan.path,
            clipped=plan.clip > 0,
            contrasted=plan.contrast is not None,
            fixed_norm=plan.fixed_norm,
        )


# What a loop takes beside the weights: a plan's arrays by their names, those that its terms need.
Inputs = dict[str, Any]


def _inputs(plan: Plan, terms: Terms) -> Inputs:
    inputs: Inputs = {"images": plan.images, "order": plan.order, "labels": plan.labels, "rate": plan.rate}
    inputs |= {"a": plan.pull.a, "b": plan.pull.b} if terms.pulled else {}
    inputs |= {"momentum": np.float32(plan.momentum)} if terms.momentum else {}
    inputs |= {"hard": plan.hard} if terms.weighted else {}
    inputs |= {"scale": plan.scale} if terms.scaled else {}
    inputs |= {"shift": plan.shift} if terms.shifted else {}
    inputs |= {"soft": plan.soft, "logits": plan.logits} if terms.matched else {}
    inputs |= {"dropout_mask": plan.dropout_mask} if terms.dropout else {}
    inputs |= {"guard": plan.guard} if terms.guarded else {}
    inputs |= {"apart": plan.contrast.apart, "contrast": np.float32(plan.contrast.weight)} if plan.contrast else {}
    inputs |= {"reference": plan.reference} if terms.referred else {}
    return inputs | ({"clip": np.float32(plan.clip)} if terms.clipped else {})


def _specs(model: ModelSpec, terms: Terms) -> Inputs:
    """Of every plan with these terms, for this model: shapes that no client, round or number of stages changes."""
    pulls = [tf.TensorSpec(None, tf.float32) for _ in model.shapes]  # a scalar, or the array's shape
    rows, table = _spec(None, None, dtype=tf.int32), _spec(None, model.classes)
    specs = {
        "images": _signature(model)[1], "order": rows, "labels": _spec(None, dtype=tf.int32), "rate": _spec(None),
        "a": pulls, "b": pulls, "momentum": _spec(), "hard": _spec(None), "scale": _spec(model.classes),
        "shift": table, "soft": table, "logits": table, "dropout_mask": _spec(None, None, None), "guard": rows, "clip": _spec(),
        "apart": _spec(None, model.features), "contrast": _spec(), "reference": [_spec(*shape) for shape in model.shapes],
    }  # fmt: skip
    needed = {
        "pulled": ("a", "b"), "momentum": ("momentum",), "weighted": ("hard",), "scaled": ("scale",),
        "shifted": ("shift",), "matched": ("soft", "logits"), "dropout": ("dropout_mask",), "guarded": ("guard",),
        "clipped": ("clip",), "contrasted": ("apart", "contrast"), "referred": ("reference",),
    }  # fmt: skip
    absent = {name for term, names in needed.items() if not getattr(terms, term) for name in names}
    return {name: spec for name, spec in specs.items() if name not in absent}


@cache
def _variables(model: ModelSpec) -> list[tf.Variable]:
    return [tf.Variable(tf.zeros(shape), trainable=False) for shape in model.shapes]


@cache
def _loop(model: ModelSpec, terms: Terms) -> tf.types.experimental.ConcreteFunction:
    """The training loop of plans with these terms, traced: to find it by its arguments' types would cost half a millisecond a call.

    Weights and speeds live in variables of this process, which one fused kernel a weight moves in place; every call sets them, so
    nothing of one client reaches the next. They come and go as one row: each tensor of a call costs more than its bytes.
    """
    variables, sizes = _variables(model), [int(np.prod(shape)) for shape in model.shapes]
    moving, shapes = model.trainable(variables), model.trainable(model.shapes)
    speeds = [tf.Variable(tf.zeros(shape), trainable=False) for shape in shapes] if terms.momentum else []

    @tf.function(input_signature=[_spec(None), _specs(model, terms)], autograph=False)
    def run(start: tf.Tensor, inputs: Inputs) -> Any:
        for variable, w in zip(variables, tf.split(start, sizes), strict=True):
            variable.assign(tf.reshape(w, variable.shape))
        for speed in speeds:
            speed.assign(tf.zeros_like(speed))

        def step(i: Any, loss: Any, correct: Any, path: Any) -> Any:
            weights = [variable.read_value() for variable in variables]
            slopes, cross, right = _plan_slopes(model, weights, inputs, i, terms.fixed_norm)
            if terms.guarded:
                slopes = _bent(slopes, _guard_slopes(model, weights, inputs, i, terms.fixed_norm))
            if terms.referred:
                slopes = _bent(slopes, model.trainable(inputs["reference"]))
            moves, trainable = slopes, model.trainable(weights)
            if terms.clipped:  # before the pull, which is bounded by itself
                moves, _ = tf.clip_by_global_norm(moves, inputs["clip"])
            if terms.pulled:
                a_b = (model.trainable(inputs[name]) for name in "ab")
                moves = [slope + a * w + b for slope, w, a, b in zip(moves, trainable, *a_b, strict=True)]
            with tf.control_dependencies(_moved(moving, speeds, moves, inputs["rate"][i], inputs.get("momentum"))):
                if terms.path:
                    after = [variable.read_value() for variable in moving]
                    path = [p + g * (w - v) for p, g, w, v in zip(path, slopes, trainable, after, strict=True)]
                return i + 1, loss + cross, correct + right, path

        zeros = [tf.zeros(shape) for shape in shapes] if terms.path else []
        begin, steps = (tf.constant(0), tf.constant(0.0), tf.constant(0), zeros), tf.shape(inputs["order"])[0]
        _, loss, correct, path = tf.while_loop(lambda i, *_: i < steps, step, begin, parallel_iterations=1)
        if model.statistics and not terms.fixed_norm:
            for j, mean in zip(sorted(model.statistics), _statistics(model, variables, inputs, steps), strict=True):
                variables[j].assign(mean)
        return tf.concat([tf.reshape(variable, [-1]) for variable in variables], 0), loss, correct, path

    return run.get_concrete_function()


def _statistics(model: ModelSpec, variables: list[tf.Variable], inputs: Inputs, steps: tf.Tensor) -> list[tf.Tensor]:
    """Batch norms' statistics by the last weights: means over all that the client learned from, in the same batches."""
    weights = [variable.read_value() for variable in variables]
    zeros = [tf.zeros(model.shapes[j]) for j in sorted(model.statistics)]

    def look(i: Any, total: Any) -> Any:
        statistics: list[tf.Tensor] = []
        model.body(ops, weights, _scaled(tf.gather(inputs["images"], inputs["order"][i])), statistics)
        return i + 1, [t + one for t, one in zip(total, statistics, strict=True)]

    _, total = tf.while_loop(lambda i, _: i < steps, look, (tf.constant(0), zeros), parallel_iterations=1)
    return [t / tf.cast(steps, tf.float32) for t in total]


def _plan_slopes(
    model: ModelSpec, weights: list[tf.Tensor], inputs: Inputs, i: tf.Tensor, fixed: bool
) -> tuple[Any, tf.Tensor, tf.Tensor]:
    """The gradient of a step's loss, the sum of its rows' cross-entropies, and how many images it read right.

    fixed: batch norms go by their own statistics, not the batch's.
    """
    rows = inputs["order"][i]
    x, y = _scaled(tf.gather(inputs["images"], rows)), tf.gather(inputs["labels"], rows)
    with tf.GradientTape() as tape:
        tape.watch(model.trainable(weights))
        features = model.body(ops, weights, x, None if fixed else [])
        z = model.head(ops, weights, features, inputs["dropout_mask"][i] if "dropout_mask" in inputs else None)
        adjusted = z * inputs["scale"] if "scale" in inputs else z
        adjusted = adjusted + tf.gather(inputs["shift"], rows) if "shift" in inputs else adjusted
        cross = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=adjusted)
        losses = tf.gather(inputs["hard"], rows) * cross if "hard" in inputs else cross
        if "soft" in inputs:
            squared_errors = tf.square(z - tf.gather(inputs["logits"], rows))
            losses += tf.reduce_mean(tf.gather(inputs["soft"], rows) * squared_errors, 1) / 2
        if "apart" in inputs:
            losses += inputs["contrast"] * contrast(features, tf.gather(inputs["apart"], rows))
        loss = tf.reduce_mean(losses)
    right = tf.reduce_sum(tf.cast(tf.equal(tf.argmax(z, 1, tf.int32), y), tf.int32))
    return tape.gradient(loss, model.trainable(weights)), tf.reduce_sum(cross), right


def _guard_slopes(
    model: ModelSpec, weights: list[tf.Tensor], inputs: Inputs, i: tf.Tensor, fixed: bool
) -> list[tf.Tensor]:
    """The gradient of the mean cross-entropy of rows to guard. fixed: as above."""
    rows = inputs["guard"][i]
    return _slopes(model, weights, _scaled(tf.gather(inputs["images"], rows)), tf.gather(inputs["labels"], rows), fixed)


def _slopes(
    model: ModelSpec, weights: list[tf.Tensor], x: tf.Tensor, y: tf.Tensor, fixed: bool = True
) -> list[tf.Tensor]:
    """The gradient of the mean cross-entropy of images f32 [n, rows, columns]. fixed: do norms go by the statistics that came?"""
    with tf.GradientTape() as tape:
        tape.watch(model.trainable(weights))
        logits = model.logits(ops, weights, x, statistics=None if fixed else [])
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    slopes: list[tf.Tensor] = tape.gradient(loss, model.trainable(weights))
    return slopes


def _moved(variables: Any, speeds: Any, slopes: Any, rate: tf.Tensor, momentum: tf.Tensor | None) -> list[tf.Operation]:
    """A step: speed = momentum · speed + slope; variable −= rate · speed. Without momentum the slope is the speed."""
    if momentum is None:
        return [
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=slope)
            for variable, slope in zip(variables, slopes, strict=True)
        ]
    return [
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle, accum=speed.handle, lr=rate, momentum=momentum, grad=slope
        )
        for variable, speed, slope in zip(variables, speeds, slopes, strict=True)
    ]


def _bent(slopes: list[tf.Tensor], reference: list[tf.Tensor]) -> list[tf.Tensor]:
    """A-GEM's projection (Chaudhry et al. 2019, arXiv:1812.00420): where a step goes against the reference, take that part away."""
    dot = tf.add_n([tf.reduce_sum(g * k) for g, k in zip(slopes, reference, strict=True)])
    size = tf.add_n([tf.reduce_sum(k * k) for k in reference])
    share = tf.where(dot < 0, dot / tf.maximum(size, 1e-12), 0.0)
    return [g - share * k for g, k in zip(slopes, reference, strict=True)]
