"""SavedModel, as TensorFlow Serving reads it: a folder of numbered versions, `serving_default`: image → probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from core.predict import ABOUT, LABELS, packed, signature
from server.export.outgoing import Outgoing


def save(model: Outgoing, path: Path) -> None:
    """Write the folder with one version in it, of the run's own number; what it says of itself lies in assets.extra."""
    version = path / str(int(model.origin.get("version", "1")))
    write(model.keras, version)
    extra = version / "assets.extra"
    extra.mkdir()
    (extra / ABOUT).write_bytes(packed(model.about))
    (extra / LABELS).write_text(model.lines)


def write(model: Any, folder: Path) -> None:
    """Write a SavedModel with the endpoint `serve`: image f32 [n, rows, columns, 1] → probabilities f32 [n, classes]; it is
    the default signature too."""
    import tensorflow as tf

    serve = tf.function(lambda image: forward(model, image), input_signature=[signature(model)])
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]  # keras.export would write each of them twice
    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve, "serve": serve})


def forward(model: Any, image: Any, order: tuple[int, ...] = (0, 1, 2, 3)) -> dict[str, Any]:
    """Apply a Keras model with logits out, layer by layer: image → {"probabilities": f32 [n, classes]}.

    Flattening is one static reshape (of axes in this order) where Keras' own asks for the batch's size at run time:
    four operations fewer in every export.
    """
    import tensorflow as tf
    from tensorflow import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.Flatten):
            image = tf.reshape(tf.transpose(image, order), (-1, int(np.prod(image.shape[1:]))))
        else:
            image = layer(image)
    return {"probabilities": tf.nn.softmax(image)}
