"""The service over HTTP, as curl and any HTTP client ask it: TensorFlow Serving's API, the Open Inference Protocol, bad input."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable

import httpx
import numpy as np
import pytest
import uvicorn

from server.serve.http import Server, patient
from tests.server.serve.conftest import Running

PREDICT = "/v1/models/digits:predict"
INFER = "/v2/models/digits/infer"


def post(running: Running, path: str, body: object, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(running.url(path), content=content, headers=headers, timeout=20)


@pytest.mark.parametrize("path", [PREDICT, "/v1/models/digits/versions/3:predict"])
def test_rows_and_columns_are_answered_as_tensorflow_serving_does(
    running: Running, truth: Callable[[np.ndarray], np.ndarray], images: np.ndarray, path: str
) -> None:
    wanted = truth(images)
    rows = post(running, path, {"instances": images.tolist()}).json()
    wrapped = post(running, path, {"instances": [{"image": one} for one in images.tolist()]}).json()
    columns = post(running, path, {"inputs": images.tolist(), "signature_name": "serving_default"}).json()
    named = post(running, path, {"inputs": {"image": images.tolist()}}).json()
    for found in (rows["predictions"], wrapped["predictions"], columns["outputs"], named["outputs"]):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_classify_names_the_labels(
    running: Running, truth: Callable[[np.ndarray], np.ndarray], images: np.ndarray
) -> None:
    examples = [{"image": one.ravel().tolist()} for one in images]
    found = post(running, "/v1/models/digits:classify", {"examples": examples}).json()["results"]
    assert [[label for label, _ in row] for row in found] == [[str(n) for n in range(10)]] * len(images)
    np.testing.assert_allclose([[share for _, share in row] for row in found], truth(images), atol=1e-6)


def test_status_and_metadata_say_what_is_served(running: Running) -> None:
    (state,) = httpx.get(running.url("/v1/models/digits")).json()["model_version_status"]
    assert state["version"] == "3" and state["state"] == "AVAILABLE" and state["status"]["error_code"] == "OK"
    metadata = httpx.get(running.url("/v1/models/digits/metadata")).json()
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert [dim["size"] for dim in signature["inputs"]["image"]["tensor_shape"]["dim"]] == ["-1", "28", "28", "1"]
    model = httpx.get(running.url("/v2/models/digits")).json()
    assert model["versions"] == ["3"] and model["inputs"][0]["shape"] == [-1, 28, 28, 1]
    for path in (
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/digits/ready",
        "/v2/models/digits/versions/3/ready",
    ):
        assert httpx.get(running.url(path)).status_code == 200
    assert "digits_version 3.0" in httpx.get(running.url("/metrics")).text


def test_the_open_protocol_takes_numbers_and_bytes(
    running: Running, truth: Callable[[np.ndarray], np.ndarray], images: np.ndarray
) -> None:
    wanted = truth(images)
    shape = list(images.shape)
    tensor = {"name": "image", "datatype": "FP32", "shape": shape}
    answer = post(running, INFER, {"id": "a", "inputs": [tensor | {"data": images.ravel().tolist()}]}).json()
    assert answer["id"] == "a" and answer["outputs"][0]["shape"] == [len(images), 10]
    np.testing.assert_allclose(np.reshape(answer["outputs"][0]["data"], (-1, 10)), wanted, atol=1e-6)

    tail = images.astype("<f4").tobytes()
    asked = {
        "inputs": [tensor | {"parameters": {"binary_data_size": len(tail)}}],
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
    }
    head = json.dumps(asked).encode()
    answer = post(running, INFER, head + tail, **{"inference-header-content-length": str(len(head))})
    cut = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.content[:cut])["outputs"][0]["parameters"] == {
        "binary_data_size": len(answer.content) - cut
    }
    np.testing.assert_allclose(np.frombuffer(answer.content[cut:], "<f4").reshape(-1, 10), wanted, atol=1e-6)


def nested(depth: int) -> object:
    return [nested(depth - 1)] if depth else 0.5


ZERO = np.zeros((1, 28, 28, 1)).tolist()
TENSOR = {"name": "image", "datatype": "FP32", "shape": [1, 28, 28, 1]}


@pytest.mark.parametrize(
    ("path", "body", "code", "words"),
    [
        (PREDICT, b"", 400, "JSON object"),
        (PREDICT, b"\xff\xfe garbage", 400, "JSON object"),
        (PREDICT, b"[" * 100_000, 400, "nested too deep"),
        (PREDICT, b'{"instances": [1], "instances": [2]}', 400, "more than once"),
        (PREDICT, {}, 400, "either"),
        (PREDICT, {"instances": []}, 400, "list of images"),
        (PREDICT, {"instances": [[1, 2], [3]]}, 400, "ragged"),
        *[
            (PREDICT, {key: nested(depth)}, 400, "shape")
            for key in ("instances", "inputs")
            for depth in (1, 8, 9, 32, 33, 64, 65, 200)
        ],
        (INFER, {"inputs": [TENSOR | {"data": nested(33)}]}, 400, "shape"),
        (PREDICT, {"instances": [["a"]]}, 400, "numbers only"),
        (PREDICT, {"instances": [["a" * 2000, *[""] * 500_000]]}, 400, "numbers only"),  # 4 GB as an array of texts
        (PREDICT, {"instances": [[True]]}, 400, "numbers only"),
        (PREDICT, {"instances": [[1, 2]]}, 400, "shape [1, 2]"),
        (PREDICT, {"instances": [{"picture": ZERO[0]}]}, 400, "'picture'"),
        (PREDICT, {"instances": [[[[float("nan")]] * 28] * 28]}, 400, "not a number"),
        (PREDICT, {"instances": [[[[255]] * 28] * 28]}, 400, "divide bytes by 255"),
        (PREDICT, {"instances": [[[[1e300]] * 28] * 28]}, 400, "inf"),
        (PREDICT, {"instances": [[[[10**400]] * 28] * 28]}, 400, "image"),
        (PREDICT, {"instances": ZERO, "signature_name": "train"}, 400, "'train'"),
        (PREDICT, {"instances": ZERO * 257}, 413, "at most 256"),
        *[  # many tiny ones are counted before they are converted
            (path, {key: many}, 413, "257 images in one request, at most 256")
            for path, key, many in (
                (PREDICT, "instances", [[0]] * 257),
                (PREDICT, "inputs", [[0]] * 257),
                ("/v1/models/digits:classify", "examples", [{"image": [0]}] * 257),
                (INFER, "inputs", [TENSOR | {"data": [[0]] * 784 * 257}]),
            )
        ],
        (PREDICT, b"x" * 4_000_001, 413, "4,000,000 bytes"),
        ("/v1/models/letters:predict", {"instances": ZERO}, 404, "only 'digits'"),
        ("/v1/models/digits/versions/9:predict", {"instances": ZERO}, 404, "only 3"),
        ("/v1/models/digits:regress", {"instances": ZERO}, 405, "Method Not Allowed"),
        ("/v1/models/digits:classify", {"examples": [{"image": [0.5]}]}, 400, "784"),
        ("/v1/models/digits:classify", {"examples": [{}]}, 400, "image"),
        (INFER, {"inputs": []}, 400, "one tensor"),
        (INFER, {"inputs": [TENSOR]}, 400, '"data"'),
        (INFER, {"inputs": [TENSOR | {"datatype": "INT8", "data": [0] * 784}]}, 400, "'INT8'"),
        (INFER, {"inputs": [TENSOR | {"data": [0] * 783}]}, 400, "783 values"),
        (INFER, {"inputs": [TENSOR | {"shape": [-1, 28, 28, 1], "data": [0] * 784}]}, 400, "makes no sense"),
        (INFER, {"inputs": [TENSOR | {"shape": [2**31] * 4, "data": [0]}]}, 400, "makes no sense"),
        (INFER, {"inputs": [TENSOR | {"shape": [0, *[2**31 - 1] * 4], "data": []}]}, 400, "makes no sense"),
        (INFER, {"inputs": [TENSOR | {"shape": "all", "data": [0] * 784}]}, 400, "whole numbers"),
        (INFER, {"inputs": [TENSOR | {"data": [0] * 784}], "outputs": [{"name": "logits"}]}, 400, "'logits'"),
    ],
)  # fmt: skip
def test_bad_input_is_told_what_is_wrong(running: Running, path: str, body: object, code: int, words: str) -> None:
    found = post(running, path, body)
    assert found.status_code == code and words in found.json()["error"], found.text
    assert post(running, PREDICT, {"instances": ZERO}).status_code == 200


def test_a_binary_length_that_is_a_lie_is_refused(running: Running) -> None:
    for length in ("999", "-1", "x", "1" * 50):
        found = post(running, INFER, b"{}", **{"inference-header-content-length": length})
        assert found.status_code == 400 and "inference-header-content-length" in found.json()["error"]


def test_a_page_of_the_web_whose_name_leads_here_sees_nothing(running: Running) -> None:
    """DNS rebinding: its requests go to this computer and bring its own name. Our own names are answered."""
    paths = (
        "/v1/models/digits",
        "/v1/models/digits/metadata",
        "/v2",
        "/v2/models/digits",
        "/v2/health/live",
        "/metrics",
    )
    for host in ("localhost", "127.0.0.1", "127.9.9.9", "[::1]"):
        for name in (host, f"{host}:{running.http}"):
            assert {httpx.get(running.url(path), headers={"host": name}).status_code for path in paths} == {200}
            assert post(running, PREDICT, {"instances": ZERO}, host=name).status_code == 200
    for host in (
        "rebound.example.com",
        f"rebound.example.com:{running.http}",
        "127.0.0.1.example.com",
        "192.168.1.2",
        "[x]",
        "",
    ):
        found = [httpx.get(running.url(path), headers={"host": host}) for path in paths]
        found += [post(running, path, {"instances": ZERO}, host=host) for path in (PREDICT, INFER)]
        assert {one.status_code for one in found} == {403} and "this computer's own names" in found[0].json()["error"]


def test_half_a_request_and_a_slow_one_cost_nothing(running: Running) -> None:
    half = b"POST /v1/models/digits:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    answers = []
    for sent in (b"", b"POST /v1/mod", half):
        with socket.create_connection(("127.0.0.1", running.http), timeout=10) as wire:
            wire.sendall(sent)
            start, found = time.monotonic(), b""
            while part := wire.recv(4096):  # until the service hangs up
                found += part
            answers.append((time.monotonic() - start, found))
    assert all(1.5 < seconds < 6 for seconds, _ in answers)  # --timeout 2
    assert b" 408 " in answers[2][1] and b"did not arrive within 2 s" in answers[2][1]
    with socket.create_connection(("127.0.0.1", running.http), timeout=10) as wire:
        wire.sendall(half)  # and gone
    assert post(running, PREDICT, {"instances": ZERO}).status_code == 200


def test_who_reads_nothing_of_an_answer_is_hung_up_on() -> None:
    """Else a thousand of them would hold all connections for ever. Who reads on gets all, however slowly."""
    chunk, chunks, whole = bytes(1 << 16), 400, bytes(16 << 20)

    async def play() -> None:
        ended = asyncio.Event()

        async def app(scope: object, receive: object, send: Callable[[dict[str, object]], Awaitable[None]]) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for part in [whole, *[chunk] * chunks]:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            ended.set()

        server = Server(uvicorn.Config(app, http=patient(5, unread=0.3), ws="none", lifespan="off", log_config=None))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            serving = asyncio.create_task(server.serve([listening]))
            for reads in (True, False):
                ended.clear()
                reader, writer = await asyncio.open_connection(*listening.getsockname(), limit=1 << 12)
                writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                read, began = 0, time.monotonic()
                while reads and (part := await reader.read(1 << 18)):
                    read += len(part)
                    await asyncio.sleep(0.02)
                assert not reads or (read > chunks * len(chunk) + len(whole) and time.monotonic() - began > 1)
                await asyncio.wait_for(ended.wait(), 20)
                writer.close()
            server.should_exit = True
            await serving

    asyncio.run(play())
