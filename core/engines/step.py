"""The training step as a file for engines without TensorFlow: LiteRT, builtin operations only, about 46 kB.

Two signatures, both functions of the weights. `step`: a batch of fixed size → the gradient of Plan's loss and what is
counted on the way. `look`: a page of images → logits and features. Stock gradients of convolution, pooling and ReLU are no
builtin operations of LiteRT, so here they are matrix products, comparisons and reshapes; tests hold them equal to those of
core/model.py. TensorFlow is needed to make the file (`build`), not to use it (core/engines/litert.py).
"""

from __future__ import annotations

import hashlib
import tempfile
from functools import cache
from typing import TYPE_CHECKING, Any

from core.data import CLASSES, HIDDEN, SIDE

if TYPE_CHECKING:
    import tensorflow as tf

PAGE = 100  # images of a `look`


def digest(file: bytes) -> str:
    """The file's SHA-256, which goes with it, so that a message that was cut is noticed."""
    return hashlib.sha256(file).hexdigest()


@cache
def build(kind: str, batch: int) -> bytes:
    """The step of a model (Model.kind) for batches of this size."""
    import tensorflow as tf

    from core.model import KINDS

    shapes = KINDS[kind]

    def spec(name: str, *shape: int) -> tf.TensorSpec:
        return tf.TensorSpec(shape, tf.float32, name)

    weights = [spec(f"w{i}", *shape) for i, shape in enumerate(shapes)]
    rows = [spec("images", batch, SIDE, SIDE), spec("labels", batch, CLASSES), spec("hard", batch),
            spec("shift", batch, CLASSES), spec("soft", batch, CLASSES), spec("teacher", batch, CLASSES),
            spec("dropout_mask", batch, HIDDEN[kind])]  # fmt: skip

    @tf.function(input_signature=[*weights, *rows])
    def step(*given: tf.Tensor) -> dict[str, tf.Tensor]:
        held, (images, labels, hard, shift, soft, teacher, dropout_mask) = list(given[:8]), given[8:]
        with tf.GradientTape() as tape:
            tape.watch(held)
            z = _head(held, _seen(held, images, batch), dropout_mask)
            y = z + shift
            top = tf.stop_gradient(tf.reduce_max(y, 1, keepdims=True))
            cross = tf.math.log(tf.reduce_sum(tf.exp(y - top), 1)) + top[:, 0] - tf.reduce_sum(y * labels, 1)
            match = tf.reduce_mean(soft * (z - teacher) * (z - teacher), 1) / 2
            loss = tf.reduce_sum(hard * cross + match)
        slopes = tape.gradient(loss, held)
        return {f"g{i}": g for i, g in enumerate(slopes)} | {"cross": cross, "logits": z}

    @tf.function(input_signature=[*weights, spec("images", PAGE, SIDE, SIDE)])
    def look(*given: tf.Tensor) -> dict[str, tf.Tensor]:
        held, images = list(given[:8]), given[8]
        features = _seen(held, images, PAGE)
        return {"features": features, "logits": _head(held, features, None)}

    module = tf.Module()
    module.step, module.look = step, look
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, {"step": step, "look": look})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["step", "look"])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        made: bytes = converter.convert()
    return made


def _head(weights: list[tf.Tensor], features: tf.Tensor, dropout_mask: tf.Tensor | None) -> tf.Tensor:
    k3, b3, k4, b4 = weights[4:]
    h = _relu(features @ k3 + b3)
    return (h if dropout_mask is None else h * dropout_mask) @ k4 + b4


def _seen(weights: list[tf.Tensor], images: tf.Tensor, count: int) -> tf.Tensor:
    """What the layers before the last two make of images, as core.model.seen."""
    import tensorflow as tf

    from core.model import conv_pool

    k1, b1, k2, b2 = weights[:4]
    if k1.shape.rank == 2:
        return _relu(_relu(tf.reshape(images, [count, SIDE * SIDE]) @ k1 + b1) @ k2 + b2)
    h = tf.reshape(_relu(conv_pool(images, k1) + b1), [count, 12, 12, 32])
    patches = tf.concat([tf.slice(h, [0, i, j, 0], [count, 10, 10, 32]) for i in range(3) for j in range(3)], 3)
    z = tf.reshape(tf.reshape(patches, [count * 100, 288]) @ tf.reshape(k2, [288, 64]), [count, 10, 10, 64])
    return tf.reshape(_relu(_pool(z) + b2), [count, 1600])


def _pool(z: tf.Tensor) -> tf.Tensor:
    """Max-pool 2×2; the gradient goes to the first of equal maxima, as in TensorFlow."""
    import tensorflow as tf

    from core.model import max4

    return max4(*tf.split(tf.nn.space_to_depth(z, 2), 4, 3))


def _relu(x: tf.Tensor) -> Any:
    """ReLU whose gradient is a product (ReluGrad is no builtin operation)."""
    import tensorflow as tf

    return x * tf.stop_gradient(tf.cast(x > 0, tf.float32))
