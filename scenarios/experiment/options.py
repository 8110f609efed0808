"""What an experiment works with, beside its scenario."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.config.scenario import Scenario
from core.safe_json import read_object
from scenarios.experiment.baselines import KINDS
from scenarios.terminal import Terminal
from server import record, run_folder

COMPARED: dict[str, tuple[str, ...]] = {  # the baselines that a run is compared with
    "none": (), "centralized": ("centralized",), "all": KINDS,
}  # fmt: skip
CHOICES = {
    "backend": ("processes", "ray", "local"),
    "baselines": tuple(COMPARED),
    "export": ("all", "current", "none"),  # versions whose files a run makes
}


KEPT = ("baselines", "export")
UNCHANGED = 3  # a finished run's exit code, if its weights are those that it began with


def backend() -> str:
    """The usual one: Ray, if RAY_ADDRESS says where it is."""
    return "ray" if os.environ.get("RAY_ADDRESS") else RunOptions.backend


@dataclass(frozen=True)
class RunOptions:
    """How to run, which changes nothing about the result."""

    workers: int = 1
    backend: str = "processes"
    baselines: str = "centralized"
    export: str = "current"  # which versions' files are made: all, current, none
    source: Path | None = None  # the finished run that this one goes on from
    federation: Path | None = None  # real nodes instead of a backend (scenarios/deploy.py)
    plugins: tuple[str, ...] = ()  # modules with pieces from outside (core/plugins.py)
    quiet: bool = False
    json: bool = False
    profile: bool = False
    track: tuple[str, ...] = ()  # trackers that see the run too (scenarios/trackers)


def remembered(folder: Path) -> dict[str, str]:
    """With which of CHOICES a run was begun that nobody names again when it is resumed; nothing, if that cannot be read."""
    with suppress(OSError, ValueError):
        found = read_object(folder / run_folder.OPTIONS)
        return {key: found[key] for key in KEPT if found.get(key) in CHOICES[key]}
    return {}


def remember(folder: Path, options: RunOptions) -> None:
    """Write down what `remembered` reads, when the run is begun."""
    if not (folder / run_folder.OPTIONS).exists():
        record.write(folder / run_folder.OPTIONS, json.dumps({key: getattr(options, key) for key in KEPT}) + "\n")


@dataclass(frozen=True)
class Experiment:
    """What every phase of it works with."""

    scenario: Scenario
    folder: Path
    options: RunOptions
    terminal: Terminal
    environment: Mapping[str, str]  # what a worker's must have
