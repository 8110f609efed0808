"""ONNX, through tf2onnx: image float32 [n, rows, columns, 1] → probabilities float32 [n, classes], any n; run by ONNX Runtime.

ONNX convolves channels first. With one channel the way in is a free Reshape; the way back before flattening is saved by
flattening channels first and putting the rows of the first dense kernel in that order: no Transpose is left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from server.export.check import Predictor
from server.export.keras import Outgoing, forward, signature

OPSET = 18  # the newest that tf2onnx writes
CONTRACT = {
    "input.layout": "image: NHWC, n x {} x {} x 1, float32",
    "input.range": "0..1 (a byte divided by 255)",
    "input.polarity": "ink=1 on paper=0",
}


def save(model: Outgoing, path: Path) -> None:
    """Write the file, with the input's contract and the labels as metadata. The same weights give the same bytes."""
    import onnx
    import tensorflow as tf
    import tf2onnx

    twin, given = _channels_first(model.keras), [signature(model.keras)]
    run = tf.function(lambda image: forward(twin, image, (0, 3, 1, 2)), input_signature=given)
    proto, _ = tf2onnx.convert.from_function(run, input_signature=given, opset=OPSET)
    _tidy(proto)
    rows, columns = given[0].shape[1:3]
    contract = {key: text.format(rows, columns) for key, text in CONTRACT.items()}
    onnx.helper.set_model_props(proto, {"labels": ",".join(model.labels)} | contract)
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def _channels_first(model: Any) -> Any:
    """The model, its first dense kernel's rows moved from (h, w, c) to (c, h, w), to be flattened channels first."""
    from tensorflow import keras

    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    names = [layer.name for layer in model.layers]
    flat = next(layer for layer in model.layers if isinstance(layer, keras.layers.Flatten))
    kernel = twin.get_layer(names[names.index(flat.name) + 1]).kernel
    height, width, channels = flat.input.shape[1:]
    rows = np.arange(kernel.shape[0]).reshape(height, width, channels).transpose(2, 0, 1).ravel()
    kernel.assign(kernel.numpy()[rows])
    return twin


def _tidy(proto: Any) -> None:
    """Names by place in the graph (Conv_1, Conv_1.W), where tf2onnx counts on through a process; the batch is `n`."""
    from onnx.defs import get_schema

    graph, names = proto.graph, {"image": "image", "probabilities": "probabilities"}
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        inputs = get_schema(node.op_type, OPSET).inputs
        node.input[:] = [names.setdefault(old, f"{node.name}.{inputs[i].name}") for i, old in enumerate(node.input)]
        node.output[:] = [names.setdefault(old, node.name) for old in node.output]
    for array in graph.initializer:
        array.name = names[array.name]
    graph.initializer.sort(key=lambda array: array.name)
    del graph.value_info[:]
    for end in (graph.input[0], graph.output[0]):
        end.type.tensor_type.shape.dim[0].dim_param = "n"
    graph.name = graph.doc_string = "digits"
    used = [one for one in proto.opset_import if one.domain == ""]
    del proto.opset_import[:]
    proto.opset_import.extend(used)


def load(path: Path) -> Predictor:
    """The file, on one thread a call; several threads may call. Raises one of ONNX Runtime's errors if damaged."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"image": images})[0]
