"""ONNX: image float32 [n, rows, columns, 1] → probabilities float32 [n, classes], any n; float32, and int8 inside.

Written from the model's arrays, operation by operation. A model with a layer that has no writer here goes through tf2onnx.

ONNX convolves channels first. With one channel the way in is a free Reshape; the way back before flattening is saved by
flattening channels first and putting the rows of the first dense kernel in that order: no Transpose is needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core.models.layers import Conv, Dense, Flatten, Pool
from core.models.norm import EPSILON, Norm
from core.predict import load
from server.export import tf2onnx
from server.export.outgoing import Outgoing
from server.export.tflite import calibration

OPSET = 18
IR = 9  # the file format's version: that of onnx 1.14, which every runtime since 2023 reads


def save(model: Outgoing, path: Path) -> None:
    """Write the file, with what it says of itself as metadata. The same weights give the same bytes."""
    has_writers = all(type(layer) in WRITERS for layer in model.folded[0].layers)
    _finish(written(model) if has_writers else tf2onnx.converted(model, OPSET), model, path)


def save_int8(model: Outgoing, path: Path) -> None:
    """Write a file that computes with bytes, its ranges measured on training images.

    Weights are unsigned like activations: signed ones saturate on processors without VNNI (98.94 instead of 99.25 %).
    """
    import onnx
    from onnxruntime import quantization

    pages = iter([{"image": image[None]} for image in calibration(model.images)])

    class Pages(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(pages, None)

    with tempfile.TemporaryDirectory() as folder:
        float_file, int8_file = Path(folder) / "whole.onnx", Path(folder) / "made.onnx"
        save(model, float_file)
        quantization.quantize_static(
            float_file,
            int8_file,
            Pages(),
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QUInt8,
        )
        _finish(onnx.load(int8_file), model.judged(load(int8_file)), path)


def _finish(proto: Any, model: Outgoing, path: Path) -> None:
    import onnx

    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, dict(sorted(model.about.items())))
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString(deterministic=True))


# ── the graph, layer by layer ──


@dataclass
class Graph:
    """What has been written so far."""

    nodes: list[Any] = field(default_factory=list)
    arrays: list[Any] = field(default_factory=list)
    flat: tuple[int, ...] = ()  # rows, columns, channels of what was flattened, until a dense layer has seen it

    def add(self, operation: str, name: str, x: str, *arrays: np.ndarray, **attributes: Any) -> str:
        """One operation on x and these arrays; returns its output's name."""
        import onnx

        names = [f"{name}.{kind}" for kind, _ in zip(("weights", "bias"), arrays, strict=False)]
        self.arrays += [
            onnx.numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in zip(names, arrays, strict=True)
        ]
        self.nodes.append(onnx.helper.make_node(operation, [x, *names], [name], name, **attributes))
        return name


def written(model: Outgoing) -> Any:
    """The model as a graph of ONNX."""
    from onnx import TensorProto, helper

    (spec, weights), graph = model.folded, Graph()
    rows, columns = spec.image
    x = graph.add("Reshape", "channels_first", "image", np.array([-1, 1, rows, columns], np.int64))
    shape, rest = (rows, columns, 1), iter(weights)
    for layer in spec.layers:
        x = WRITERS[type(layer)](graph, layer, [next(rest) for _ in layer.shapes(shape)], x, shape)
        shape = layer.out(shape)  # type: ignore[assignment]
    graph.nodes.append(helper.make_node("Softmax", [x], ["probabilities"], "probabilities", axis=1))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *sizes])
        for name, sizes in (("image", (rows, columns, 1)), ("probabilities", (spec.classes,)))
    ]
    onnx_graph = helper.make_graph(graph.nodes, "digits", ends[:1], ends[1:], graph.arrays, doc_string="digits")
    return helper.make_model(
        onnx_graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name=""
    )


def _conv(graph: Graph, layer: Conv, arrays: Sequence[np.ndarray], x: str, shape: tuple[int, ...]) -> str:
    kernel, bias = arrays
    z = graph.add("Conv", layer.name, x, kernel.transpose(3, 2, 0, 1), bias)
    return graph.add("Relu", f"{layer.name}.relu", z)


def _pool(graph: Graph, layer: Pool, arrays: Sequence[np.ndarray], x: str, shape: tuple[int, ...]) -> str:
    sides = [layer.size, layer.size]
    return graph.add("MaxPool", layer.name, x, kernel_shape=sides, strides=sides)


def _flatten(graph: Graph, layer: Flatten, arrays: Sequence[np.ndarray], x: str, shape: tuple[int, ...]) -> str:
    graph.flat = shape
    return graph.add("Flatten", layer.name, x)


def _dense(graph: Graph, layer: Dense, arrays: Sequence[np.ndarray], x: str, shape: tuple[int, ...]) -> str:
    kernel, bias = arrays
    if graph.flat:  # its rows from (rows, columns, channels) to (channels, rows, columns)
        kernel = tf2onnx.channels_first(kernel, graph.flat)
        graph.flat = ()
    z = graph.add("Gemm", layer.name, x, kernel, bias)
    return graph.add("Relu", f"{layer.name}.relu", z) if layer.relu else z


def _norm(graph: Graph, layer: Norm, arrays: Sequence[np.ndarray], x: str, shape: tuple[int, ...]) -> str:
    """Group norm: each group of channels as one row of numbers (batch norm is folded)."""
    *positions, channels = shape
    row, one = np.array([0, layer.groups, -1], np.int64), np.ones(layer.groups, np.float32)
    rows = graph.add("Reshape", f"{layer.name}.groups", x, row)
    normed = graph.add("InstanceNormalization", f"{layer.name}.normed", rows, one, 0 * one, epsilon=EPSILON)
    first = np.array([-1, channels, *positions], np.int64)
    x = graph.add("Reshape", f"{layer.name}.channels", normed, first)
    scale, shift = (array.reshape(channels, *(1 for _ in positions)) for array in arrays)
    return graph.add("Add", layer.name, graph.add("Mul", f"{layer.name}.scaled", x, scale), shift)


Writer = Callable[[Graph, Any, Sequence[np.ndarray], str, tuple[int, ...]], str]
WRITERS: dict[type, Writer] = {Conv: _conv, Pool: _pool, Flatten: _flatten, Dense: _dense, Norm: _norm}
