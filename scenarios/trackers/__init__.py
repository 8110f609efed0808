"""Trackers of experiments, which show many runs side by side (`--track`). Each imports its library when it is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from core.config.parse import unknown
from core.packages import pip_install
from scenarios import needs
from scenarios.trackers import mlflow, tensorboard, wandb
from scenarios.trackers.base import Opener, Opening, Tracker

TRACK = needs.install("track")


@dataclass(frozen=True)
class Entry:
    """A tracker that can be named; called, it opens a run in it."""

    opened: Opener
    packages: tuple[str, ...]  # that it imports
    command: str  # which brings them

    def __call__(self, run: Opening) -> Tracker:
        return self.opened(run)


TRACKERS: dict[str, Entry] = {
    "tensorboard": Entry(tensorboard.opened, ("tensorboardX",), TRACK),
    "mlflow": Entry(mlflow.opened, ("mlflow", "sqlalchemy", "alembic"), TRACK),
    "wandb": Entry(wandb.opened, ("wandb",), pip_install("wandb")),
}


def check(names: Sequence[str]) -> None:
    """Raises ValueError for a name that is none, and if a tracker's package is not installed, with the command that installs
    it. Imports nothing."""
    for name in names:
        if name not in TRACKERS:
            raise unknown("tracker", name, TRACKERS)
        entry = TRACKERS[name]
        if missing := [package for package in entry.packages if find_spec(package) is None]:
            raise ValueError(f"--track {name} needs the package {missing[0]}, which is not installed: {entry.command}")
