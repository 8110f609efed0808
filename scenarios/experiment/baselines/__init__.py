"""What a run is compared with: the same data without federation, `centralized` (pooled) and `local` (each client alone); the same
federation with plain FedAvg, `fedavg`; and for streams `joint` (clients that keep everything).

The two without federation take the same model, looks, augmentations and rates as the federation, and in every round as many steps
as its clients are given at their stage of the stream (core.plan.budget), so as many gradient examples; but they have all of their
data from the first round on, and of a schedule with stages they take one of a single stage. A baseline *is* a client's own `learn`,
given all data, or no one else's. A federation of one without a stream is the centralized baseline, bit for bit.
Results are cached by everything that can change them, so that runs which differ only in strategy share them.

`python -m scenarios.experiment.baselines KIND SCENARIO FOLDER` makes one; a run starts that beside itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from core import code_digest, plugins
from core.config.parse import typed
from core.config.part import Part
from core.config.scenario import Scenario
from core.curves import Point
from core.data import DATASETS, files_digest
from core.safe_json import read_object
from server.record import BestRound, plain, write

CROWD = (
    10_000  # clients, with more of whom not all can be pooled (100,000 of 60 images hold 4.7 GB) or trained one by one
)
KINDS = ("centralized", "fedavg", "local", "joint")
# Whole rooms: whoever adds or moves a file there need not remember that results of the old code are still lying about.
CODE = (
    "core", "fl", "clients", "server", "scenarios/experiment/baselines", "scenarios/environment.py", "scenarios/backends",
)  # fmt: skip
PLAIN = ("strategy", "weight_exponent", "methods", "idle")  # settings that plain FedAvg has at their defaults
# What matters to a federation alone. Its stream, and who is there when, say how many steps a baseline may take, too.
FEDERATED = (*PLAIN, "stragglers", "drop_stragglers")
STREAM = ("stream", "order", "lag")
ASIDE = ("name", "engine", "softmax", "probe", "gate", "round_timeout", "centralized_rate")  # what changes no baseline


@dataclass(frozen=True)
class Alone:
    """What each client's own model reads, client by client; and after how many of the federation's rounds."""

    accuracies: tuple[float, ...]  # on all test images
    own_accuracies: tuple[float | None, ...]  # on its own test images, None without any
    rounds: tuple[int, ...]

    @property
    def accuracy(self) -> float:
        """Mean over clients, all test images."""
        return fmean(self.accuracies)


@dataclass(frozen=True)
class Result:
    """A finished baseline, as result.json has it."""

    accuracy: float  # of the last weights; of `local`, the mean over clients
    curve: tuple[Point, ...]
    best: BestRound | None = None
    loss: float | None = None
    weights_sha256: str = ""
    last_alone: Alone | None = None  # of `local`: each client's last weights
    best_alone: Alone | None = None  # and those of its best round
    own_accuracies: tuple[float, ...] = ()  # of `fedavg` and `joint`: on each asked client's own test images
    matrix: tuple[tuple[float, ...], ...] = ()  # of `joint`: accuracy on each task after each stage


def cache_folder(scenario: Scenario, kind: str, runs: Path) -> Path:
    """Where this baseline's result and checkpoints are, named by the settings, the code and the user's own data that make it."""
    total = hashlib.sha256(reduced(scenario, kind).json().encode() + code_digest.digest(*CODE).encode())
    total.update(plugins.digest())
    if scenario.data not in DATASETS:
        total.update(files_digest(Path(scenario.data)).encode())
    return runs / ".baselines" / f"{kind}-{total.hexdigest()[:16]}"


def reduced(scenario: Scenario, kind: str) -> Scenario:
    """A scenario without what this baseline does not depend on: its name, say; without federation no strategy either."""
    without = _usual(scenario, {"joint": ASIDE, "fedavg": (*ASIDE, *PLAIN)}.get(kind, (*ASIDE, *FEDERATED)))
    if kind == "joint":
        return replace(without, methods=(Part("joint"),))
    if kind == "centralized" and scenario.centralized_rate:
        return replace(without, local=replace(without.local, rate=scenario.centralized_rate))
    return without


def aside(scenario: Scenario) -> Scenario:
    """A scenario without what changes no baseline, nor the run itself but for `softmax`: to compare with what `reduced` gives."""
    return _usual(scenario, [name for name in ASIDE if name != "softmax"])


def at_once(scenario: Scenario) -> Scenario:
    """The scenario whose clients have all of their data from the first round on."""
    return _usual(scenario, STREAM)


def _usual(scenario: Scenario, names: Iterable[str]) -> Scenario:
    """The scenario with the defaults for these settings."""
    usual = Scenario("baseline")
    return replace(scenario, **{name: getattr(usual, name) for name in names})


def lasting(scenario: Scenario, steps: int, examples: int) -> Scenario:
    """The scenario in which a client with so many examples takes so many steps a round; without any step, as it is."""
    epochs = steps * scenario.local.batch / examples if steps else scenario.local.epochs
    return replace(scenario, local=replace(scenario.local, epochs=epochs))


def result(folder: Path) -> Result | None:
    """A finished baseline's result; None if it is not finished, or its file cannot be read: then it is made again."""
    file = folder / "result.json"
    try:
        found: Result = typed(str(file), read_object(file), Result)
    except (FileNotFoundError, ValueError):
        return None
    return found


def finished(folder: Path, found: Result) -> None:
    """Write result.json: the baseline is done."""
    write(folder / "result.json", json.dumps(plain(found)) + "\n")


def progress(folder: Path) -> int:
    """Rounds, or clients, done so far."""
    try:
        return int((folder / "done").read_text())
    except (OSError, ValueError):  # not begun, or in the middle of being written
        return 0
