"""The messages of TensorFlow Serving and of the Open Inference Protocol, made at run time in a pool of their own.

The official Python packages bring all of TensorFlow, or want other versions of what is installed here. Field names and numbers are
those of tensorflow/serving's `apis/*.proto` and of open-inference-protocol's `open_inference_grpc.proto`; fields that this service
neither reads nor writes are left out, and protobuf passes over them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

POOL = descriptor_pool.DescriptorPool()
KINDS = {
    name: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in ("bool", "bytes", "double", "float", "int32", "int64", "uint32", "uint64", "string")
}


class Field(NamedTuple):
    """A field of a message: a scalar's kind, or the full name of a message or an enumeration."""

    name: str
    number: int
    kind: str
    many: bool = False
    map: bool = False  # from strings to this kind
    one_of: str = ""  # the group of which one field at most is set


class Method(NamedTuple):
    """A method of a service: its name, what goes in and out."""

    name: str
    request: str
    response: str


def many(name: str, number: int, kind: str) -> Field:
    """A repeated field."""
    return Field(name, number, kind, many=True)


def by_name(name: str, number: int, kind: str) -> Field:
    """A map from strings."""
    return Field(name, number, kind, map=True)


TENSORFLOW: Mapping[str, Sequence[Field]] = {
    "TensorShapeProto": [many("dim", 2, "tensorflow.TensorShapeProto.Dim"), Field("unknown_rank", 3, "bool")],
    "TensorShapeProto.Dim": [Field("size", 1, "int64"), Field("name", 2, "string")],
    "TensorProto": [
        Field("dtype", 1, "tensorflow.DataType"), Field("tensor_shape", 2, "tensorflow.TensorShapeProto"),
        Field("version_number", 3, "int32"), Field("tensor_content", 4, "bytes"), many("float_val", 5, "float"),
        many("double_val", 6, "double"), many("int_val", 7, "int32"), many("string_val", 8, "bytes"),
        many("int64_val", 10, "int64"), many("bool_val", 11, "bool"),
    ],
    "TensorInfo": [
        Field("name", 1, "string", one_of="encoding"), Field("dtype", 2, "tensorflow.DataType"),
        Field("tensor_shape", 3, "tensorflow.TensorShapeProto"),
    ],
    "SignatureDef": [
        by_name("inputs", 1, "tensorflow.TensorInfo"), by_name("outputs", 2, "tensorflow.TensorInfo"),
        Field("method_name", 3, "string"),
    ],
    "BytesList": [many("value", 1, "bytes")],
    "FloatList": [many("value", 1, "float")],
    "Int64List": [many("value", 1, "int64")],
    "Feature": [
        Field("bytes_list", 1, "tensorflow.BytesList", one_of="kind"),
        Field("float_list", 2, "tensorflow.FloatList", one_of="kind"),
        Field("int64_list", 3, "tensorflow.Int64List", one_of="kind"),
    ],
    "Features": [by_name("feature", 1, "tensorflow.Feature")],
    "Example": [Field("features", 1, "tensorflow.Features")],
}  # fmt: skip
TYPES = {
    "DataType": {
        "DT_INVALID": 0, "DT_FLOAT": 1, "DT_DOUBLE": 2, "DT_INT32": 3, "DT_UINT8": 4, "DT_INT16": 5, "DT_INT8": 6,
        "DT_STRING": 7, "DT_COMPLEX64": 8, "DT_INT64": 9, "DT_BOOL": 10, "DT_BFLOAT16": 14, "DT_UINT16": 17,
        "DT_COMPLEX128": 18, "DT_HALF": 19, "DT_RESOURCE": 20, "DT_VARIANT": 21, "DT_UINT32": 22, "DT_UINT64": 23,
    },
}  # fmt: skip

SERVING: Mapping[str, Sequence[Field]] = {
    "ModelSpec": [
        Field("name", 1, "string"), Field("version", 2, "google.protobuf.Int64Value", one_of="version_choice"),
        Field("version_label", 4, "string", one_of="version_choice"), Field("signature_name", 3, "string"),
    ],
    "PredictRequest": [
        Field("model_spec", 1, "tensorflow.serving.ModelSpec"), by_name("inputs", 2, "tensorflow.TensorProto"),
        many("output_filter", 3, "string"),
    ],
    "PredictResponse": [
        by_name("outputs", 1, "tensorflow.TensorProto"), Field("model_spec", 2, "tensorflow.serving.ModelSpec"),
    ],
    "ExampleList": [many("examples", 1, "tensorflow.Example")],
    "ExampleListWithContext": [many("examples", 1, "tensorflow.Example"), Field("context", 2, "tensorflow.Example")],
    "Input": [
        Field("example_list", 1, "tensorflow.serving.ExampleList", one_of="kind"),
        Field("example_list_with_context", 2, "tensorflow.serving.ExampleListWithContext", one_of="kind"),
    ],
    "ClassificationRequest": [
        Field("model_spec", 1, "tensorflow.serving.ModelSpec"), Field("input", 2, "tensorflow.serving.Input"),
    ],
    "Class": [Field("label", 1, "string"), Field("score", 2, "float")],
    "Classifications": [many("classes", 1, "tensorflow.serving.Class")],
    "ClassificationResult": [many("classifications", 1, "tensorflow.serving.Classifications")],
    "ClassificationResponse": [
        Field("result", 1, "tensorflow.serving.ClassificationResult"),
        Field("model_spec", 2, "tensorflow.serving.ModelSpec"),
    ],
    "GetModelMetadataRequest": [
        Field("model_spec", 1, "tensorflow.serving.ModelSpec"), many("metadata_field", 2, "string"),
    ],
    "GetModelMetadataResponse": [
        Field("model_spec", 1, "tensorflow.serving.ModelSpec"), by_name("metadata", 2, "google.protobuf.Any"),
    ],
    "SignatureDefMap": [by_name("signature_def", 1, "tensorflow.SignatureDef")],
    "GetModelStatusRequest": [Field("model_spec", 1, "tensorflow.serving.ModelSpec")],
    "StatusProto": [Field("error_code", 1, "tensorflow.serving.Code"), Field("error_message", 2, "string")],
    "ModelVersionStatus": [
        Field("version", 1, "int64"), Field("state", 2, "tensorflow.serving.ModelVersionStatus.State"),
        Field("status", 3, "tensorflow.serving.StatusProto"),
    ],
    "GetModelStatusResponse": [many("model_version_status", 1, "tensorflow.serving.ModelVersionStatus")],
}  # fmt: skip
STATES = {
    "Code": {"OK": 0, "UNKNOWN": 2},
    "ModelVersionStatus.State": {
        "UNKNOWN": 0, "START": 10, "LOADING": 20, "AVAILABLE": 30, "UNLOADING": 40, "END": 50,
    },
}  # fmt: skip

INFERENCE: Mapping[str, Sequence[Field]] = {
    "ServerLiveRequest": [],
    "ServerLiveResponse": [Field("live", 1, "bool")],
    "ServerReadyRequest": [],
    "ServerReadyResponse": [Field("ready", 1, "bool")],
    "ModelReadyRequest": [Field("name", 1, "string"), Field("version", 2, "string")],
    "ModelReadyResponse": [Field("ready", 1, "bool")],
    "ServerMetadataRequest": [],
    "ServerMetadataResponse": [
        Field("name", 1, "string"), Field("version", 2, "string"), many("extensions", 3, "string"),
    ],
    "ModelMetadataRequest": [Field("name", 1, "string"), Field("version", 2, "string")],
    "TensorMetadata": [Field("name", 1, "string"), Field("datatype", 2, "string"), many("shape", 3, "int64")],
    "ModelMetadataResponse": [
        Field("name", 1, "string"), many("versions", 2, "string"), Field("platform", 3, "string"),
        many("inputs", 4, "inference.TensorMetadata"), many("outputs", 5, "inference.TensorMetadata"),
    ],
    "InferTensorContents": [
        many("bool_contents", 1, "bool"), many("int_contents", 2, "int32"), many("int64_contents", 3, "int64"),
        many("uint_contents", 4, "uint32"), many("uint64_contents", 5, "uint64"), many("fp32_contents", 6, "float"),
        many("fp64_contents", 7, "double"), many("bytes_contents", 8, "bytes"),
    ],
    "InferTensor": [
        Field("name", 1, "string"), Field("datatype", 2, "string"), many("shape", 3, "int64"),
        Field("contents", 5, "inference.InferTensorContents"),
    ],
    "InferRequestedOutput": [Field("name", 1, "string")],
    "ModelInferRequest": [
        Field("model_name", 1, "string"), Field("model_version", 2, "string"), Field("id", 3, "string"),
        many("inputs", 5, "inference.InferTensor"), many("outputs", 6, "inference.InferRequestedOutput"),
        many("raw_input_contents", 7, "bytes"),
    ],
    "ModelInferResponse": [
        Field("model_name", 1, "string"), Field("model_version", 2, "string"), Field("id", 3, "string"),
        many("outputs", 5, "inference.InferTensor"), many("raw_output_contents", 6, "bytes"),
    ],
}  # fmt: skip

SERVICES: Mapping[str, Sequence[Method]] = {
    "tensorflow.serving.PredictionService": [
        Method("Predict", "PredictRequest", "PredictResponse"),
        Method("Classify", "ClassificationRequest", "ClassificationResponse"),
        Method("GetModelMetadata", "GetModelMetadataRequest", "GetModelMetadataResponse"),
    ],
    "tensorflow.serving.ModelService": [Method("GetModelStatus", "GetModelStatusRequest", "GetModelStatusResponse")],
    "inference.GRPCInferenceService": [
        Method("ServerLive", "ServerLiveRequest", "ServerLiveResponse"),
        Method("ServerReady", "ServerReadyRequest", "ServerReadyResponse"),
        Method("ModelReady", "ModelReadyRequest", "ModelReadyResponse"),
        Method("ServerMetadata", "ServerMetadataRequest", "ServerMetadataResponse"),
        Method("ModelMetadata", "ModelMetadataRequest", "ModelMetadataResponse"),
        Method("ModelInfer", "ModelInferRequest", "ModelInferResponse"),
    ],
}


def message(name: str) -> Any:
    """The class of a message, by its full name."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def _file(package: str, messages: Mapping[str, Sequence[Field]], enums: Mapping[str, Mapping[str, int]]) -> None:
    """Add a package's messages, enumerations and services to the pool."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    file.dependency.extend(["google/protobuf/any.proto", "google/protobuf/wrappers.proto"])
    if package != "tensorflow":
        file.dependency.append("tensorflow.proto")
    descriptors: dict[str, Any] = {}
    for name, fields in messages.items():
        outer, _, inner = name.rpartition(".")
        descriptors[name] = (descriptors[outer].nested_type if outer else file.message_type).add(name=inner)
        for field in fields:
            _add(descriptors[name], f"{package}.{name}", field)
    for name, values in enums.items():
        outer, _, inner = name.rpartition(".")
        enum = (descriptors[outer] if outer else file).enum_type.add(name=inner)
        for label, number in values.items():
            enum.value.add(name=label, number=number)
    for service, methods in SERVICES.items():
        if service.rpartition(".")[0] == package:
            added = file.service.add(name=service.rpartition(".")[2])
            for method in methods:
                added.method.add(
                    name=method.name,
                    input_type=f".{package}.{method.request}",
                    output_type=f".{package}.{method.response}",
                )
    POOL.Add(file)


def _add(descriptor: Any, full: str, field: Field) -> None:
    """One field; a map is a repeated entry of a nested type, as protoc writes it."""
    kind = descriptor_pb2.FieldDescriptorProto
    label = kind.LABEL_REPEATED if field.many or field.map else kind.LABEL_OPTIONAL
    added = descriptor.field.add(name=field.name, number=field.number, label=label)
    if field.map:
        entry = "".join(word.capitalize() for word in field.name.split("_")) + "Entry"
        nested = descriptor.nested_type.add(name=entry)
        nested.options.map_entry = True
        _add(nested, f"{full}.{entry}", Field("key", 1, "string"))
        _add(nested, f"{full}.{entry}", Field("value", 2, field.kind))
        added.type, added.type_name = kind.TYPE_MESSAGE, f".{full}.{entry}"
    elif field.kind in KINDS:
        added.type = KINDS[field.kind]
    else:
        enum = field.kind.rpartition(".")[2] in ("DataType", "State", "Code")
        added.type, added.type_name = (kind.TYPE_ENUM if enum else kind.TYPE_MESSAGE), f".{field.kind}"
    if field.one_of:
        if field.one_of not in (names := [group.name for group in descriptor.oneof_decl]):
            descriptor.oneof_decl.add(name=field.one_of)
            names.append(field.one_of)
        added.oneof_index = names.index(field.one_of)


for _module in (any_pb2, wrappers_pb2):
    POOL.AddSerializedFile(_module.DESCRIPTOR.serialized_pb)
_file("tensorflow", TENSORFLOW, TYPES)
_file("tensorflow.serving", SERVING, STATES)
_file("inference", INFERENCE, {})
