"""A new version takes over under load; a broken one does not; nothing of TensorFlow is loaded."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from core.predict import load
from server import versions
from server.export import EXPORTERS
from server.serve.__main__ import main
from server.serve.rest import loopback
from server.serve.servable import Follower, file_to_serve, servable
from server.serve.service import Service
from tests.server.serve.conftest import publish, start, stop, write


def test_a_follower_takes_good_versions_only(tmp_path: Path) -> None:
    publish(tmp_path, 1, seed=1)
    swapped: list[int] = []
    follower = Follower(tmp_path)
    follower.swapped = lambda model: swapped.append(model.version)
    follower.look()
    assert follower.serving.version == 1 and not swapped

    publish(tmp_path, 2, seed=2)
    follower.look()
    assert follower.serving.version == 2 and swapped == [2]

    for number, damage in ((3, b""), (4, b"garbage"), (5, (tmp_path / "versions/0002/model.onnx").read_bytes()[:5000])):
        broken = publish(tmp_path, number, seed=3)
        (broken / "model.onnx").write_bytes(damage)
        follower.look()
        assert follower.serving.version == 2 and "cannot be loaded" in follower.refused[number]

    versions.publish(tmp_path, versions.home(tmp_path, 1))  # rolled back
    follower.look()
    assert follower.serving.version == 1 and swapped == [2, 1]


def test_a_file_that_breaks_its_reader_in_any_way_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX whose outputs are texts, for one: whoever looks must go on looking."""
    publish(tmp_path, 1, seed=1)
    follower = Follower(tmp_path)

    def broken(path: Path, version: int | None) -> Any:
        raise TypeError("ufunc 'isfinite' not supported")

    with monkeypatch.context() as patch:
        patch.setattr("server.serve.servable.servable", broken)
        publish(tmp_path, 2, seed=2)
        follower.look()
    assert follower.serving.version == 1 and "isfinite" in follower.refused[2]
    publish(tmp_path, 3, seed=3)
    follower.look()
    assert follower.serving.version == 3


def test_a_new_file_that_cannot_be_served_is_named_in_log_and_status(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file by itself, and a run without versions: whatever has no number of its own."""
    file = write(tmp_path / "model.onnx", 1, version=3)
    for source in (file, tmp_path):
        service = Service(Follower(source))
        file.write_bytes(b"garbage")
        service.follower.look()
        (why,) = service.not_taken().values()
        assert str(file) in why and "cannot be loaded" in why and service.model().version == 3
        assert caplog.messages[-1].startswith("the new file is not taken, 3 goes on: ")
        write(file, 2, version=4)
        service.follower.look()
        assert service.not_taken() == {} and service.model().version == 4
        write(file, 1, version=3)


def test_a_current_version_without_its_file_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a rollback to one whose ONNX was refused; but at the first look it may be between two renames."""
    publish(tmp_path, 1, seed=1)
    follower = Follower(tmp_path)
    without = publish(tmp_path, 2, seed=2)
    (without / "model.onnx").rename(without / "model.onnx.refused")
    said = []
    for _ in range(4):
        follower.look()
        said.append(len(caplog.messages))
    assert said == [0, 1, 1, 1] and "version 1 goes on: there is no " in caplog.messages[0]
    assert follower.serving.version == 1 and "there is no" in follower.refused[2]
    (without / "model.onnx.refused").rename(without / "model.onnx")
    follower.look()
    assert follower.serving.version == 2 and follower.refused == {}
    (without / "model.onnx").rename(without / "aside")  # what is served goes on without its file, and is not refused
    for _ in range(3):
        follower.look()
    assert follower.refused == {} and len(caplog.messages) == 2


def test_a_file_that_answers_no_probabilities_is_not_served(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 28, 28, 1]) for name in ("image", "probabilities")
    ]
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["probabilities"])], "same", ends[:1], ends[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    save(made, str(tmp_path / "model.onnx"))
    with pytest.raises(ValueError, match="no probabilities"):
        servable(tmp_path / "model.onnx")


@pytest.mark.parametrize("step", [1 / 256, 1 / 255])
@pytest.mark.parametrize("classes", [10, 47])
def test_probabilities_in_steps_of_a_byte_are_served(
    step: float, classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As int8 files answer: each is off by half a step at most, and all may be so to the same side."""
    (tmp_path / "model.tflite").write_bytes(b"a file")
    half = np.full((2, classes), 0.49 * step)
    exact = half + np.eye(2, classes) * (1 - half.sum(1, keepdims=True))
    rounded = (np.clip(np.rint(exact / step), 0, 255) * step).astype(np.float32)
    monkeypatch.setattr("server.serve.servable.about", lambda path: {})
    monkeypatch.setattr("server.serve.servable.load", lambda path: lambda images: rounded)
    assert servable(tmp_path / "model.tflite").classes == classes
    monkeypatch.setattr("server.serve.servable.load", lambda path: lambda images: rounded * 4)
    with pytest.raises(ValueError, match="no probabilities"):
        servable(tmp_path / "model.tflite")


def publish_broken(run: Path, number: int) -> None:
    """A version that is cut off becomes current."""
    folder = versions.home(run, number)
    broken = write(folder / "model.onnx", 3)
    broken.write_bytes(broken.read_bytes()[:1000])
    (folder / "version.json").write_text("{}")
    versions.publish(run, folder)


def test_under_load_a_swap_drops_no_request_and_every_answer_is_one_versions(tmp_path: Path) -> None:
    """Eight clients ask all the time, while versions come, one of them broken."""
    publish(tmp_path, 1, seed=1)
    running = start(tmp_path, "--poll", "0.05")
    image = np.random.default_rng(0).random((1, 28, 28, 1), np.float32)
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 28, 28, 1], "data": image.ravel().tolist()}
    seen: dict[int, set[tuple[float, ...]]] = {}

    async def client(web: httpx.AsyncClient, done: asyncio.Event) -> None:
        while not done.is_set():
            answer = await web.post(running.url("/v2/models/digits/infer"), json={"inputs": [tensor]})
            content = answer.raise_for_status().json()
            seen.setdefault(int(content["model_version"]), set()).add(tuple(content["outputs"][0]["data"]))

    async def version(number: int) -> None:
        until = time.monotonic() + 20
        while number not in seen and time.monotonic() < until:
            await asyncio.sleep(0.05)

    async def play() -> None:
        done = asyncio.Event()
        async with httpx.AsyncClient(timeout=20) as web:
            clients = [asyncio.create_task(client(web, done)) for _ in range(8)]
            for number in (1, 2, 4, 5):
                if number > 1:
                    await asyncio.to_thread(publish, tmp_path, number, number)
                await version(number)
                if number == 2:
                    await asyncio.to_thread(publish_broken, tmp_path, 3)
                    await asyncio.sleep(0.5)
                    states = (await web.get(running.url("/v1/models/digits"))).json()["model_version_status"]
                    assert [(one["version"], one["state"]) for one in states] == [("2", "AVAILABLE"), ("3", "END")]
            done.set()
            await asyncio.gather(*clients)

    try:
        asyncio.run(play())
    finally:
        log = stop(running)
    assert set(seen) == {1, 2, 4, 5} and "version 3 is not taken, 2 goes on" in log
    for number, answers in seen.items():
        (truth,) = load(versions.home(tmp_path, number) / "model.onnx")(image)
        for one in answers:  # alone or in a batch, to float32's rounding
            np.testing.assert_allclose(one, truth, atol=1e-6)


def test_it_needs_no_tensorflow_no_ray_no_flower() -> None:
    code = "import sys, server.serve.__main__ as m; print([n for n in ('tensorflow', 'keras', 'ray', 'flwr') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{tmp}/nothing"], "give a run's folder or an exported file"),
        (["{tmp}/bad.onnx"], "bad.onnx cannot be loaded"),
        (["{tmp}", "--batch", "0"], "--batch 0 should be more than 0"),
        (["{tmp}", "--megabytes", "inf"], "--megabytes inf should be more than 0, and at most 2,000"),
        (["{tmp}", "--queue", "100"], "--queue 100 should be at least --batch 256"),
        (["{tmp}", "--key", "{tmp}/short", "--certificate", "{tmp}/short"], "should be a private key, PEM"),
        (["{tmp}", "--key", "{tmp}/none", "--certificate", "{tmp}/short"], "there is no "),
        (["{tmp}", "--wait", "5000"], "--wait 5000 should be 0 … 1000"),
        (["{tmp}", "--http", "70000"], "--http 70000 is no port"),
        (["{tmp}", "--key", "k"], "both --key and --certificate"),
        (["{tmp}", "--host", "0.0.0.0"], "needs --key, --certificate and --token-file"),
        (["{tmp}/bad.onnx", "--token-file", "{tmp}/short"], "a token of 2 letters"),
        (
            ["{tmp}/bad.onnx", "--token-file", "{tmp}/umlaut"],
            "a token of 19 letters; it should have 16 or more, of ASCII",
        ),
    ],
)
def test_wrong_options_are_told(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"garbage")
    (tmp_path / "short").write_text("ab")
    (tmp_path / "umlaut").write_text("geheimes-paßwort-12")
    try:
        code: object = main([one.replace("{tmp}", str(tmp_path)) for one in arguments])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2 and words in capsys.readouterr().err


def test_a_second_signal_does_not_wait_for_who_keeps_a_stream_open(tmp_path: Path) -> None:
    """As gRPC's own health checks keep one, for as long as they live."""
    running = start(write(tmp_path / "model.onnx", 0), "--timeout", "60")
    with grpc.insecure_channel(f"127.0.0.1:{running.grpc}") as channel:
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
        running.process.send_signal(signal.SIGINT)
        assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
        time.sleep(0.5)
        assert running.process.poll() is None
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(10) == 0


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    import socket

    model = write(tmp_path / "model.onnx", 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for flag, other in (("--grpc", "--http"), ("--http", "--grpc")):
            command = [sys.executable, "-m", "server.serve", str(model), flag, port, other, "0"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
            assert done.returncode == 2 and "in use" in done.stderr, done.stderr


def test_which_addresses_only_this_computer_reaches() -> None:
    assert all(loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"))
    assert not any(loopback(host) for host in ("0.0.0.0", "::", "192.168.1.2", "example.org"))


@pytest.mark.parametrize("name", EXPORTERS)
def test_a_file_that_a_run_does_not_have_is_said_with_what_makes_it(name: str, tmp_path: Path) -> None:
    run = tmp_path / "a run"
    run.mkdir()
    with pytest.raises(ValueError, match=r"give a run's folder or an exported file$"):  # this is none
        file_to_serve(run, name)
    (run / "scenario.json").write_text("{}")
    with pytest.raises(ValueError, match=rf"scenarios.export '{run}' --to {EXPORTERS[name].target}\)"):
        file_to_serve(run, name)
