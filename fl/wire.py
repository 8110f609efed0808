"""What crosses the wire: `Task` and `Update` as Flower records. The only file that knows a record key.

Weights travel as arrays named 0 … 7, numbers as sums and counts. Nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from core.arrays import DAMAGE, parsed
from core.data import CLASSES
from core.engines import Sums
from core.engines.step import digest
from core.scenario import Scenario
from core.stream import course
from core.text import cleaned

Arrays = list[np.ndarray]
Answer = Mapping[str, Arrays]  # {method: arrays}
Numbers = Mapping[str, Any]
ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"  # Flower's strategies read and write the first two
STEP = "step"  # a training step's file, for clients without TensorFlow
STYPE = "numpy.ndarray"  # how Flower says that an array is numpy's own file
METHOD = "method."  # then a method's name: its arrays beside the weights, either way

NUMBERS = {
    "own",
    "rehearsed",
    "client",
    "round",
    "loss",
    "correct",
    "seen",
    "labels",
    "looks",
    "task",
    "memory",
    "battery",
}  # strategies want the same from all
EARLIER = "earlier"  # the only word of an answer
LETTERS = 100  # of a word
CLIENTS = ROUNDS = 1_000_000  # more than any federation has
MEMORY = 10**12  # bytes; more than any client keeps
LOSS = 1e6  # nats an example, on average: a model that far off has diverged
HEADER = 4096  # bytes of an array's file beside its numbers


@dataclass(frozen=True)
class Limits:
    """The most that an answer may say: beyond these a number makes no sense."""

    examples: int = 1_000_000  # that a client learns from in a round, or holds
    rows: int = 10**12  # gradient examples of a round
    looks: int = 100
    tasks: int = 100_000

    @classmethod
    def of(cls, scenario: Scenario) -> Limits:
        """Those of a scenario. A client takes at most a step for each of its examples and passes, and one more."""
        most, batch, passes = scenario.max_examples, scenario.local.batch, max(1.0, scenario.local.epochs)
        return cls(most, batch * (int(2 * most * passes) + 1), len(scenario.looks), len(course(scenario).exams))


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
    own: int  # examples of its own that it learned from; that it holds, if it only judged
    sums: Sums  # over the gradient examples of the round, or the test images
    labels: Sequence[int] = ()  # how many training examples of each class it holds
    looks: Sequence[float] = ()  # the amounts of its looks, in the scenario's order
    earlier: str = ""  # the worker that began this round before and did not finish it
    task: int = -1  # what it was learning
    memory: int = 0  # bytes that it keeps for its methods
    battery: float = -1.0  # how full its device's battery is, 0 … 1; below 0 if it has none, or is no device
    answer: Answer = field(default_factory=dict)  # what methods send beside the weights
    rehearsed: int = 0  # examples that it remembers and learned from again
    round: int = 0  # the one that it was asked in

    @property
    def examples(self) -> int:
        """The client's weight in the mean."""
        return self.own + self.rehearsed


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
    """Read an introduction. Raises ValueError if it is none."""
    if set(content) != {METRICS} or set(content.metric_records.get(METRICS, ())) != {"client"}:
        raise ValueError("the answer's records are not the ones asked for")
    return _whole(content.metric_records[METRICS], "client", 0, CLIENTS)


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
            "own": update.own, "rehearsed": update.rehearsed, "client": update.client, "round": update.round,
            "loss": sums.loss, "correct": sums.correct, "seen": sums.examples,
            "labels": [int(n) for n in update.labels], "looks": [float(a) for a in update.looks],
            "task": update.task, "memory": update.memory, "battery": update.battery,
        }
    )  # fmt: skip
    content = RecordDict({METRICS: metrics, CONFIG: ConfigRecord({EARLIER: update.earlier})})
    if update.arrays:
        content[ARRAYS] = record(update.arrays)
    for name, given in update.answer.items():
        content[METHOD + name] = record(given)
    return content


def averaged(content: RecordDict, arrays: Arrays, weight: float) -> None:
    """Leave only what a strategy needs: the weights as they were checked, written anew (it goes by their order, which is the
    sender's), and how much they count. It would average all other numbers too."""
    for name in list(content):
        del content[name]
    content[ARRAYS], content[METRICS] = record(arrays), MetricRecord({"num-examples": weight})


def update(
    content: RecordDict,
    client: int,
    like: Arrays,
    shapes: Mapping[str, Sequence[tuple[int, ...]]] | None = None,
    limits: Limits = Limits(),
    round: int | None = None,
) -> Update:
    """Read and check an update. Raises ValueError, saying what is wrong, if it is not what this client was asked for.

    like: arrays of the shapes that weights must have (none: the client was only to judge); shapes: {method: the shapes of
    the float32 arrays that its answer may hold}; round: the one that it was asked in, if it must be that. A client that took
    no step sends no weights. Nothing of the content is used before all of it was checked: first which records there are,
    then each array's size, then each number and word.
    """
    asked = {
        METHOD + name: [np.zeros(shape, np.float32) for shape in wanted] for name, wanted in (shapes or {}).items()
    }
    asked |= {ARRAYS: like} if like else {}
    _records(content, set(asked))
    arrays = {name: _weights(found, asked[name]) for name, found in content.array_records.items()}
    numbers, learned = content.metric_records[METRICS], ARRAYS in arrays
    if (who := _whole(numbers, "client", 0, CLIENTS)) != client:
        raise ValueError(f"the answer is client {who}'s")
    answered = _whole(numbers, "round", 0, ROUNDS)
    if round is not None and answered != round:
        raise ValueError(f"the answer is one to round {answered}")
    least = 1 if learned or not like else 0
    own, rehearsed = (_whole(numbers, name, 0, limits.examples) for name in ("own", "rehearsed"))
    seen = _whole(numbers, "seen", least, limits.rows)
    if own + rehearsed < least:
        raise ValueError("the answer's numbers make no sense: it learned from 0 examples")
    sums = Sums(_real(numbers, "loss", -1e-3 * seen, LOSS * max(1, seen)), _whole(numbers, "correct", 0, seen), seen)
    labels = _several(numbers, "labels", CLASSES, 0, limits.examples)
    return Update(
        client, arrays.get(ARRAYS, []), own, sums, [int(n) for n in labels], _several(numbers, "looks", limits.looks, -1e6, 1e6),
        _word(content), _whole(numbers, "task", -1, limits.tasks - 1), _whole(numbers, "memory", 0, MEMORY),
        _real(numbers, "battery", -1, 1), {n.removeprefix(METHOD): a for n, a in arrays.items() if n != ARRAYS}, rehearsed,
        answered,
    )  # fmt: skip


def size(content: RecordDict) -> int:
    """Bytes of all arrays in a message of ours, or in an answer that was checked, and of a training step's file."""
    file = len(bytes(content.config_records[STEP]["file"])) if STEP in content.config_records else 0  # type: ignore[arg-type]
    return file + sum(len(array.data) for held in content.array_records.values() for array in held.values())


# ── checks: what comes in is foreign until all of them have passed ──


def _records(content: RecordDict, arrays: set[str]) -> None:
    """Only records that were asked for, and in them only names that were."""
    if (
        set(content.metric_records) != {METRICS}
        or set(content.array_records) - arrays
        or set(content.config_records) - {CONFIG}
    ):
        raise ValueError("the answer's records are not the ones asked for")
    if odd := set(content.metric_records[METRICS]) ^ NUMBERS:
        raise ValueError(f"the answer's numbers are not the ones asked for: {cleaned(', '.join(sorted(odd)[:10]))}")
    if odd := set(content.config_records.get(CONFIG, ())) - {EARLIER}:
        raise ValueError(f"the answer's words are not the ones asked for: {cleaned(', '.join(sorted(odd)[:10]))}")


def _word(content: RecordDict) -> str:
    word = content.config_records.get(CONFIG, ConfigRecord()).get(EARLIER, "")
    if not isinstance(word, str) or len(word) > LETTERS:
        raise ValueError(f"the answer's {EARLIER} is not a text of at most {LETTERS} letters")
    return cleaned(word)


def _whole(numbers: Numbers, name: str, low: int, high: int) -> int:
    value = numbers[name]
    if type(value) is not int or not low <= value <= high:
        raise _nonsense(name, value, low, high)
    return value


def _real(numbers: Numbers, name: str, low: float, high: float) -> float:
    value = numbers[name]
    if not isinstance(value, int | float) or not low <= value <= high:  # NaN is not between anything
        raise _nonsense(name, value, low, high)
    return float(value)


def _several(numbers: Numbers, name: str, count: int, low: float, high: float) -> list[float]:
    """A list of so many numbers, or of none."""
    values = numbers[name]
    if not isinstance(values, list) or len(values) not in (0, count):
        said = f"has {len(values):,} {name}" if isinstance(values, list) else f"says {cleaned(values, 40)} for {name}"
        raise ValueError(f"the answer {said}; there should be {count}, or none")
    if wrong := [value for value in values if not low <= value <= high]:
        raise _nonsense(name, wrong[0], low, high)
    return [float(value) for value in values]


def _nonsense(name: str, value: object, low: float, high: float) -> ValueError:
    return ValueError(f"the answer's numbers make no sense: {name} = {cleaned(value, 40)}, not {low:g} … {high:g}")


def _weights(found: ArrayRecord, like: Arrays) -> Arrays:
    """The arrays of a record, which must be like these. How long each may be is checked before any of it is read."""
    if set(found) != {str(i) for i in range(len(like))}:
        raise ValueError(f"the answer has {len(found)} arrays, not {len(like)}")
    got = []
    for i, wanted in enumerate(like):
        array = found[str(i)]
        if array.stype != STYPE or len(array.data) > wanted.nbytes + HEADER:
            raise ValueError(
                f"array {i} is {cleaned(array.stype, 40)} of {len(array.data):,} bytes, not {wanted.nbytes:,}"
            )
        try:
            got.append(parsed(array.data))
        except DAMAGE as error:
            raise ValueError(f"the answer's arrays are not readable: {cleaned(error, 100)}") from None
        mine = f"{wanted.dtype} {list(wanted.shape)}"
        if got[i].shape != wanted.shape or got[i].dtype != wanted.dtype:
            raise ValueError(f"array {i} is {got[i].dtype} {list(got[i].shape)}, not {mine}")
        if not np.isfinite(got[i]).all():
            raise ValueError(f"array {i} holds NaN or infinity")
    return got
