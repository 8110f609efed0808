"""A finished run of a study, small: keyed by its settings and by the code that made it, so a result of other code is never used."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core import code_digest, plugins
from core.config.parse import typed
from core.config.scenario import Scenario
from core.curves import Point
from core.data import DATASETS, files_digest
from core.metrics import Measures
from core.safe_json import read_json, read_object
from core.stream import TaskTest, course
from server.record import Megabytes, Report, divergences, failures, plain, write

RESULT, SPENT = "result.json", "spent.json"
ASIDE = ("report", "export", "serve")  # of the server: they make no weights
ROOMS = ("core", "fl", "clients", "scenarios/backends", "scenarios/environment.py", "scenarios/studies/one_run.py")
PACKAGES = ("ai-edge-litert", "flwr", "numpy", "opencv-python-headless", "tensorflow")


@dataclass(frozen=True)
class Mark:
    """What a round cost in processor seconds, evaluation included."""

    round: int
    processor: float
    evaluation: float  # of these, for testing the global model
    examples: int  # gradient examples
    first: bool = False  # of its process: functions are traced, data is loaded


@dataclass(frozen=True)
class Result:
    """What is kept of a run."""

    accuracy: float | None  # of the last weights, share of the test images
    validation_accuracy: float | None
    validation_loss: float | None
    curve: tuple[Point, ...]
    validation: tuple[float | None, ...] = ()  # accuracy on validation images, a round each, as the curve
    best: float | None = None  # test accuracy of the round with the lowest validation loss
    measures: Measures | None = None  # of streams: the global model's, in the common order
    clients_measures: Measures | None = None  # mean over clients, each in its own order
    served: tuple[float, ...] = ()  # each client's share of its own test images, see `served`
    memory_bytes: int = 0  # the most that a client kept
    megabytes: Megabytes = field(default_factory=Megabytes)
    seconds: float = 0.0  # training and evaluation, by the wall clock
    processor: float = 0.0  # processor seconds of the whole run
    marks: tuple[Mark, ...] = ()  # a few of its rounds
    weights_sha256: str = ""
    diverged: str = ""
    failures: int = 0  # clients that gave nothing in a round, and rounds of which the server made nothing
    failure: str = ""  # what the first of them was


def code() -> str:
    """A digest of all code that can change a result: this project's, the plugins', and the versions of what they stand on."""
    server = sorted(path for path in (code_digest.HOME / "server").iterdir() if path.name not in ASIDE)
    parts = [str(path.relative_to(code_digest.HOME)) for path in server if path.is_dir() or path.suffix == ".py"]
    total = hashlib.sha256(code_digest.digest(*ROOMS, *parts).encode() + plugins.digest())
    total.update(" ".join(f"{name}={_version(name)}" for name in PACKAGES).encode())
    return total.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # OpenCV has several names
        return ""


def folder(cells: Path, scenario: Scenario, code: str) -> Path:
    """Where a run of these settings and this code works, and leaves its result; of a user's own data, of these files."""
    files = "" if scenario.data in DATASETS else f" {files_digest(Path(scenario.data))}"
    return cells / hashlib.sha256(f"{code} {scenario.json()}{files}".encode()).hexdigest()[:20]


def load(folder: Path) -> Result | None:
    """The result of a finished run; None if there is none. One that cannot be read is made again."""
    try:
        return _read(folder / RESULT, (folder / RESULT).stat().st_mtime_ns)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


@lru_cache(maxsize=4096)
def _read(file: Path, changed: int) -> Result:
    """A study asks for all of its results whenever one is finished."""
    found: Result = typed(str(file), read_object(file), Result)
    return found


def marks(folder: Path) -> list[Mark]:
    """What each round of a run cost so far, as its processes wrote it down."""
    try:
        return list(typed(SPENT, read_json(folder / SPENT), tuple[Mark, ...]))
    except (FileNotFoundError, ValueError):
        return []


def validation(report: Report) -> float | None:
    """Accuracy of the last weights on validation images, as tasks show them: where a stream has conditions, its mean over tasks."""
    last = report.history[-1] if report.history else None
    if not last or all(one.condition == TaskTest.condition for one in course(report.settings).tests):
        return last.validation_accuracy if last else None
    tasks = [share for share in last.tasks_validation if share is not None]
    return statistics.mean(tasks) if tasks else None


def served(report: Report) -> tuple[float, ...]:
    """How well each client is served: by its personal model if its strategy keeps one, else by the global model."""
    both = ((shard.personal_accuracy, shard.accuracy) for shard in report.shards)
    shares = (shared if personal is None else personal for personal, shared in both)
    return tuple(share for share in shares if share is not None)


def save(folder: Path, report: Report, marks: Sequence[Mark], processor: float) -> None:
    """Write the result whole: the run is finished."""
    last, best = report.history[-1] if report.history else None, report.best.get("federated")
    staged, traffic = report.continual, [row.bytes for row in report.history]
    failed = failures(report)
    result = Result(
        accuracy=report.accuracy,
        validation_accuracy=validation(report),
        validation_loss=last.validation_loss if last else None,
        curve=tuple(row.point for row in report.history),
        validation=tuple(row.validation_accuracy for row in report.history),
        best=best.accuracy if best else None,
        measures=staged.measures if staged else None,
        clients_measures=staged.clients_measures.mean if staged and staged.clients_measures else None,
        served=served(report),
        memory_bytes=staged.memory_bytes if staged else 0,
        megabytes=Megabytes(*(sum(getattr(one, way) for one in traffic) / 1e6 for way in ("sent", "received"))),
        seconds=sum(report.seconds.values()),
        processor=processor,
        marks=tuple(marks),
        weights_sha256=report.weights_sha256,
        diverged=divergences(report).get("federated", ""),
        failures=len(failed),
        failure=failed[0] if failed else "",
    )
    write(folder / RESULT, json.dumps(plain(result), allow_nan=False) + "\n")
