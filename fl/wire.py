"""What crosses the wire: `Task` and `Update` as Flower records. The only file that knows a record key.

Weights travel as arrays named 0 … 7, numbers as sums and counts. Nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from core.data import CLASSES
from core.engines import Sums
from core.engines.step import digest
from core.scenario import Scenario

Arrays = list[np.ndarray]
Answer = Mapping[str, Arrays]  # {method: arrays}
TASKS = 100_000  # more than any stream has
ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"  # Flower's strategies read and write the first two
STEP = "step"  # a training step's file, for clients without TensorFlow
METHOD = "method."  # then a method's name: its arrays beside the weights, either way

NUMBERS = {
    "num-examples",
    "client",
    "loss",
    "correct",
    "seen",
    "labels",
    "looks",
    "task",
    "memory",
    "battery",
}  # strategies want the same from all


@dataclass(frozen=True)
class Task:
    """What the server asks one client to do in one round."""

    scenario: Scenario
    round: int
    client: int
    rate: float
    arrays: Arrays
    extras: Mapping[str, float] = field(default_factory=dict)  # what a strategy adds, such as proximal-mu
    told: Answer = field(default_factory=dict)  # what the server adds for methods
    run: str = ""  # the run's name, on real nodes
    step: bytes = b""  # a training step's file (core/engines/step.py), if the server sends one
    digest: str = ""  # its SHA-256


@dataclass(frozen=True)
class Update:
    """What a client answers: its new weights (none, if it only judged), sums and counts."""

    client: int
    arrays: Arrays  # none: it took no step, having nothing to learn
    examples: int  # the client's weight in the mean
    sums: Sums  # over the gradient examples of the round, or the test images
    labels: Sequence[int] = ()  # how many training examples of each class it holds
    looks: Sequence[float] = ()  # the amounts of its looks, in the scenario's order
    earlier: str = ""  # the worker that began this round before and did not finish it
    task: int = -1  # what it was learning
    memory: int = 0  # bytes that it keeps for its methods
    battery: float = -1.0  # how full its device's battery is, 0 … 1; below 0 if it has none, or is no device
    answer: Answer = field(default_factory=dict)  # what methods send beside the weights


def record(arrays: Arrays) -> ArrayRecord:
    """Weights as Flower sends them."""
    return ArrayRecord({str(i): Array(np.asarray(a)) for i, a in enumerate(arrays)})


def arrays(held: ArrayRecord) -> Arrays:
    """Weights as numpy arrays, in order."""
    return [np.asarray(held[str(i)].numpy()) for i in range(len(held))]


def config(scenario: Scenario, rate: float, run: str = "") -> ConfigRecord:
    """What all clients of a round are told."""
    return ConfigRecord({"scenario": scenario.json(), "rate": rate, "run": run})


def introduction(client: int) -> RecordDict:
    """What a node answers to the question which client it plays."""
    return RecordDict({METRICS: MetricRecord({"client": client})})


def who(content: RecordDict) -> int:
    """Read an introduction."""
    return int(content.metric_records[METRICS]["client"])  # type: ignore[arg-type]


def addressed(
    ask: Message, client: int, node: int, round: int, told: Answer | None = None, step: bytes = b""
) -> Message:
    """A strategy's message, made out to one client on one node; told: what the server adds for methods; step: the file."""
    settings = ConfigRecord({**ask.content.config_records[CONFIG], "client": client, "server-round": round})
    content = RecordDict({ARRAYS: ask.content[ARRAYS], CONFIG: settings})
    for name, given in (told or {}).items():
        content[METHOD + name] = record(given)
    if step:
        content[STEP] = ConfigRecord({"file": step, "sha256": digest(step)})
    return Message(content, dst_node_id=node, message_type=ask.metadata.message_type)


def task(content: RecordDict) -> Task:
    """Read a task."""
    told: dict[str, Any] = dict(content.config_records[CONFIG])
    scenario, rate = Scenario.of(told.pop("scenario")), float(told.pop("rate"))
    round, client, run = int(told.pop("server-round")), int(told.pop("client")), str(told.pop("run"))
    extras = {key: float(value) for key, value in told.items() if isinstance(value, int | float)}
    step: dict[str, Any] = dict(content.config_records.get(STEP, {}))
    file, wanted = bytes(step.get("file", b"")), str(step.get("sha256", ""))
    held, methods = arrays(content.array_records[ARRAYS]), _methods(content)
    return Task(scenario, round, client, rate, held, extras, methods, run, file, wanted)


def _methods(content: RecordDict) -> dict[str, Arrays]:
    return {
        key.removeprefix(METHOD): arrays(held) for key, held in content.array_records.items() if key.startswith(METHOD)
    }


def answer(update: Update) -> RecordDict:
    """Write an update: one ArrayRecord and one MetricRecord with the same keys from all, as strategies want it."""
    sums = update.sums
    metrics = MetricRecord(
        {
            "num-examples": update.examples, "client": update.client,
            "loss": sums.loss, "correct": sums.correct, "seen": sums.examples,
            "labels": [int(n) for n in update.labels], "looks": [float(a) for a in update.looks],
            "task": update.task, "memory": update.memory, "battery": update.battery,
        }
    )  # fmt: skip
    told = ConfigRecord({"earlier": update.earlier})
    content = RecordDict({METRICS: metrics, CONFIG: told})
    if update.arrays:
        content[ARRAYS] = record(update.arrays)
    for name, given in update.answer.items():
        content[METHOD + name] = record(given)
    return content


def averaged(content: RecordDict, weigh: float = 1.0) -> None:
    """Leave only what a strategy needs: weights, and the number of examples, to the power `weigh`. It would average all other
    numbers too."""
    weight = float(content.metric_records[METRICS]["num-examples"]) ** weigh  # type: ignore[arg-type]
    content[METRICS] = MetricRecord({"num-examples": weight})
    for name in [key for key in content if key.startswith(METHOD)]:
        del content[name]


def update(
    content: RecordDict, client: int, like: Arrays, shapes: Mapping[str, Sequence[tuple[int, ...]]] | None = None
) -> Update:
    """Read and check an update. Raises ValueError, saying what is wrong, if it is not what this client was asked for.

    like: arrays of the shapes that weights must have (none: the client was only to judge); shapes: {method: the shapes of
    the float32 arrays that its answer may hold}. A client that took no step sends no weights.
    """
    allowed = {METHOD + name for name in shapes or {}} | ({ARRAYS} if like else set())
    if set(content.metric_records) != {METRICS} or set(content.array_records) - allowed:
        raise ValueError("the answer's records are not the ones asked for")
    told: Mapping[str, Any] = content.metric_records[METRICS]
    if odd := set(told) ^ NUMBERS:
        raise ValueError(f"the answer's numbers are not the ones asked for: {', '.join(sorted(odd))}")
    words: Mapping[str, Any] = content.config_records.get(CONFIG, ConfigRecord())
    try:
        sums = Sums(float(told["loss"]), int(told["correct"]), int(told["seen"]))
        who, examples = int(told["client"]), int(told["num-examples"])
        labels, looks = list(told["labels"]), list(told["looks"])
        task, memory, battery = int(told["task"]), int(told["memory"]), float(told["battery"])
        earlier = str(words.get("earlier", ""))[:100]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the answer's numbers are not readable: {error!r}") from None
    if who != client:
        raise ValueError(f"the answer is client {who}'s")
    learned = ARRAYS in content.array_records
    least = 1 if learned or not like else 0
    if examples < least or sums.examples < least or not np.isfinite(sums.loss):
        raise ValueError(f"the answer's numbers make no sense: {examples} examples, loss {sums.loss}")
    if not -1 <= task < TASKS:
        raise ValueError(f"the answer's task is {task}")
    if len(labels) not in (0, CLASSES):
        raise ValueError(f"the answer counts {len(labels)} labels, not {CLASSES}")
    got = _weights(content.array_records[ARRAYS], like) if learned else []
    given = {
        name: _weights(content.array_records[METHOD + name], [np.zeros(shape, np.float32) for shape in wanted])
        for name, wanted in (shapes or {}).items()
        if METHOD + name in content.array_records
    }
    battery = battery if 0 <= battery <= 1 else -1.0
    return Update(client, got, examples, sums, labels, looks, earlier, task, memory, battery, given)


def size(content: RecordDict) -> int:
    """Bytes of all arrays in a message, and of a training step's file."""
    file = len(bytes(content.config_records[STEP]["file"])) if STEP in content.config_records else 0  # type: ignore[arg-type]
    return file + sum(len(array.data) for held in content.array_records.values() for array in held.values())


def _weights(held: ArrayRecord, like: Arrays) -> Arrays:
    if set(held) != {str(i) for i in range(len(like))}:
        raise ValueError(f"the answer has {len(held)} arrays, not {len(like)}")
    try:
        got = arrays(held)
    except Exception as error:  # bytes from outside: whatever numpy makes of them, they are not an array
        raise ValueError(f"the answer's arrays are not readable: {error!r}") from None
    for i, (array, mine) in enumerate(zip(got, like, strict=True)):
        if array.shape != mine.shape or array.dtype != mine.dtype:
            raise ValueError(f"array {i} is {array.dtype} {list(array.shape)}, not {mine.dtype} {list(mine.shape)}")
        if not np.isfinite(array).all():
            raise ValueError(f"array {i} holds NaN or infinity")
    return got
