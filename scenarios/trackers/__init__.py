"""Trackers of experiments, which show many runs side by side (`--track`). Each imports its library when it is opened."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from scenarios.trackers import mlflow, tensorboard, wandb
from scenarios.trackers.base import Opener

TRACKERS: dict[str, Opener] = {"tensorboard": tensorboard.opened, "mlflow": mlflow.opened, "wandb": wandb.opened}
TRACK = "pip install 'federated-continual[track]'"
# The packages that each imports, and the command that brings them.
PACKAGES: dict[str, tuple[tuple[str, ...], str]] = {
    "tensorboard": (("tensorboardX",), TRACK),
    "mlflow": (("mlflow",), TRACK),
    "wandb": (("wandb",), "pip install wandb"),
}


def check(names: Sequence[str]) -> None:
    """Raises ValueError if a tracker's package is not installed, naming the command that installs it. Imports nothing."""
    for name in names:
        packages, command = PACKAGES[name]
        if missing := [package for package in packages if find_spec(package) is None]:
            raise ValueError(f"--track {name} needs the package {missing[0]}, which is not installed: {command}")
