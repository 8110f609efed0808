"""Make the training step's file: LiteRT, builtin operations only, about 60 kB.

Three signatures, all functions of the weights w0, w1 …. `step`: a batch of fixed size → the gradient of Plan's loss and what is
counted on the way. `look`: a page of images → logits and features. `squares`: a page of examples → Σ of each one's squared
gradients. Tests hold them equal to TensorFlow's own (core/engines/tensorflow.py).
"""

from __future__ import annotations

import tempfile
from functools import cache
from typing import Any

import tensorflow as tf

from core.engines.contrast import contrast
from core.engines.step import FISHER_PAGE, PAGE
from core.engines.tensorflow import one_thread
from core.models import ModelSpec, builtin
from core.models.fisher import squares


@cache
def build(model: ModelSpec, batch: int, contrasts: bool = False) -> bytes:
    """The step of a model for batches of this size. contrasts: it can take a contrast (core.plan.Contrast)."""
    one_thread()  # this may be the first use of TensorFlow in its process
    signatures = {"step": _step(model, batch, contrasts), "look": _look(model), "squares": _squares(model)}
    module = tf.Module()
    for name, function in signatures.items():
        setattr(module, f"_{name}", function)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        file: bytes = converter.convert()
    return file


def _spec(name: str, *shape: int) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.float32, name)


def _weights(model: ModelSpec) -> list[tf.TensorSpec]:
    return [_spec(f"w{i}", *shape) for i, shape in enumerate(model.shapes)]


def _cross(y: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of each row. labels: f32 [n, classes], one-hot."""
    top = tf.stop_gradient(tf.reduce_max(y, 1, keepdims=True))
    return tf.math.log(tf.reduce_sum(tf.exp(y - top), 1)) + top[:, 0] - tf.reduce_sum(y * labels, 1)


def _step(model: ModelSpec, batch: int, contrasts: bool) -> Any:
    weight_specs, table = _weights(model), (batch, model.classes)
    rows = [
        _spec("images", batch, *model.image), _spec("labels", *table), _spec("hard", batch), _spec("scale", model.classes),
        _spec("shift", *table), _spec("soft", *table), _spec("teacher", *table), _spec("dropout_mask", batch, model.hidden),
    ]  # fmt: skip
    rows += [_spec("contrast", batch), _spec("apart", batch, model.features)] if contrasts else []

    @tf.function(input_signature=[*weight_specs, *rows])
    def step(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        weights, parts = list(tensors[: len(weight_specs)]), tensors[len(weight_specs) :]
        images, labels, hard, scale, shift, soft, teacher, mask, *contrasting = parts
        with tf.GradientTape() as tape:
            tape.watch(weights)
            features = model.body(builtin, weights, images)
            z = model.head(builtin, weights, features, mask)
            cross = _cross(z * scale + shift, labels)
            match = tf.reduce_mean(soft * (z - teacher) * (z - teacher), 1) / 2
            loss = tf.reduce_sum(hard * cross + match)
            if contrasting:
                weight, apart = contrasting
                loss += tf.reduce_sum(weight * contrast(features, apart))
        slopes = tape.gradient(loss, weights)
        return {f"g{i}": g for i, g in enumerate(slopes)} | {"cross": cross, "logits": z}

    return step


def _look(model: ModelSpec) -> Any:
    @tf.function(input_signature=[*_weights(model), _spec("images", PAGE, *model.image)])
    def look(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        *weights, images = tensors
        features = model.body(builtin, weights, images)
        return {"features": features, "logits": model.head(builtin, weights, features)}

    return look


def _squares(model: ModelSpec) -> Any:
    rows = [
        _spec("images", FISHER_PAGE, *model.image),
        _spec("labels", FISHER_PAGE, model.classes),
        _spec("counts", FISHER_PAGE),  # what multiplies each one's loss; 0 where a page is not full
    ]

    @tf.function(input_signature=[*_weights(model), *rows])
    def page(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        *weights, images, labels, counts = tensors
        sums = squares(model, builtin, weights, images, lambda z: tf.reduce_sum(counts * _cross(z, labels)))
        return {f"f{i}": f for i, f in enumerate(sums)}

    return page
