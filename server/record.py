"""The facts of a run: typed here, JSON on the disk. Figures, page, tables and commands read attributes, never keys.

`rounds.jsonl` has a line a round, `report.json` all of a run. Accuracies are shares of test images, 0 … 1; losses are mean
cross-entropy in nats, None where they were not measured or were no finite number; times are seconds; sizes are bytes.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from core import curves
from core.config.parse import typed
from core.config.scenario import Scenario, renamed
from core.curves import Point
from core.disk import placed
from core.metrics import Measures, Split
from core.safe_json import read_lines, read_object
from core.stream import course
from server import run_folder

LEARNED_NOTHING = "nothing was learned: the weights are those that the run began with"  # an event
SCHEMA = 3  # 1: before the facts had types; 2: before costs, and while forgetting_split was a sum over rounds


@dataclass(frozen=True)
class Traffic:
    """Bytes of arrays, and of a training step's file."""

    sent: int = 0  # to clients
    received: int = 0  # from them


@dataclass(frozen=True)
class Megabytes:
    """The same over a whole run, in units of 10⁶ bytes."""

    sent: float = 0.0
    received: float = 0.0


@dataclass(frozen=True)
class RoundSeconds:
    """Where a round's time went."""

    train: float = 0.0
    evaluate: float = 0.0
    clients: float = 0.0  # of train: while clients were at work
    clients_processor: float = 0.0  # processor seconds of the clients' work, all together
    server_processor: float = 0.0  # of the server's own part of train: messages, checks, aggregation


@dataclass(frozen=True)
class ForgettingSplit(Split):
    """What clients lost in a round: temporal, by their own training; spatial, by averaging their models (core.metrics.split).

    Of a run: the mean over rounds; its errors are the means of the rounds' errors, which is the most that they can be, for all
    rounds are tested on the same images.
    """


@dataclass(frozen=True)
class ClientsMeasures:
    """The measures of each client, in the order in which it met its tasks; over clients."""

    mean: Measures
    deviation: Measures  # standard deviation of a sample
    clients: int  # that met a task


@dataclass(frozen=True)
class RoundRecord:
    """One round. Mappings are by client."""

    round: int
    rate: float = 0.0  # SGD's step size
    clients: tuple[int, ...] = ()  # whose replies count
    idle: tuple[int, ...] = ()  # who took no step, having nothing to learn
    # Who made fewer passes, and how many; 0: not waited for
    stragglers: Mapping[int, float] = field(default_factory=dict)
    tasks: Mapping[int, int] = field(default_factory=dict)  # what each was learning
    without: tuple[int, ...] = ()  # who had no example of its own of that
    memory: Mapping[int, int] = field(default_factory=dict)  # bytes that each keeps for its methods
    clients_examples: Mapping[int, int] = field(default_factory=dict)  # how many examples each one's weights come from
    battery: Mapping[int, float] = field(default_factory=dict)  # how full a device's is, 0 … 1, where it has one
    clients_seconds: Mapping[int, float] = field(default_factory=dict)  # from asking a real node to its answer
    clients_work: Mapping[int, float] = field(default_factory=dict)  # what it says that it worked of these
    bytes: Traffic = Traffic()
    failed: Mapping[int, str] = field(default_factory=dict)  # who was left out, and why
    server_error: str = ""  # what went wrong in the server's own step
    retried: Mapping[int, str] = field(default_factory=dict)  # who was asked again, and whose worker had been lost
    unprepared: tuple[int, ...] = ()  # who had kept nothing of the run before this one; each once
    said: Mapping[int, str] = field(default_factory=dict)  # what clients had to say of themselves
    capped: Mapping[int, int] = field(default_factory=dict)  # whose count was not believed, and what it said
    odd: Mapping[int, str] = field(default_factory=dict)  # whose update stands out, and how
    notes: tuple[str, ...] = ()  # what else was noticed, of nodes that play nobody
    examples: int = 0  # gradient examples of this round
    seen: int = 0  # and of all so far
    train_loss: float | None = None
    train_accuracy: float = 0.0
    accuracy: float | None = None  # of the global model after the round, on the test images
    loss: float | None = None
    tasks_accuracy: tuple[float, ...] = ()  # on each task's test images
    # On each task's validation images, at a stage's end; None where there is none. The gate reads these
    tasks_validation: tuple[float | None, ...] = ()
    classes_accuracy: tuple[float | None, ...] = ()  # on each class's; None where there is none
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    drift: Mapping[int, float | None] = field(default_factory=dict)  # |weights − received| / |received|
    forgetting_split: ForgettingSplit | None = None
    # On each one's own test images, at a stage's end
    clients_accuracy: Mapping[int, float] = field(default_factory=dict)
    seconds: RoundSeconds = RoundSeconds()

    @cached_property
    def line(self) -> str:
        """This round as JSON, made once: all rounds are written anew after each one."""
        return json.dumps(plain(self), allow_nan=False)

    @property
    def point(self) -> Point:
        """The round as a point of the training's curve."""
        share = math.nan if self.accuracy is None else self.accuracy
        return Point(share, self.round, self.loss, self.validation_loss, self.seen)


@dataclass(frozen=True)
class BestRound:
    """The round with the lowest validation loss; of `local`, each client's own, and the mean of what they read."""

    accuracy: float
    round: int | None = None
    loss: float | None = None
    validation_loss: float | None = None
    weights_sha256: str | None = None  # None: these weights are not there any more


@dataclass(frozen=True)
class Shard:
    """A client as it is at the end: what it has, and how well the global model serves it."""

    client: int
    examples: int = 0  # training images
    labels: tuple[int, ...] = ()  # how many of each class
    looks: Mapping[str, float] = field(default_factory=dict)  # the amount of each of its looks
    accuracy: float | None = None  # of the global model, on the client's own test images; None without any
    tested: int = 0  # how many these were
    rounds: int = 0  # in which its reply counted
    personal_accuracy: float | None = None  # of its personal model, on the same images, if it has one


@dataclass(frozen=True)
class Continual:
    """Learning in stages. matrix[i][j]: accuracy on task j after stage i."""

    tasks: tuple[str, ...]  # their names
    stages: tuple[int, ...]  # the task of each stage
    ends: tuple[int, ...]  # the last round of each stage
    matrix: tuple[tuple[float, ...], ...]
    measures: Measures  # of the global model, in the common order of the stages
    classes: tuple[tuple[float | None, ...], ...] = ()  # accuracy on each class, after each stage
    clients: tuple[Mapping[int, float], ...] = ()  # accuracy on each client's own test images, after each stage
    before: tuple[float, ...] = ()  # accuracy on each task before the first round
    clients_measures: ClientsMeasures | None = None  # of each client, in its own order; None: nobody met a task
    memory_bytes: int = 0  # the most that a client kept for its methods
    memory_total_bytes: int = 0  # the sum over clients of the most that each kept
    megabytes: Megabytes = Megabytes()
    forgetting_split: ForgettingSplit | None = None


@dataclass(frozen=True)
class Costs:
    """What a whole run of a federation took; its baselines, exports and pictures are not in it."""

    steps: int = 0  # SGD steps of all clients
    examples: int = 0  # gradient examples, `local.batch` a step
    memory_bytes: int = 0  # the most that a client kept for its methods
    memory_total_bytes: int = 0  # the sum over clients of the most that each kept
    megabytes: Megabytes = Megabytes()  # of arrays, and of training steps' files
    clients_processor: float = 0.0  # processor seconds of clients' work on their rounds, all together
    server_processor: float = 0.0  # of the server's part of the rounds: messages, checks, aggregation; no evaluation

    @classmethod
    def of(cls, scenario: Scenario, history: Sequence[RoundRecord]) -> Costs:
        """Those of a scenario's rounds."""
        peaks: dict[int, int] = {}
        for row in history:
            for client, size in row.memory.items():
                peaks[client] = max(size, peaks.get(client, 0))
        examples = sum(row.examples for row in history)
        return cls(
            steps=examples // scenario.local.batch,
            examples=examples,
            memory_bytes=max(peaks.values(), default=0),
            memory_total_bytes=sum(peaks.values()),
            megabytes=Megabytes(
                sum(row.bytes.sent for row in history) / 1e6, sum(row.bytes.received for row in history) / 1e6
            ),
            clients_processor=sum(row.seconds.clients_processor for row in history),
            server_processor=sum(row.seconds.server_processor for row in history),
        )


@dataclass(frozen=True)
class Version:
    """The model at the end of a stage, as RUN/versions/NUMBER/version.json has it."""

    version: int
    round: int = 0
    accuracy: float | None = None
    tasks: Mapping[str, float] = field(default_factory=dict)  # accuracy on each task's test images, by its name
    objections: tuple[str, ...] = ()  # why it may not become current
    validation: Mapping[str, float] = field(default_factory=dict)  # on its validation images, which the gate reads
    unjudged: tuple[str, ...] = ()  # tasks without a validation image: the gate knows nothing of them
    weights_sha256: str = ""  # of its weights; an older program's does not say


@dataclass(frozen=True)
class Latency:
    """Milliseconds a call of one image."""

    latency_ms: float
    latency_p95_ms: float  # 95 of 100 calls take less


@dataclass(frozen=True)
class ExportedFile:
    """An exported file beside the Keras model, on all test images."""

    bytes: int
    accuracy: float
    difference: float  # the greatest of two probabilities
    agreement: float  # share of images for which both say the same class
    latency_ms: float = 0.0
    latency_p95_ms: float = 0.0
    speedup: float = 0.0  # over TensorFlow's tf.function


@dataclass(frozen=True)
class Exports:
    """What was exported and verified, as export.json has it."""

    images: int = 0  # on which the files were verified
    baselines: Mapping[str, Latency] = field(default_factory=dict)
    files: Mapping[str, ExportedFile] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)  # and why


@dataclass(frozen=True)
class Report:
    """A whole run."""

    settings: Scenario
    accuracy: float | None = None  # of the last weights
    loss: float | None = None
    weights_sha256: str = ""
    history: tuple[RoundRecord, ...] = ()
    shards: tuple[Shard, ...] = ()  # of the clients that were asked, at most a hundred
    confusion: tuple[tuple[int, ...], ...] = ()  # [true class][read as], test images
    continual: Continual | None = None
    events: tuple[str, ...] = ()  # what did not go as planned
    best: Mapping[str, BestRound | None] = field(default_factory=dict)  # "federated", and each baseline
    baselines: Mapping[str, float] = field(default_factory=dict)  # accuracy of each one's last weights
    curves: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)  # of the baselines
    local_accuracies: tuple[float, ...] = ()  # each client's own model, on all test images
    local_own_accuracies: tuple[float | None, ...] = ()  # the same on its own test images, None without any
    fedavg_own_accuracies: tuple[
        float, ...
    ] = ()  # of plain FedAvg's model, on the own test images of each client that was asked and has any
    diverged: Mapping[str, str] = field(default_factory=dict)  # a sentence for each training that did
    stages: tuple[Version, ...] = ()
    current: int | None = None  # the version whose files `exports` are
    exports: Exports = Exports()
    seconds: Mapping[str, float] = field(default_factory=dict)  # training, evaluation, baselines, export, total
    versions: Mapping[str, str] = field(default_factory=dict)  # of packages
    folder: str = ""
    source: str = ""  # the run that it went on from
    labels: tuple[str, ...] = ()  # what the classes are called; none: by their numbers
    costs: Costs = Costs()
    command: tuple[str, ...] = ()  # the words that make it again from its preset; none: they are not known

    @property
    def name(self) -> str:
        """The scenario's."""
        return self.settings.name

    @property
    def seed(self) -> int:
        """The scenario's."""
        return self.settings.seed

    @property
    def version(self) -> int | None:
        """The number of the version that the last weights are."""
        return self.stages[-1].version if self.stages else None

    @property
    def current_version(self) -> Version | None:
        """The current version, if it is one of this run's, or the one that the run started from."""
        return next((one for one in self.stages if one.version == self.current), None)

    @property
    def times(self) -> dict[str, float]:
        """Seconds by part, as a person reads them. Baselines are made beside the rounds, so only waiting for them counts; what no
        part counts is a part too, so that all add up to the total."""
        names = {"baselines": "waiting for baselines"}
        parts = {name: spent for name, spent in self.seconds.items() if name != "total"}
        shown = {names.get(name, name): spent for name, spent in parts.items() if self.baselines or name != "baselines"}
        if "total" not in self.seconds:
            return shown
        rest = max(0.0, self.seconds["total"] - sum(parts.values()))
        return {"start and data": rest, **shown, "total": self.seconds["total"]}

    def called(self, label: int) -> str:
        """What a class is called."""
        return self.labels[label] if label < len(self.labels) else str(label)

    @property
    def numbers(self) -> bool:
        """Are the classes called by numbers, as digits are?"""
        return all(label.isdecimal() for label in self.labels)

    @property
    def kind(self) -> str:
        """What people call a class."""
        return "digit" if self.numbers else "class"

    @property
    def kinds(self) -> str:
        """What people call the classes."""
        return "digits" if self.numbers else "classes"

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """Under which it reads the test images, each in turn; none, if it reads them as they are. Exported files and the confusion
        matrix are of images as they are."""
        try:
            found = tuple(dict.fromkeys(test.condition for test in course(self.settings).tests))
        except ValueError:  # a plugin's stream, and the plugin is not here
            return ()
        return () if found == ("plain",) else found

    @property
    def as_they_are(self) -> str:
        """What to say of a figure that is of no condition, where others are."""
        return " as they are, under no condition of its stream" if self.conditions else ""

    @property
    def asked(self) -> str:
        """What to say of clients' figures that are of some of them: " (100 of 1,000 clients)"; at most a hundred are asked."""
        everybody = self.settings.clients
        return f" ({len(self.shards)} of {everybody:,} clients)" if 0 < len(self.shards) < everybody else ""

    @property
    def everything(self) -> str:
        """All classes, as a person says it: "all ten digits" of MNIST."""
        count = len(self.confusion) or 10
        return f"all {'ten' if count == 10 else count} {self.kinds}"

    @property
    def test_images(self) -> str:
        """On what its accuracies are: "all test images", or as many as the setting `test` takes: "2,000 test images"."""
        return f"{self.settings.test:,} test images" if self.settings.test else "all test images"

    @property
    def taught_clause(self) -> str:
        """ ", of which this run taught 6, 7 and 8", where it taught fewer than all classes that are tested; else nothing."""
        names = [self.called(label) for label in self.settings.digits]
        some = ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else "".join(names)
        return f", of which this run taught {some}" if names and len(names) < (len(self.confusion) or 10) else ""

    def with_(self, *events: str, **changes: Any) -> Report:
        """A copy with more events, and other facts."""
        return replace(self, events=(*self.events, *events), **changes)


# What is said of an answer whose training went out of bounds, as by too large a step.
OUT_OF_BOUNDS = ("make no sense: loss = ", " holds NaN or infinity", " times their length, more than ")


def _left_out(failed: Mapping[int, str]) -> Iterator[str]:
    """Why clients were left out, a sentence each; those whose loss made no sense in one."""
    senseless = [client for client, why in failed.items() if OUT_OF_BOUNDS[0] in why]
    for client, why in failed.items():
        if client not in senseless[1:]:
            others = ", ".join(f"client {other}" for other in senseless[1:] if client in senseless)
            yield f"client {client}: {why}; left out" + f", and for the like {others}" * bool(others)


def _nobody(row: RoundRecord) -> str:
    """What a round without an answer comes to, and what may help."""
    if row.failed and all(any(sign in why for sign in OUT_OF_BOUNDS) for why in row.failed.values()):
        return f"no answer made sense; the old weights were kept; a smaller local.rate may help (it was {row.rate:g})"
    return "nobody answered; the old weights were kept"


def events(row: RoundRecord) -> list[str]:
    """What went wrong in a round, a sentence each."""
    sentences = [f"the server: {row.server_error}"] if row.server_error else []
    sentences += _left_out(row.failed)
    sentences += [
        f"worker {w} was lost while it played client {c}, who was asked again" for c, w in row.retried.items()
    ]
    sentences += [
        f"client {c} had kept nothing of the run before this one, and began with an empty memory"
        for c in row.unprepared
    ]
    sentences += [f"client {c} {note}" for c, note in row.said.items()]
    sentences += [
        f"client {c} says {count:,} examples, far more than the others; it counts as the most allowed"
        for c, count in row.capped.items()
    ]
    sentences += [f"client {c}: {how}" for c, how in row.odd.items()]
    sentences += [*row.notes, *[_nobody(row)] * (not row.clients)]
    return [f"round {row.round}: {sentence}" for sentence in sentences]


def divergences(report: Report) -> dict[str, str]:
    """A sentence for each training that diverged (core.curves): this run's ("federated") and its baselines'."""
    forgets = bool(report.continual or report.settings.leave)
    trainings = {"federated": tuple(row.point for row in report.history), **report.curves}
    reasons = {
        name: curves.diverged(curve, forgets and name != "centralized")
        for name, curve in trainings.items()
        if name != "local"  # the mean of many trainings, which has no loss
    }
    subjects = {name: "this run" if name == "federated" else f"the {name} baseline" for name in reasons}
    return {name: f"{subjects[name]} diverged: {why}" for name, why in reasons.items() if why}


def failures(report: Report) -> list[str]:
    """A sentence for each client that gave nothing in a round, and for each round of which the server made nothing."""
    return [
        f"round {row.round}: {why}"
        for row in report.history
        for why in (*(f"client {client}: {text}" for client, text in row.failed.items()), row.server_error)
        if why
    ]


# ── the edge: JSON ──


def plain(value: Any) -> Any:
    """What JSON can hold: objects for data, null for NaN and infinity, for a run that diverged must still be readable."""
    if dataclasses.is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def report_json(report: Report) -> dict[str, Any]:
    """As report.json has it; scenario, seed, rounds and clients once more at the top, for whoever reads it by eye."""
    top = {"schema": SCHEMA, "scenario": report.name, "seed": report.seed, "rounds": len(report.history)}
    return top | {"clients": report.settings.clients} | plain(report)


def parse(content: Mapping[str, Any], name: str = "report") -> Report:
    """A report from JSON. Raises ValueError, naming `name`, if it is none, or of another schema."""
    if (schema := content.get("schema", 1)) != SCHEMA:
        raise ValueError(
            f"{name} has schema {str(schema)[:40]}, made by another version of this program; {SCHEMA} is read"
        )
    rest = {key: one for key, one in content.items() if key not in ("schema", "scenario", "seed", "rounds", "clients")}
    if isinstance(settings := rest.get("settings"), Mapping):
        rest["settings"] = renamed(settings)
    report: Report = typed(name, rest, Report)
    return report


def save(folder: Path, report: Report) -> None:
    """Write report.json and rounds.jsonl."""
    write(folder / run_folder.REPORT, json.dumps(report_json(report), indent=1, allow_nan=False) + "\n")
    save_rounds(folder, report.history)


def load(folder: Path, name: str = run_folder.REPORT) -> Report:
    """A run's report. Raises ValueError, naming the file, if it cannot be read; FileNotFoundError if it is not there.

    name: the file's.
    """
    file = folder / name
    return parse(read_object(file), str(file))


def finished(folder: Path, *names: str) -> Report | None:
    """The report of a run that was finished, from where it was put aside if another process began to go on with it; None if there
    is none, or it cannot be read. names: of the files that are looked at, both as a rule."""
    for name in names or (run_folder.REPORT, run_folder.ASIDE):
        with suppress(OSError, ValueError):
            if "total" in (report := load(folder, name)).seconds:
                return report
    return None


def save_rounds(folder: Path, history: Sequence[RoundRecord]) -> None:
    """Write rounds.jsonl anew."""
    write(folder / run_folder.ROUNDS, "".join(row.line + "\n" for row in history))


def load_rounds(folder: Path, known: int = 0) -> list[RoundRecord]:
    """The rounds of a run so far but for the first `known`; none if it has none. Raises ValueError, naming the file, if they
    cannot be read."""
    file = folder / run_folder.ROUNDS
    return [typed(f"{file}, a round", row, RoundRecord) for row in read_lines(file, "round", known=known)]


def write(path: Path, text: str) -> None:
    """Write a text whole, or leave what was there."""
    with placed(path) as file:
        file.write(text.encode())
