"""What the libraries are told before they are imported, in the driver and in every worker alike."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core import plugins
from core.disk import emptied
from server import run_folder

SETTINGS = {
    # The same arithmetic everywhere: results differ with oneDNN on or off, and between one thread and two.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "-1",
    # No calls home, no chatter.
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    # Weights (0.9 MB) travel inside Ray's messages: a third less time between two clients than by way of its object store.
    "RAY_max_direct_call_object_size": "4000000",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}

# Bytes of a folder's path below which Ray's sockets fit: a unix socket's may have 107, and Ray's name takes up to 70 of them.
FOR_SOCKETS = 36


def prepare(folder: Path | None = None) -> dict[str, str]:
    """Set them for this process and its children; returns what a worker needs. folder: the run's, for clients' memory."""
    os.environ.update(SETTINGS)
    return (
        SETTINGS
        | plugins.variables()
        | ({"CLIENTS_HOME": str(folder.absolute() / run_folder.CLIENTS)} if folder else {})
    )


@contextmanager
def temporary(folder: Path) -> Iterator[None]:
    """A temporary folder of their own for this process and all that it starts, removed at the end.

    TensorFlow leaves files there when it is killed, so what an earlier process left is taken away first. Ray stays where it
    is, or goes to /tmp if that is too deep: its sockets' paths must be short.
    """
    names, previous = ("TMPDIR", "RAY_TMPDIR"), tempfile.tempdir
    before = {name: os.environ.get(name) for name in names}
    usual = tempfile.gettempdir()
    os.environ.setdefault("RAY_TMPDIR", usual if len(os.fsencode(usual)) <= FOR_SOCKETS else "/tmp")
    os.environ["TMPDIR"], tempfile.tempdir = str(emptied(folder)), None
    try:
        yield
    finally:
        tempfile.tempdir = previous
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)
