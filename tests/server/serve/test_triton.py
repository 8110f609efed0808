"""NVIDIA's tritonclient, in an environment made anew from its pins, talks to the service as to any other."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.server.serve.conftest import CODE, Running


@pytest.mark.slow
def test_its_clients_work_unchanged(
    running: Running, images: np.ndarray, truth: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(["make", "clients", f"CLIENTS={tmp_path}"], cwd=CODE, check=True, env=variables, capture_output=True)
    npy = io.BytesIO()
    np.save(npy, images)
    command = [tmp_path / "bin" / "python", CODE / "tests" / "triton.py", str(running.http), str(running.grpc)]
    done = subprocess.run(command, input=npy.getvalue(), env=variables, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    seen = json.loads(done.stdout)
    print({way: {key: value for key, value in one.items() if key != "probabilities"} for way, one in seen.items()})
    assert list(seen) == ["http, bytes", "http, JSON", "gRPC"]
    for one in seen.values():
        assert one["live"] and one["ready"] and one["model"] and one["inputs"] == ["image"]
        assert "there is no model 'letters'" in one["refused"]
        assert np.array_equal(np.float32(one["probabilities"]), truth(images))
