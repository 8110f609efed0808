"""Models to serve, a service in a process of its own, and what its clients send."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from core.config.scenario import Model
from core.data import read
from core.predict import load
from server import versions
from server.export import onnx
from server.export.outgoing import Outgoing
from tests import models

CODE = Path(__file__).parents[3]


def write(path: Path, seed: int, version: int = 1) -> Path:
    """An exported model with random weights."""
    labels = tuple(str(n) for n in range(10))
    images = np.zeros((1, 28, 28), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(Outgoing(models.spec(), models.initial(seed), images, labels, Model(), {"version": str(version)}), path)
    return path


def publish(run: Path, number: int, seed: int) -> Path:
    """One more version of a run, which becomes current."""
    folder = versions.home(run, number)
    write(folder / "model.onnx", seed, number)
    (folder / "version.json").write_text("{}")
    versions.publish(run, folder)
    return folder


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Some test images, f32 [20, 28, 28, 1]."""
    test = read("mnist")[1]
    return (test.x[:20, ..., None] / np.float32(255)).astype(np.float32)


@dataclass(frozen=True)
class Running:
    """A service and where it is."""

    process: subprocess.Popen[bytes]
    grpc: int
    http: int
    log: Path

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http}{path}"

    @property
    def page(self) -> str:
        """The page's address, token and all."""
        found = re.search(r"draw at (\S+)", self.log.read_text())
        assert found
        return found[1]

    @property
    def from_page(self) -> dict[str, str]:
        """The header that the page's requests bring."""
        return {"authorization": f"Bearer {self.page.split('#')[1]}"}


def start(source: Path, *options: str) -> Running:
    """A service at free ports, ready. Its log goes to a file: a full pipe would stop it."""
    log = Path(tempfile.mkstemp(prefix="serve-", suffix=".log")[1])
    command = [sys.executable, "-m", "server.serve", str(source), "--grpc", "0", "--http", "0", *options]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=CODE, stderr=file)
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"gRPC at \S+:(\d+), REST at \S+:(\d+)\n.*draw at", log.read_text()):
            return Running(process, int(found[1]), int(found[2]), log)
        time.sleep(0.02)
    raise AssertionError(log.read_text())


def stop(running: Running) -> str:
    """End it as Ctrl-C does; what it wrote."""
    running.process.send_signal(signal.SIGINT)
    code, log = running.process.wait(timeout=20), running.log.read_text()
    running.log.unlink()
    assert code == 0, log
    return log


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("model") / "model.onnx", 0, 3)


@pytest.fixture(scope="module")
def running(model: Path) -> Iterator[Running]:
    service = start(model, "--timeout", "2", "--megabytes", "4")
    yield service
    log = stop(service)
    assert "Traceback" not in log


@pytest.fixture(scope="module")
def truth(model: Path) -> Callable[[np.ndarray], np.ndarray]:
    return load(model)
