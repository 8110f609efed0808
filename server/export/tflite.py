"""TFLite, float32 and int8: Keras → SavedModel with a named endpoint → converter; run by LiteRT on one thread.

The int8 file takes bytes (uint8, scale 1/255, zero point 0): a device feeds its image as it is, 0 = paper, 255 = ink.
Both give float32 probabilities [n, classes]; int8's are multiples of 1/256, so a few images tie.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from server.export.check import Predictor, floats
from server.export.keras import Outgoing, forward, signature

CALIBRATION = 300  # training images


def saved_model(model: Any, folder: Path) -> None:
    """Write a SavedModel with the endpoint `serve`: image f32 [n, rows, columns, 1] → probabilities f32 [n, classes]."""
    from tensorflow import keras

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", lambda image: forward(model, image), input_signature=[signature(model)])
    archive.write_out(folder, verbose=False)


def save(model: Outgoing, path: Path) -> None:
    """Write the float32 file."""
    _convert(model.keras, path)


def save_int8(model: Outgoing, path: Path) -> None:
    """Write the int8 file, its ranges measured on training images."""
    import tensorflow as tf

    sample = calibration(model.images)

    def batches() -> Iterator[list[np.ndarray]]:
        return ([sample[i : i + 1]] for i in range(len(sample)))

    _convert(
        model.keras,
        path,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=batches,
        inference_input_type=tf.uint8,
        inference_output_type=tf.float32,
    )


def calibration(images: np.ndarray) -> np.ndarray:
    """The first 300 training images that have both blank paper and full ink, then others: f32 [≤ 300, 28, 28, 1].

    A corner of the first is set to 0 and 1, so that the input's scale is 1/255 whatever images a user brings.
    """
    full = (images.min((1, 2)) == 0) & (images.max((1, 2)) == 255)
    sample = floats(images[np.argsort(~full, kind="stable")[:CALIBRATION]])
    sample[0, -1, -2:, 0] = 0, 1
    return sample


def _convert(model: Any, path: Path, **options: Any) -> None:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        saved_model(model, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8 if options else tf.lite.OpsSet.TFLITE_BUILTINS
        ]
        for name, value in options.items():
            setattr(converter, name, value)
        path.write_bytes(converter.convert())


def load(path: Path) -> Predictor:
    """Either file, on one thread. Not for several threads at once: an interpreter holds its input.

    Raises ValueError on a damaged file, or if bytes go in at another scale than 1/255.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=path.read_bytes(), num_threads=1)
    into, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    bytes_in = into["dtype"] == np.uint8
    if bytes_in and (np.float32(1 / 255), 0) != into["quantization"]:
        raise ValueError(f"{path.name} takes bytes with (scale, zero point) {into['quantization']}, not (1/255, 0)")
    batch = 0

    def predict(images: np.ndarray) -> np.ndarray:
        nonlocal batch
        if len(images) != batch:
            interpreter.resize_tensor_input(into["index"], images.shape)
            interpreter.allocate_tensors()
            batch = len(images)
        interpreter.set_tensor(into["index"], quantized(images) if bytes_in else images)
        interpreter.invoke()
        return interpreter.get_tensor(out["index"])

    return predict


def quantized(images: np.ndarray) -> np.ndarray:
    """f32 in 0 … 1 → uint8: the very bytes that the floats came from."""
    scaled: np.ndarray = np.rint(images * np.float32(255))
    return scaled.clip(0, 255).astype(np.uint8)
