"""TFLite: Keras → SavedModel with a named endpoint → converter. float32, float16, int8, and int4 with int8.

The int8 file takes bytes (uint8, scale 1/255, zero point 0): a device feeds its image as it is, 0 = paper, 255 = ink. The
others take float32. All give float32 probabilities [n, classes]; int8's are multiples of 1/256, so a few images tie.

Inside each file: the signature `serve` (image → probabilities), an entry of its metadata that says what the file is
(core.predict.about), and `labels.txt`, appended as a zip archive, where Android's libraries look for it.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core.predict import ABOUT, LABELS, floats, interpreted, packed
from server.export import savedmodel
from server.export.outgoing import LONG_AGO, Outgoing

CALIBRATION = 300  # training images
MAGIC = b"TFL3"


def save(model: Outgoing, path: Path) -> None:
    """Write the float32 file."""
    path.write_bytes(_tagged(_converted(model), model))


def save_float16(model: Outgoing, path: Path) -> None:
    """Write a file whose weights are float16; a runtime computes in float32."""
    import tensorflow as tf

    halves = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    path.write_bytes(_judged(_converted(model, supported_types=[tf.float16], **halves), model))


def save_int8(model: Outgoing, path: Path) -> None:
    """Write the int8 file, its ranges measured on training images."""
    import tensorflow as tf

    sample = calibration(model.images)

    def batches() -> Iterator[list[np.ndarray]]:
        return ([sample[i : i + 1]] for i in range(len(sample)))

    content = _converted(
        model,
        supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8],
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=batches,
        inference_input_type=tf.uint8,
        inference_output_type=tf.float32,
    )
    path.write_bytes(_judged(content, model))


def save_int4(model: Outgoing, path: Path) -> None:
    """Write a file whose dense layers have int4 weights, its convolutions int8, each with a scale a channel; what goes in
    between is float32, and quantized as it comes."""
    from ai_edge_quantizer import qtyping, quantizer

    int4_quantizer = quantizer.Quantizer(_converted(model))
    weight_bits = {
        qtyping.TFLOperationName.CONV_2D: 8,
        qtyping.TFLOperationName.FULLY_CONNECTED: 4,
    }
    for operation, bits in weight_bits.items():
        weights = qtyping.TensorQuantizationConfig(
            num_bits=bits, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE
        )
        config = qtyping.OpQuantizationConfig(
            weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.INTEGER
        )
        int4_quantizer.update_quantization_recipe(".*", operation, config)
    path.write_bytes(_judged(bytes(int4_quantizer.quantize().quantized_model), model))


def calibration(images: np.ndarray) -> np.ndarray:
    """The first 300 images: f32 [≤ 300, 28, 28, 1].

    A corner of the first is set to 0 and 1, so that the input's scale is 1/255 whatever images a user brings.
    """
    sample = floats(images[:CALIBRATION])
    sample[0, -1, -2:, 0] = 0, 1
    return sample


def _converted(model: Outgoing, **options: Any) -> bytes:
    """The converter's file. options: the converter's own, or its target's."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        savedmodel.write(model.keras, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        for name, value in ({"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]} | options).items():
            setattr(converter.target_spec if name.startswith("supported") else converter, name, value)
        content: bytes = converter.convert()
    return content


def _judged(content: bytes, model: Outgoing) -> bytes:
    return _tagged(content, model.judged(interpreted(content, "it")))


def _tagged(content: bytes, model: Outgoing) -> bytes:
    """The file with what it says of itself inside, and its labels appended."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    whole = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for one in whole.buffers:  # a large quantized array lies behind the tables, at an offset that holds no more
        if one.offset > 1:
            one.data = np.frombuffer(content[one.offset : one.offset + one.size], np.uint8)
            one.offset = one.size = 0
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(packed(model.about), np.uint8)
    entry.name, entry.buffer = ABOUT, len(whole.buffers)
    whole.buffers.append(buffer)
    whole.metadata.append(entry)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(whole.Pack(builder), MAGIC)
    out = io.BytesIO(bytes(builder.Output()))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS, LONG_AGO), model.lines)
    return out.getvalue()
