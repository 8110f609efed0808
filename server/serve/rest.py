"""Over HTTP: TensorFlow Serving's REST API (/v1), the Open Inference Protocol (/v2), metrics."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from core.safe_json import json_object
from server.serve import tensors
from server.serve.refusal import Reason, Refusal, invalid
from server.serve.servable import NAME, Servable
from server.serve.service import SIGNATURES, Service
from server.serve.tensors import IMAGE, PIXELS, PROBABILITIES

LENGTH = "inference-header-content-length"  # of the JSON before binary tensors (Triton's extension of the protocol)
Handler = Callable[[Service, Request], Awaitable[Response]]


def application(service: Service, local: bool, more: Sequence[BaseRoute] = ()) -> Starlette:
    """The routes, and more of them. local: is it for this computer only?"""

    def admit(request: Request) -> None:
        if local and not service.token:
            check_host(request)
        if request.scope["path"] not in OPEN:  # which no header is part of, as of the URL's
            service.authorized(request.headers.get("authorization"))

    routes = [route(service, path, method, handler, admit) for (method, path), handler in HANDLERS.items()]
    return Starlette(routes=[*routes, *more], exception_handlers={HTTPException: _other, 500: _broken})


def check_host(request: Request) -> None:
    """Raises Refusal unless a request names this computer as only its own programs do: a page of the web whose name is made to lead
    here (DNS rebinding) may read what it gets."""
    host = request.headers.get("host", "")
    if not loopback(_name(host)):
        raise Refusal(Reason.FOREIGN, f"this is at this computer's own names (localhost), not at {host[:60]!r}")


def _name(host: str) -> str:
    """The name or address in a Host header; empty, if it holds none."""
    with suppress(ValueError):
        return urlsplit(f"//{host}").hostname or ""
    return ""


def loopback(host: str) -> bool:
    """Is this an address that only this computer reaches?"""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def route(service: Service, path: str, method: str, handler: Handler, admit: Callable[[Request], None]) -> Route:
    """Requests to this path, counted; admit: raises Refusal for those that may not."""

    async def answered(request: Request) -> Response:
        try:
            with service.counted("rest"):
                admit(request)
                return await handler(service, request)
        except Refusal as refusal:
            return _refused(refusal)

    return Route(path, answered, methods=[method])


async def _other(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": f"{request.method} {request.url.path[:100]}: {error.detail}"}, error.status_code)


async def _broken(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the service failed to answer; its log says why"}, 500)


def _refused(refusal: Refusal) -> Response:
    headers = {"retry-after": "1"} if refusal.reason is Reason.BUSY else {}
    if refusal.reason is Reason.STRANGER:
        headers["www-authenticate"] = "Bearer"
    if refusal.reason in (Reason.LARGE, Reason.SLOW):
        headers["connection"] = "close"  # what is still to come of it is not read
    return JSONResponse({"error": refusal.sentence}, refusal.reason.value.http, headers)


async def body(service: Service, request: Request, most: int = 0) -> bytes:
    """All of a request's body. most: bytes; 0: the service's limit. Raises Refusal if it is longer, or takes too long."""
    most, parts, length = most or service.limits.octets, [], 0
    large = Refusal(Reason.LARGE, f"the request has more than {most:,} bytes")
    if int(request.headers.get("content-length", "0")) > most:
        raise large
    try:
        async with asyncio.timeout(service.limits.timeout):
            async for part in request.stream():
                length += len(part)
                if length > most:
                    raise large
                parts.append(part)
    except TimeoutError:
        raise Refusal(Reason.SLOW, f"the request did not arrive within {service.limits.timeout:g} s") from None
    except ClientDisconnect:
        raise invalid("the request ended before its end") from None
    return b"".join(parts)


def object_of(octets: bytes) -> dict[str, Any]:
    """The JSON object that a body is. Raises Refusal if it is none."""
    try:
        return json_object(octets)
    except (ValueError, RecursionError) as error:
        raise invalid(f"the request's body should be a JSON object: {str(error)[:200]}") from None


def _named_model(service: Service, request: Request) -> Servable:
    return service.model(request.path_params["name"], request.path_params.get("version"))


# ── TensorFlow Serving ──


async def _predict(service: Service, request: Request) -> Response:
    """{"instances": [image, …]} or {"inputs": images}; an image may be wrapped as {"image": …}."""
    model, content = _named_model(service, request), object_of(await body(service, request))
    service.signature(str(content.get("signature_name", "")))
    if ("instances" in content) == ("inputs" in content):
        raise invalid('give either "instances" (a list of images) or "inputs" (all as one tensor)')
    if "instances" in content:
        rows = content["instances"]
        if not isinstance(rows, list) or not rows:
            raise invalid('"instances" should be a list of images')
        service.limits.admit(len(rows))
        values = tensors.from_lists([_unwrapped(row) for row in rows])
        return JSONResponse({"predictions": (await service.predict(model, values)).tolist()})
    columns = _unwrapped(content["inputs"])
    service.limits.admit(len(columns) if isinstance(columns, list) else 0)
    values = tensors.from_lists(columns)
    return JSONResponse({"outputs": (await service.predict(model, values)).tolist()})


def _unwrapped(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if set(value) != {IMAGE}:
        raise invalid(f"there is an input {', '.join(value)[:60]!r}, where only {IMAGE!r} should be")
    return value[IMAGE]


async def _classify(service: Service, request: Request) -> Response:
    """{"examples": [{"image": 784 numbers}, …]} → labels with their probabilities, all of them, in the labels' order."""
    model, content = _named_model(service, request), object_of(await body(service, request))
    examples = content.get("examples")
    if not isinstance(examples, list) or not examples or not all(isinstance(one, dict) for one in examples):
        raise invalid(f'"examples" should be a list of objects with {IMAGE!r}')
    service.limits.admit(len(examples))
    rows = [tensors.from_lists(_unwrapped(one)) for one in examples]
    probabilities = await service.predict(model, tensors.stacked(rows))
    results = [[[label, p] for label, p in zip(model.labels, row.tolist(), strict=True)] for row in probabilities]
    return JSONResponse({"results": results})


async def _status(service: Service, request: Request) -> Response:
    model = _named_model(service, request)
    rows = [_state(model.version, "AVAILABLE", "")]
    rows += [_state(version, "END", why) for version, why in service.not_taken().items()]
    return JSONResponse({"model_version_status": rows})


def _state(version: int, state: str, why: str) -> dict[str, Any]:
    code = {"error_code": "UNKNOWN" if why else "OK", "error_message": why}
    return {"version": str(version), "state": state, "status": code}


async def _metadata(service: Service, request: Request) -> Response:
    model = _named_model(service, request)
    ends = {
        side: {
            name: {
                "dtype": "DT_FLOAT", "name": name,
                "tensor_shape": {"dim": [{"size": str(size), "name": ""} for size in sizes], "unknown_rank": False},
            }
        }
        for side, name, sizes in (
            ("inputs", IMAGE, tensors.SIZES), ("outputs", PROBABILITIES, (-1, model.classes)),
        )
    }  # fmt: skip
    signature = {SIGNATURES[0]: ends | {"method_name": "tensorflow/serving/predict"}}
    spec = {"name": NAME, "signature_name": "", "version": str(model.version)}
    return JSONResponse({"model_spec": spec, "metadata": {"signature_def": {"signature_def": signature}}})


# ── Open Inference Protocol ──


async def _server(service: Service, request: Request) -> Response:
    return JSONResponse({"name": NAME, "version": str(service.model().version), "extensions": ["binary_tensor_data"]})


async def _live(service: Service, request: Request) -> Response:
    return Response()


async def _ready(service: Service, request: Request) -> Response:
    return Response(status_code=503 if service.stopping else 200)


async def _model_ready(service: Service, request: Request) -> Response:
    _named_model(service, request)
    return await _ready(service, request)


async def _model(service: Service, request: Request) -> Response:
    model = _named_model(service, request)
    return JSONResponse(
        {
            "name": NAME, "versions": [str(model.version)], "platform": model.platform,
            "inputs": [{"name": IMAGE, "datatype": "FP32", "shape": list(tensors.SIZES)}],
            "outputs": [{"name": PROBABILITIES, "datatype": "FP32", "shape": [-1, model.classes]}],
        }
    )  # fmt: skip


async def _infer(service: Service, request: Request) -> Response:
    """One input `image`, its numbers in the JSON or as bytes after it; one output, in the JSON or as bytes, as asked."""
    model, octets = _named_model(service, request), await body(service, request)
    length = request.headers.get(LENGTH)
    if length is not None and not (length.isdecimal() and len(length) <= 12 and int(length) <= len(octets)):
        raise invalid(f"{LENGTH} is {length[:20]!r}, but the request has {len(octets)} bytes")
    cut = len(octets) if length is None else int(length)
    content = object_of(octets[:cut])
    probabilities = await service.predict(model, _tensor(service, content, octets[cut:]))
    outputs = _listed(content, "outputs")
    tensors.check_outputs([str(one.get("name")) for one in outputs])
    binary = _parameters(outputs[0] if outputs else content).get(
        "binary_data" if outputs else "binary_data_output", False
    )
    output: dict[str, Any] = {"name": PROBABILITIES, "datatype": "FP32", "shape": list(probabilities.shape)}
    answer = {"model_name": NAME, "model_version": str(model.version), "outputs": [output]}
    if "id" in content:
        answer["id"] = str(content["id"])[:200].encode(errors="replace").decode()
    if binary is not True:
        output["data"] = probabilities.ravel().tolist()
        return JSONResponse(answer)
    tail = np.ascontiguousarray(probabilities, "<f4").tobytes()
    output["parameters"] = {"binary_data_size": len(tail)}
    head = json.dumps(answer).encode()
    return Response(head + tail, headers={LENGTH: str(len(head))}, media_type="application/octet-stream")


def _tensor(service: Service, content: Mapping[str, Any], tail: bytes) -> np.ndarray:
    inputs = _listed(content, "inputs")
    if len(inputs) != 1 or inputs[0].get("name") != IMAGE:
        raise invalid(f'"inputs" should be one tensor, {IMAGE!r}')
    (tensor,) = inputs
    if tensor.get("datatype") != "FP32":
        raise invalid(f"{IMAGE} has the datatype {str(tensor.get('datatype'))[:20]!r}, it should be 'FP32'")
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise invalid(f"the shape of {IMAGE} should be a list of whole numbers, {tensors.SHAPE}")
    if "data" in tensor:
        service.limits.admit(len(tensor["data"]) // PIXELS if isinstance(tensor["data"], list) else 0)
        return tensors.from_numbers(tensor["data"], shape)
    if _parameters(tensor).get("binary_data_size") != len(tail):
        raise invalid(f'{IMAGE} should have "data", or "parameters.binary_data_size" with as many bytes after the JSON')
    return tensors.from_octets(tail, shape)


def _listed(content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    objects = content.get(key, [])
    if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
        raise invalid(f"{key!r} should be a list of objects")
    return objects


def _parameters(part: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = part.get("parameters", {})
    return parameters if isinstance(parameters, dict) else {}


async def _metrics(service: Service, request: Request) -> Response:
    return Response(generate_latest(service.metrics.registry), headers={"content-type": CONTENT_TYPE_LATEST})


V1 = [f"/v1/models/{{name}}{version}" for version in ("", "/versions/{version}")]
V2 = [f"/v2/models/{{name}}{version}" for version in ("", "/versions/{version}")]
OPEN = ("/v2/health/live", "/v2/health/ready")  # without the token
HANDLERS: dict[tuple[str, str], Handler] = {  # in this order: a model's name may have any letter but a slash
    **{("POST", f"{model}:predict"): _predict for model in V1},
    **{("POST", f"{model}:classify"): _classify for model in V1},
    **{("GET", f"{model}/metadata"): _metadata for model in V1},
    **{("GET", model): _status for model in V1},
    ("GET", "/v2"): _server,
    ("GET", "/v2/health/live"): _live,
    ("GET", "/v2/health/ready"): _ready,
    **{("POST", f"{model}/infer"): _infer for model in V2},
    **{("GET", f"{model}/ready"): _model_ready for model in V2},
    **{("GET", model): _model for model in V2},
    ("GET", "/metrics"): _metrics,
}
