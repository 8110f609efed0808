"""What crosses the wire: `Task` and `Update` as Flower records. The only file that knows a record key.

Weights travel as arrays named 0, 1 …, numbers as sums and counts. Nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from core.arrays import Arrays, octets, parsed
from core.config.scenario import Scenario
from core.scores import Sums
from core.text import cleaned
from fl import checks
from fl.checks import Limits
from fl.messages import Task, Update

ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"
# Of a task's settings. 1: before it was written down; 2: before a run could go on from another on real nodes; 3: before all
# methods had one budget
SCHEMA = 4
STEP = "step"  # a training step's file, for clients without TensorFlow
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
    "unprepared",
    "seconds",
    "processor",
}  # strategies want the same from all
EARLIER, NOTE = "earlier", "note"  # the words of an answer
PERSONAL, READ = "personal", {"loss", "correct", "seen"}  # what a client's own model reads


@dataclass(frozen=True)
class Expected:
    """What the answer to a request may be."""

    client: int  # whose it is
    like: Arrays  # arrays of the shapes that weights must have; none: the client was only to judge
    # {method: of the f32 arrays that it may send}
    shapes: Mapping[str, Sequence[tuple[int, ...]]] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    round: int | None = None  # the one that it was asked in; None: whichever it says
    personal: bool = False  # must it say, too, what its own model reads, on as many images as the global one?

    @property
    def arrays(self) -> dict[str, Arrays]:
        """By record, arrays of the shapes that each may hold."""
        sent = {
            METHOD + name: [np.zeros(shape, np.float32) for shape in wanted] for name, wanted in self.shapes.items()
        }
        return sent | ({ARRAYS: self.like} if self.like else {})


def record(arrays: Arrays) -> ArrayRecord:
    """Weights as Flower sends them."""
    packed = ArrayRecord()
    for i, array in enumerate(arrays):
        packed[str(i)] = Array(str(array.dtype), array.shape, checks.STYPE, octets(array))
    return packed


def arrays(record: ArrayRecord) -> Arrays:
    """Weights as numpy arrays, in order."""
    packed = [record[str(i)] for i in range(len(record))]
    if odd := {array.stype for array in packed} - {checks.STYPE}:
        raise ValueError(f"arrays are packed as {cleaned(', '.join(sorted(odd)), 40)}, not as {checks.STYPE}")
    return [parsed(array.data, tuple(array.shape)) for array in packed]


def introduction(client: int) -> RecordDict:
    """What a node answers to the question which client it plays."""
    return RecordDict({METRICS: MetricRecord({"client": client})})


def who(content: RecordDict) -> int:
    """Read an introduction. Raises ValueError if it is none."""
    if set(content) != {METRICS} or set(content.metric_records.get(METRICS, ())) != {"client"}:
        raise ValueError("the answer's records are not the ones asked for")
    return checks.whole(content.metric_records[METRICS], "client", 0, checks.CLIENTS)


def request(task: Task, weights: ArrayRecord) -> RecordDict:
    """Write a task. weights: its arrays as a record, which the messages of a round share."""
    settings = ConfigRecord(
        {
            "schema": SCHEMA, "scenario": task.scenario.json(), "round": task.round, "client": task.client,
            "rate": task.rate, "run": task.run, "before": list(task.before),
        }
    )  # fmt: skip
    content = RecordDict({ARRAYS: weights, CONFIG: settings})
    for name, arrays in task.payloads.items():
        content[METHOD + name] = record(arrays)
    if task.step:
        content[STEP] = ConfigRecord({"file": task.step, "sha256": task.digest})
    return content


def task(content: RecordDict) -> Task:
    """Read a task. Raises ValueError if the server writes tasks otherwise."""
    settings: dict[str, Any] = dict(content.config_records[CONFIG])
    if (schema := settings.get("schema", 1)) != SCHEMA:
        raise ValueError(
            f"the server's tasks have schema {schema}, this client reads {SCHEMA}: bring both to one version"
        )
    step: dict[str, Any] = dict(content.config_records.get(STEP, {}))
    return Task(
        scenario=Scenario.of(settings["scenario"]),
        round=int(settings["round"]),
        client=int(settings["client"]),
        rate=float(settings["rate"]),
        arrays=arrays(content.array_records[ARRAYS]),
        payloads=_methods(content),
        run=str(settings["run"]),
        before=tuple(map(str, settings["before"])),
        step=bytes(step.get("file", b"")),
        digest=str(step.get("sha256", "")),
    )


def _methods(content: RecordDict) -> dict[str, Arrays]:
    return {
        key.removeprefix(METHOD): arrays(weights)
        for key, weights in content.array_records.items()
        if key.startswith(METHOD)
    }


def reply(update: Update) -> RecordDict:
    """Write an update: one ArrayRecord and one MetricRecord with the same keys from all, as strategies want it."""
    sums = update.sums
    metrics = MetricRecord(
        {
            "own": update.own_examples, "rehearsed": update.rehearsed, "client": update.client, "round": update.round,
            "loss": sums.loss, "correct": sums.correct, "seen": sums.examples,
            "labels": [int(n) for n in update.labels], "looks": [float(a) for a in update.looks],
            "task": update.task, "memory": update.memory, "battery": update.battery,
            "unprepared": int(update.unprepared), "seconds": float(update.seconds),
            "processor": float(update.processor),
        }
    )  # fmt: skip
    content = RecordDict({METRICS: metrics, CONFIG: ConfigRecord({EARLIER: update.earlier, NOTE: update.note})})
    if update.arrays:
        content[ARRAYS] = record(update.arrays)
    for name, payload in update.payloads.items():
        content[METHOD + name] = record(payload)
    if update.personal:
        personal = update.personal
        content[PERSONAL] = MetricRecord(
            {"loss": personal.loss, "correct": personal.correct, "seen": personal.examples}
        )
    return content


def noted(content: RecordDict, note: str) -> None:
    """Add to what an answer of ours says in words, if there is anything."""
    words = content.config_records[CONFIG]
    words[NOTE] = "; ".join(one for one in (str(words.get(NOTE, "")), note) if one)


def update(content: RecordDict, expected: Expected) -> Update:
    """Read and check an answer. Raises ValueError, saying what is wrong, if it is not what this client was asked for.

    A client that took no step sends no weights. Nothing of the content is used before all of it was checked: first which records
    there are, then each array's size, then each number and word.
    """
    client, limits, shapes = expected.client, expected.limits, expected.arrays
    _records(content, set(shapes), {METRICS, PERSONAL} if expected.personal else {METRICS})
    arrays = {name: checks.weights(packed, shapes[name]) for name, packed in content.array_records.items()}
    numbers = content.metric_records[METRICS]
    answer_round = _addressed(numbers, client, expected.round)
    least = 1 if ARRAYS in arrays else 0
    own, rehearsed = (checks.whole(numbers, name, 0, limits.examples) for name in ("own", "rehearsed"))
    if own + rehearsed < least:
        raise ValueError("the answer's numbers make no sense: it learned from 0 examples")
    sums = _sums(numbers, least, limits.rows)
    own_model = _sums(content.metric_records[PERSONAL], sums.examples, sums.examples) if expected.personal else None
    labels = checks.several(numbers, "labels", limits.classes, 0, limits.examples)
    looks = checks.several(numbers, "looks", limits.looks, -1e6, 1e6)
    task = checks.whole(numbers, "task", -1, limits.tasks - 1)
    memory = checks.whole(numbers, "memory", 0, checks.MEMORY)
    payloads = {name.removeprefix(METHOD): payload for name, payload in arrays.items() if name != ARRAYS}
    return Update(
        client, arrays.get(ARRAYS, []), own, sums, [int(n) for n in labels], looks, _word(content, EARLIER), task, memory,
        checks.real(numbers, "battery", *checks.BATTERY), payloads, rehearsed, answer_round,
        checks.real(numbers, "seconds", 0.0, checks.SECONDS), checks.real(numbers, "processor", 0.0, checks.SECONDS),
        bool(checks.whole(numbers, "unprepared", 0, 1)), _word(content, NOTE), own_model,
    )  # fmt: skip


def _addressed(numbers: MetricRecord, client: int, round: int | None) -> int:
    """The round that an answer is to. Raises ValueError if it is another client's, or to another round than this."""
    if (who := checks.whole(numbers, "client", 0, checks.CLIENTS)) != client:
        raise ValueError(f"the answer is client {who}'s")
    answer_round = checks.whole(numbers, "round", 0, checks.ROUNDS)
    if round is not None and answer_round != round:
        raise ValueError(f"the answer is one to round {answer_round}")
    return answer_round


def _sums(numbers: MetricRecord, least: int, most: int) -> Sums:
    """What it saw, over `least` to `most` rows."""
    rows = checks.whole(numbers, "seen", least, most)
    loss = checks.real(numbers, "loss", -1e-3 * rows, checks.LOSS * max(1, rows))
    return Sums(loss, checks.whole(numbers, "correct", 0, rows), rows)


def size(content: RecordDict) -> int:
    """Bytes of all arrays in a message of ours, or in an answer that was checked, and of a training step's file."""
    file = len(bytes(content.config_records[STEP]["file"])) if STEP in content.config_records else 0  # type: ignore[arg-type]
    return file + sum(len(array.data) for record in content.array_records.values() for array in record.values())


def _records(content: RecordDict, arrays: set[str], metrics: set[str]) -> None:
    """Only records that were asked for, and in them only names that were."""
    if (
        set(content.metric_records) != metrics
        or set(content.array_records) - arrays
        or set(content.config_records) - {CONFIG}
    ):
        raise ValueError("the answer's records are not the ones asked for")
    odd = set(content.metric_records[METRICS]) ^ NUMBERS
    if odd := odd or (set(content.metric_records[PERSONAL]) ^ READ if PERSONAL in metrics else set()):
        raise ValueError(f"the answer's numbers are not the ones asked for: {cleaned(', '.join(sorted(odd)[:10]))}")
    if odd := set(content.config_records.get(CONFIG, ())) - {EARLIER, NOTE}:
        raise ValueError(f"the answer's words are not the ones asked for: {cleaned(', '.join(sorted(odd)[:10]))}")


def _word(content: RecordDict, key: str) -> str:
    word = content.config_records.get(CONFIG, ConfigRecord()).get(key, "")
    if not isinstance(word, str) or len(word) > checks.LETTERS:
        raise ValueError(f"the answer's {key} is not a text of at most {checks.LETTERS} letters")
    return cleaned(word)
