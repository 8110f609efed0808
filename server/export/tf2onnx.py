"""The general way to ONNX, for models with layers that server/export/onnx.py does not know: through tf2onnx."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.predict import signature
from server.export.outgoing import Outgoing
from server.export.savedmodel import forward


def converted(model: Outgoing, opset: int) -> Any:
    """The model as a graph of ONNX. Names follow from places in the graph (Conv_1, Conv_1.W): tf2onnx's own numbers
    go on from one export of a process to the next."""
    import tensorflow as tf
    import tf2onnx

    twin, input_signature = _channels_first(model.keras), [signature(model.keras)]
    run = tf.function(lambda image: forward(twin, image, (0, 3, 1, 2)), input_signature=input_signature)
    proto, _ = tf2onnx.convert.from_function(run, input_signature=input_signature, opset=opset)
    _tidy(proto, opset)
    return proto


def channels_first(kernel: np.ndarray, flat: Sequence[int]) -> np.ndarray:
    """A dense kernel [features, units] whose rows come as (rows, columns, channels) = flat, for (channels, rows, columns)."""
    return kernel[np.arange(len(kernel)).reshape(flat).transpose(2, 0, 1).ravel()]


def _channels_first(model: Any) -> Any:
    """The model, its first dense kernel's rows moved from (h, w, c) to (c, h, w), to be flattened channels first."""
    from tensorflow import keras

    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    names = [layer.name for layer in model.layers]
    flat = next(layer for layer in model.layers if isinstance(layer, keras.layers.Flatten))
    kernel = twin.get_layer(names[names.index(flat.name) + 1]).kernel
    kernel.assign(channels_first(kernel.numpy(), flat.input.shape[1:]))
    return twin


def _tidy(proto: Any, opset: int) -> None:
    from onnx.defs import get_schema

    graph, names = proto.graph, {"image": "image", "probabilities": "probabilities"}
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        inputs = get_schema(node.op_type, opset).inputs
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
