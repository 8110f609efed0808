"""Over gRPC: TensorFlow Serving's PredictionService and ModelService, the Open Inference Protocol, health, reflection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from server.serve import messages, tensors
from server.serve.messages import message
from server.serve.refusal import Refusal, invalid
from server.serve.servable import NAME, Servable
from server.serve.service import SIGNATURES, Service
from server.serve.tensors import IMAGE, PIXELS, PROBABILITIES

FLOAT = 1  # DT_FLOAT
AVAILABLE, END = 30, 50  # ModelVersionStatus.State
Handler = Callable[[Service, Any, Any], Awaitable[None]]  # service, request, response to fill in

for _module in (health_pb2, reflection_pb2):  # so that a reflection client finds these services, too
    messages.POOL.AddSerializedFile(_module.DESCRIPTOR.serialized_pb)


def application(service: Service) -> tuple[grpc.aio.Server, health.aio.HealthServicer]:
    """The server, not started and without a port, and the health that it tells."""
    octets = service.limits.octets
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", octets), ("grpc.so_reuseport", 0)],
        maximum_concurrent_rpcs=service.limits.waiting,
        interceptors=[Admission(service)],
    )
    for name, methods in messages.SERVICES.items():
        package = name.rpartition(".")[0]
        handlers = {
            one.name: _method(service, HANDLERS[one.name], f"{package}.{one.request}", f"{package}.{one.response}")
            for one in methods
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    names = [*messages.SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server, pool=messages.POOL)
    return server, healthy


class Admission(grpc.aio.ServerInterceptor):
    """Asks for the token before a message is received: a stranger's would lie in memory, megabytes each, until it is refused."""

    def __init__(self, service: Service) -> None:
        """service: whose token it is. Health and reflection need none."""
        self.service = service

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """The method's handler, or one that refuses."""
        if handler_call_details.method.rpartition("/")[0][1:] not in messages.SERVICES:
            return await continuation(handler_call_details)
        metadata = dict(handler_call_details.invocation_metadata or ())
        try:
            self.service.authorized(metadata.get("authorization"))
        except Refusal as refusal:
            return _refused(self.service, refusal)
        return await continuation(handler_call_details)


def _refused(service: Service, refusal: Refusal) -> grpc.RpcMethodHandler:
    """As of a stream of messages, none of which is asked for: of a single one gRPC would take all before this is called."""

    async def refused(requests: Any, context: grpc.aio.ServicerContext) -> None:
        try:
            with service.counted("grpc"):
                raise refusal
        except Refusal:
            await _abort(context, refusal)

    return grpc.stream_unary_rpc_method_handler(refused)


async def _abort(context: grpc.aio.ServicerContext, refusal: Refusal) -> None:
    await context.abort(getattr(grpc.StatusCode, refusal.reason.value.grpc), refusal.sentence)


def _method(service: Service, handler: Handler, request: str, response: str) -> grpc.RpcMethodHandler:
    """Messages are read here, not by gRPC, which would call garbage an internal error."""
    request_type, response_type = message(request), message(response)

    async def answered(octets: bytes, context: grpc.aio.ServicerContext) -> bytes:
        try:
            with service.counted("grpc"):
                answer = response_type()
                await handler(service, _parsed(request_type, octets), answer)
                return answer.SerializeToString()
        except Refusal as refusal:
            await _abort(context, refusal)
        raise AssertionError  # abort raises

    return grpc.unary_unary_rpc_method_handler(answered)


def _parsed(kind: Any, octets: bytes) -> Any:
    try:
        return kind.FromString(octets)
    except DecodeError as error:
        raise invalid(f"the message is no {kind.DESCRIPTOR.full_name}: {error}") from None


# ── TensorFlow Serving ──


def _named_model(service: Service, request: Any, answer: Any = None) -> Servable:
    """The model that a request's specification names; the answer's is filled in."""
    spec = request.model_spec
    chosen = spec.WhichOneof("version_choice")
    if chosen == "version_label" and spec.version_label:
        raise invalid(f"there is no version label {spec.version_label[:40]!r}: name a number, or none for the current")
    service.signature(spec.signature_name)
    model = service.model(spec.name, spec.version.value if chosen == "version" else None)
    if answer is not None:
        answer.model_spec.name, answer.model_spec.version.value = NAME, model.version
        answer.model_spec.signature_name = spec.signature_name or SIGNATURES[0]
    return model


async def _predict(service: Service, request: Any, answer: Any) -> None:
    model = _named_model(service, request, answer)
    tensors.check_outputs(request.output_filter)
    if set(request.inputs) != {IMAGE}:
        raise invalid(f"the inputs are {', '.join(request.inputs)[:60] or 'none'}; there should be one, {IMAGE!r}")
    probabilities = await service.predict(model, _values(service, request.inputs[IMAGE]))
    _fill(answer.outputs[PROBABILITIES], probabilities)


def _values(service: Service, tensor: Any) -> np.ndarray:
    if tensor.dtype != FLOAT:
        raise invalid(f"{IMAGE} has the type {_type(tensor.dtype)}, it should be DT_FLOAT")
    if tensor.tensor_shape.unknown_rank:
        raise invalid(f"{IMAGE} has no shape, it should have {tensors.SHAPE}")
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return tensors.from_octets(tensor.tensor_content, shape)
    service.limits.admit(len(tensor.float_val) // PIXELS)
    return tensors.from_numbers(tensor.float_val, shape)


def _type(number: int) -> str:
    return next((name for name, value in messages.TYPES["DataType"].items() if value == number), str(number))


def _fill(tensor: Any, values: np.ndarray) -> None:
    tensor.dtype = FLOAT
    for size in values.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.float_val.extend(values.ravel().tolist())


async def _classify(service: Service, request: Any, answer: Any) -> None:
    model, kind = _named_model(service, request, answer), request.input.WhichOneof("kind")
    examples = list(getattr(request.input, kind).examples) if kind else []
    if not examples:
        raise invalid(f"there are no examples; each should have a float feature {IMAGE!r}")
    service.limits.admit(len(examples))
    shared = [request.input.example_list_with_context.context] if kind == "example_list_with_context" else []
    rows = [_feature([one, *shared]) for one in examples]
    for row in await service.predict(model, tensors.stacked(rows)):
        classes = answer.result.classifications.add().classes
        for label, share in zip(model.labels, row.tolist(), strict=True):
            classes.add(label=label, score=share)


def _feature(examples: list[Any]) -> np.ndarray:
    """An example's picture; what it lacks may stand in the context that all share."""
    for one in examples:
        if IMAGE in one.features.feature:
            feature = one.features.feature[IMAGE]
            if feature.WhichOneof("kind") != "float_list":
                raise invalid(f"the feature {IMAGE!r} should be a float_list")
            return np.asarray(feature.float_list.value, np.float32)
    raise invalid(f"an example has no feature {IMAGE!r}")


async def _get_metadata(service: Service, request: Any, answer: Any) -> None:
    model = _named_model(service, request, answer)
    if list(request.metadata_field) != ["signature_def"]:
        raise invalid("metadata_field should be ['signature_def']")
    signatures = message("tensorflow.serving.SignatureDefMap")()
    for name in SIGNATURES:
        signature = signatures.signature_def[name]
        signature.method_name = "tensorflow/serving/predict"
        for side, tensor, sizes in (
            (signature.inputs, IMAGE, tensors.SIZES),
            (signature.outputs, PROBABILITIES, (-1, model.classes)),
        ):
            side[tensor].name, side[tensor].dtype = tensor, FLOAT
            for size in sizes:
                side[tensor].tensor_shape.dim.add(size=size)
    answer.metadata["signature_def"].Pack(signatures)


async def _get_status(service: Service, request: Any, answer: Any) -> None:
    model = _named_model(service, request)
    answer.model_version_status.add(version=model.version, state=AVAILABLE).status.SetInParent()
    for version, why in service.not_taken().items():
        answer.model_version_status.add(version=version, state=END, status={"error_code": 2, "error_message": why})


# ── Open Inference Protocol ──


async def _live(service: Service, request: Any, answer: Any) -> None:
    answer.live = True


async def _ready(service: Service, request: Any, answer: Any) -> None:
    answer.ready = not service.stopping


async def _model_ready(service: Service, request: Any, answer: Any) -> None:
    service.model(request.name, request.version)
    answer.ready = not service.stopping


async def _server_metadata(service: Service, request: Any, answer: Any) -> None:
    answer.name, answer.version = NAME, str(service.model().version)


async def _model_metadata(service: Service, request: Any, answer: Any) -> None:
    model = service.model(request.name, request.version)
    answer.name, answer.platform = NAME, model.platform
    answer.versions.append(str(model.version))
    answer.inputs.add(name=IMAGE, datatype="FP32", shape=tensors.SIZES)
    answer.outputs.add(name=PROBABILITIES, datatype="FP32", shape=(-1, model.classes))


async def _model_infer(service: Service, request: Any, answer: Any) -> None:
    model = service.model(request.model_name, request.model_version)
    tensors.check_outputs([one.name for one in request.outputs])
    if len(request.inputs) != 1 or request.inputs[0].name != IMAGE:
        raise invalid(f"there should be one input, {IMAGE!r}")
    (tensor,) = request.inputs
    if tensor.datatype != "FP32":
        raise invalid(f"{IMAGE} has the datatype {tensor.datatype[:20]!r}, it should be 'FP32'")
    if len(request.raw_input_contents) > 1:
        raise invalid(f"there are {len(request.raw_input_contents)} raw contents for one input")
    raw = request.raw_input_contents
    service.limits.admit(len(tensor.contents.fp32_contents) // PIXELS)
    values = (
        tensors.from_octets(raw[0], tensor.shape)
        if raw
        else tensors.from_numbers(tensor.contents.fp32_contents, tensor.shape)
    )
    probabilities = await service.predict(model, values)
    answer.model_name, answer.model_version, answer.id = NAME, str(model.version), request.id
    output = answer.outputs.add(name=PROBABILITIES, datatype="FP32", shape=probabilities.shape)
    if raw:  # answered as it was asked
        answer.raw_output_contents.append(np.ascontiguousarray(probabilities, "<f4").tobytes())
    else:
        output.contents.fp32_contents.extend(probabilities.ravel().tolist())


HANDLERS: dict[str, Handler] = {
    "Predict": _predict, "Classify": _classify, "GetModelMetadata": _get_metadata, "GetModelStatus": _get_status,
    "ServerLive": _live, "ServerReady": _ready, "ModelReady": _model_ready, "ServerMetadata": _server_metadata,
    "ModelMetadata": _model_metadata, "ModelInfer": _model_infer,
}  # fmt: skip
