"""The model as Keras knows it: the canonical file, the reference that exports are held to, and its plain graph."""

from __future__ import annotations

import itertools
import json
import re
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from server.export.check import Predictor

_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # what a ZIP file calls the beginning of time


@dataclass(frozen=True)
class Outgoing:
    """A model on its way out, and what an exporter may need beside it."""

    keras: Any  # logits out
    images: np.ndarray  # uint8 [n, rows, columns]: training images, by which int8 measures its ranges
    labels: tuple[str, ...]  # what its classes are called


def save(model: Outgoing, path: Path) -> None:
    """Write an uncompiled .keras file, logits out. Same weights, same bytes: dates and addresses are taken out."""
    model.keras.save(path)
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    about = json.loads(parts["metadata.json"]) | {"date_saved": "1980-01-01@00:00:00"}
    parts["metadata.json"] = json.dumps(about).encode()
    parts["config.json"] = _numbered(parts["config.json"].decode()).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in parts.items():
            file.writestr(zipfile.ZipInfo(name, _LONG_AGO), content)


def _numbered(config: str) -> str:
    """Shared objects by number, where Keras writes their addresses in memory."""
    number: defaultdict[str, int] = defaultdict(itertools.count(1).__next__)
    return re.sub(r'(?<="shared_object_id": )\d+', lambda found: str(number[found[0]]), config)


def load(path: Path) -> Predictor:
    """The file as TensorFlow's own compiled call."""
    from tensorflow import keras

    return predictor(keras.models.load_model(path, compile=False))


def predictor(model: Any) -> Predictor:
    """A Keras model with logits out, as one compiled graph for any batch."""
    import tensorflow as tf

    run = tf.function(lambda image: tf.nn.softmax(model(image, training=False)), input_signature=[signature(model)])
    return lambda images: run(images).numpy()


def signature(model: Any) -> Any:
    """What goes into a Keras model: image f32 [n, rows, columns, 1]."""
    import tensorflow as tf

    return tf.TensorSpec(model.input_shape, tf.float32, name="image")


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
