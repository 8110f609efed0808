"""Requests to the service, mutated: whatever comes over HTTP or gRPC is answered or refused with a reason; the service lives."""

from __future__ import annotations

import json
import socket
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np

from core.seeds import rng
from server.serve.messages import SERVICES, message
from tests.fuzz import mutate
from tests.server.serve.conftest import start, stop, write

FULL = 10_000
REFUSED = ("INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED")
IMAGE = np.zeros((1, 28, 28, 1), "<f4")
TENSOR = {"name": "image", "datatype": "FP32", "shape": [1, 28, 28, 1], "data": IMAGE.ravel().tolist()}
BODIES: dict[str, Any] = {
    "/v1/models/digits:predict": {"instances": IMAGE.tolist(), "signature_name": "serving_default"},
    "/v1/models/digits:classify": {"examples": [{"image": IMAGE.ravel().tolist()}]},
    "/v2/models/digits/infer": {"id": "1", "inputs": [TENSOR], "outputs": [{"name": "probabilities"}]},
    "/page/corrections": {
        "image": [0] * 300 + [255] * 484, "label": 9, "read": 7, "confidence": 0.6, "version": 1,
        "strokes": [[[0.2, 0.3, 0, 0.5], [0.4, 0.3, 16.7, 0.5]]],
    },
}  # fmt: skip


def run(seed: int, count: int) -> Counter[tuple[str, str]]:
    """Send so many to a service of this code; {(protocol, outcome): how many}. Findings are printed, with their number."""
    found = Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory() as folder:
        model, learn = write(Path(folder) / "model.onnx", 0), Path(folder) / "digits"
        running = start(model, "--timeout", "0.5", "--megabytes", "1", "--learn", str(learn))
        try:
            with (
                httpx.Client(base_url=running.url(""), timeout=20, headers=running.from_page) as web,
                grpc.insecure_channel(f"127.0.0.1:{running.grpc}") as channel,
            ):
                ways: tuple[tuple[str, Callable[[np.random.Generator], str]], ...] = (
                    ("grpc", lambda draw: _rpc(channel, draw)),
                    ("rest", lambda draw: _rest(web, draw)),
                    ("bytes", lambda draw: _raw(running.http, draw)),
                )
                for number in range(count):
                    name, way = ways[number % len(ways)]
                    try:
                        outcome = way(rng(seed, "request", number))
                    except Exception as error:  # no answer at all
                        outcome = f"{type(error).__name__}: {error}"
                    if outcome not in ("answered", "refused"):
                        print(f"{name} {number}: {outcome}")
                        outcome = "finding"
                    found[name, outcome] += 1
                _alive(web, channel)
        finally:
            log = stop(running)
    if "Traceback" in log:
        print(log[-3000:])
        found["service", "finding"] += 1
    return found


def _alive(web: httpx.Client, channel: grpc.Channel) -> None:
    """A whole request is still answered by both."""
    web.post("/v1/models/digits:predict", json=BODIES["/v1/models/digits:predict"]).raise_for_status()
    channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(_whole("PredictRequest"), timeout=10)


def _whole(kind: str) -> bytes:
    """A request that makes sense."""
    package = next(
        name.rpartition(".")[0] for name, methods in SERVICES.items() if kind in {m.request for m in methods}
    )
    made = message(f"{package}.{kind}")()
    if kind == "ModelInferRequest":
        made.model_name = "digits"
        made.inputs.add(name="image", datatype="FP32", shape=IMAGE.shape)
        made.raw_input_contents.append(IMAGE.tobytes())
    elif package == "tensorflow.serving":
        made.model_spec.name = "digits"
    if kind == "PredictRequest":
        made.inputs["image"].dtype, made.inputs["image"].tensor_content = 1, IMAGE.tobytes()
        for size in IMAGE.shape:
            made.inputs["image"].tensor_shape.dim.add(size=size)
    if kind == "ClassificationRequest":
        made.input.example_list.examples.add().features.feature["image"].float_list.value.extend([0] * 784)
    if kind == "GetModelMetadataRequest":
        made.metadata_field.append("signature_def")
    return made.SerializeToString()  # type: ignore[no-any-return]


def _rpc(channel: grpc.Channel, draw: np.random.Generator) -> str:
    service = mutate.pick(draw, list(SERVICES))
    method = mutate.pick(draw, SERVICES[service])
    octets = _whole(method.request)
    for _ in range(int(draw.integers(1, 4))):
        octets = mutate.pick(draw, mutate.PLAIN)(octets, draw)
    try:
        channel.unary_unary(f"/{service}/{method.name}")(octets, timeout=15)
    except grpc.RpcError as error:
        code, details = error.code().name, error.details()
        return "refused" if code in REFUSED and details else f"{method.name}: {code} {details}"
    return "answered"


def _rest(web: httpx.Client, draw: np.random.Generator) -> str:
    path = mutate.pick(draw, list(BODIES))
    octets = json.dumps(BODIES[path]).encode()
    octets = mutate.text(octets, draw)
    for _ in range(int(draw.integers(3))):
        octets = mutate.pick(draw, mutate.PLAIN)(octets, draw)
    headers = (
        {"inference-header-content-length": str(int(draw.integers(len(octets) + 9)))} if draw.random() < 0.2 else {}
    )
    answer = web.post(path, content=octets, headers=headers)
    if answer.is_success:
        return "answered"
    error = answer.json().get("error")
    return (
        "refused" if 400 <= answer.status_code < 500 and error else f"{path}: {answer.status_code} {answer.text[:200]}"
    )


def _raw(port: int, draw: np.random.Generator) -> str:
    """A damaged HTTP request, head and all: any answer of HTTP will do, or that the service hangs up."""
    path = mutate.pick(draw, list(BODIES))
    body = json.dumps(BODIES[path]).encode()
    octets = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    if draw.random() < 0.5:
        octets = mutate.pick(draw, mutate.PLAIN)(octets, draw)
    else:
        at = int(draw.integers(len(octets)))
        octets = octets[:at] + draw.bytes(1) + octets[at + 1 :]
    octets += body
    with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
        found = b""
        try:
            wire.sendall(octets)
            found = wire.recv(4096)  # its beginning tells
        except ConnectionError:  # it hung up while more was sent
            return "refused"
    code = found[9:12].decode(errors="replace")
    return (
        "answered" if code == "200" else "refused" if not found or code.startswith("4") else f"{path}: {found[:200]!r}"
    )
