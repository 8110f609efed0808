"""Ask an exported file, whatever its kind: images in, probabilities out. Each runtime is imported when a file needs it.

What a file says of itself (its labels, what should go in, where it comes from) is read by `about`.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.safe_json import json_object

# Images f32 [n, rows, columns, 1] in 0 … 1 → probabilities f32 [n, classes]
Predictor = Callable[[np.ndarray], np.ndarray]

ABOUT = "about.json"  # what a model says of itself: an entry of a TFLite file's metadata, a file in a .keras or a SavedModel
LABELS = "labels.txt"  # in a TFLite file (which is a zip archive, too) and a SavedModel: a line a class
DAMAGE = (  # what a damaged file makes of its kind's reader
    struct.error, IndexError, TypeError, AttributeError, zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error,
)  # fmt: skip
SCALE = np.float32(1 / 255)  # what a byte goes in with
THRESHOLD = 0.9  # the least confidence to be relied on, of files that state none


def floats(images: np.ndarray) -> np.ndarray:
    """uint8 [n, rows, columns] as every export wants it: f32 [n, rows, columns, 1] in 0 … 1."""
    return images[..., None].astype(np.float32) / np.float32(255)


def quantized(images: np.ndarray) -> np.ndarray:
    """f32 in 0 … 1 → uint8: the very bytes that the floats came from."""
    scaled: np.ndarray = np.rint(images * np.float32(255))
    return scaled.clip(0, 255).astype(np.uint8)


def load(path: Path) -> Predictor:
    """The file (a SavedModel's folder) as a function, on one thread a call.

    Raises ValueError for a name that says no known kind, and whatever its runtime raises for a file that it cannot read.
    """
    return _kind(path, LOADERS)(path)


def about(path: Path) -> dict[str, str]:
    """What a file says of itself; empty if it says nothing. Raises ValueError, naming the file, if it is damaged."""
    read = _kind(path, ABOUTS)
    try:
        return dict(read(path))
    except (ValueError, *DAMAGE) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def threshold(metadata: Mapping[str, str]) -> float:
    """The least confidence to be relied on, 0 … 1, by what a file says of itself."""
    return float(metadata.get("confidence.threshold", THRESHOLD))


def _kind(path: Path, kinds: Mapping[str, Any]) -> Any:
    for ending, function in kinds.items():
        if path.name.endswith(ending):
            return function
    raise ValueError(f"{path}: the name of a model should end in one of {', '.join(kinds)}")


def tflite(path: Path) -> Predictor:
    """A TFLite file, by LiteRT. Not for several threads at once: an interpreter holds its input.

    Raises ValueError on a damaged file, or if bytes go in at another scale than 1/255.
    """
    return interpreted(path.read_bytes(), path.name)


def interpreted(content: bytes, name: str) -> Predictor:
    """The same of a file's bytes."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    into, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    bytes_in = into["dtype"] == np.uint8
    if bytes_in and into["quantization"] != (SCALE, 0):
        raise ValueError(f"{name} takes bytes with (scale, zero point) {into['quantization']}, not (1/255, 0)")
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


def onnx(path: Path) -> Predictor:
    """An ONNX file, by ONNX Runtime; several threads may call. Raises one of its errors if damaged."""
    session = _session(path)
    return lambda images: session.run(["probabilities"], {"image": images})[0]


def keras(path: Path) -> Predictor:
    """A .keras file, logits out, as TensorFlow's own compiled call."""
    from tensorflow import keras as library

    return compiled(library.models.load_model(path, compile=False))


def compiled(model: Any) -> Predictor:
    """A Keras model with logits out, as one compiled graph for any batch."""
    import tensorflow as tf

    run = tf.function(lambda image: tf.nn.softmax(model(image, training=False)), input_signature=[signature(model)])
    return lambda images: run(images).numpy()


def signature(model: Any) -> Any:
    """What goes into a Keras model: image f32 [n, rows, columns, 1]."""
    import tensorflow as tf

    return tf.TensorSpec(model.input_shape, tf.float32, name="image")


def saved_model(path: Path) -> Predictor:
    """The newest version in a folder of numbered ones, by the signature that TensorFlow Serving uses."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(newest(path)))
    serve = loaded.signatures["serving_default"]
    return lambda images: serve(image=tf.constant(images))[
        "probabilities"
    ].numpy()  # by position it takes ten times as long


def newest(path: Path) -> Path:
    """The folder of the greatest number in a SavedModel's. Raises ValueError, naming it, if there is none."""
    numbers = sorted((int(one.name), one) for one in path.glob("*") if one.name.isdecimal() and one.is_dir())
    if not numbers:
        raise ValueError(f"{path} has no numbered version")
    return numbers[-1][1]


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def _in_tflite(path: Path) -> dict[str, str]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    for entry in (model.Metadata(i) for i in range(model.MetadataLength())):
        if entry.Name() == ABOUT.encode():
            return _metadata(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return {}


def _in_keras(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as file:
        return _metadata(file.read(ABOUT)) if ABOUT in file.namelist() else {}


def _in_onnx(path: Path) -> dict[str, str]:
    metadata: dict[str, str] = _session(path).get_modelmeta().custom_metadata_map
    return metadata


def _in_folder(path: Path) -> dict[str, str]:
    file = newest(path) / "assets.extra" / ABOUT
    return _metadata(file.read_bytes()) if file.exists() else {}


def _metadata(octets: bytes) -> dict[str, str]:
    return {key: str(value) for key, value in json_object(octets).items()}


LOADERS: dict[str, Callable[[Path], Predictor]] = {
    ".tflite": tflite, ".onnx": onnx, ".keras": keras, ".savedmodel": saved_model,
}  # fmt: skip
ABOUTS: dict[str, Callable[[Path], dict[str, str]]] = {
    ".tflite": _in_tflite, ".onnx": _in_onnx, ".keras": _in_keras, ".savedmodel": _in_folder,
}  # fmt: skip


def packed(metadata: Mapping[str, str]) -> bytes:
    """As `about` reads it: JSON, keys in order."""
    return json.dumps(dict(sorted(metadata.items())), indent=1, ensure_ascii=False).encode()
