"""How good the global model is: on the server's test and validation images, on every task's, and on every client's own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
from flwr.app import MessageType, RecordDict

from core.arrays import Arrays
from core.config.scenario import Scenario
from core.data import Data, Examples
from core.engines import Judge
from core.metrics import split
from core.scores import Sums, score
from core.seeds import rng
from core.stream import TaskTest, course, ends, was_taught
from core.views.conditions import under
from fl import wire
from fl.checks import Limits
from fl.messages import Update
from server.record import ForgettingSplit, RoundRecord, Shard
from server.rounds import Federation, Round

LISTED = 100  # clients asked for their own accuracy at the end of a run
SAMPLE = 1000  # test images for each condition within a stage; at its end all of them
PLAIN = "plain"


def evaluate(judge: Judge, arrays: Arrays, examples: Examples) -> Sums:
    """Loss and right answers over these examples."""
    return score(judge.logits(arrays, examples.x), examples.y)


def confusion(judge: Judge, arrays: Arrays, examples: Examples) -> np.ndarray:
    """int [classes, classes]: how many of each true class (row) were predicted as which (column)."""
    predicted = judge.logits(arrays, examples.x).argmax(1)
    classes = judge.model.classes
    return np.bincount(classes * examples.y + predicted, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True)
class Scores:
    """One model's results."""

    all: Sums
    tasks: tuple[float, ...]  # accuracy on each task
    classes: tuple[float | None, ...]  # accuracy on each class, None where there is none


@dataclass(frozen=True)
class TestSuite:
    """The test images of every task. Those of one condition go through the model once, however many tasks are tested on them."""

    judge: Judge
    tests: tuple[TaskTest, ...]
    sets: Mapping[str, Examples]  # by condition

    @classmethod
    def of(cls, scenario: Scenario, images: Examples, judge: Judge, name: str = "test") -> TestSuite:
        """All of these images, under every condition of the scenario's stream. name: what the images are; it is
        part of the address by which conditions draw random numbers."""
        tests = course(scenario).tests
        conditions = dict.fromkeys(one.condition for one in tests)
        sets = {c: Examples(under(c, images.x, scenario.seed, name), images.y) for c in conditions}
        return cls(judge, tests, sets)

    def some(self, count: int, seed: int) -> TestSuite:
        """The same with at most `count` images a condition, classes in equal numbers, drawn by address."""
        cut = {
            c: few(examples, count, rng(seed, "exam", c).permutation(len(examples)))
            for c, examples in self.sets.items()
        }
        return TestSuite(self.judge, self.tests, cut)

    def task(self, number: int) -> Examples:
        """The images of one task."""
        test = self.tests[number]
        examples = self.sets[test.condition]
        return examples.take(np.flatnonzero(np.isin(examples.y, test.labels)))

    def scores(self, arrays: Arrays) -> Scores:
        """What this model makes of them."""
        logits = {c: self.judge.logits(arrays, examples.x) for c, examples in self.sets.items()}
        right = {c: z.argmax(1) == self.sets[c].y for c, z in logits.items()}
        total = sum((score(z, self.sets[c].y) for c, z in logits.items()), Sums())
        tasks = []
        for test in self.tests:
            right_of_task = right[test.condition][np.isin(self.sets[test.condition].y, test.labels)]
            tasks.append(float(right_of_task.mean()) if len(right_of_task) else 0.0)
        labels, correct = np.concatenate([e.y for e in self.sets.values()]), np.concatenate(list(right.values()))
        classes = [correct[labels == c] for c in range(self.judge.model.classes)]
        return Scores(total, tuple(tasks), tuple(float(one.mean()) if len(one) else None for one in classes))


def few(examples: Examples, count: int, order: np.ndarray) -> Examples:
    """At most `count` of them, the first in this order, classes in equal numbers as far as there are enough."""
    return examples.take(np.sort(examples.in_turns(order)[:count]))


def known_before(scenario: Scenario, task: int) -> bool:
    """Did the run that this one goes on from teach all of this task?"""
    return was_taught(scenario, course(scenario).tests[task])


class Probe:
    """Splits a round's forgetting in two, on `scenario.probe` test images of every task, classes in equal numbers, the same in
    every round. It keeps what it found of the newest global model, so that each is tested once."""

    def __init__(self, scenario: Scenario, suite: TestSuite, arrays: Arrays) -> None:
        self.judge, tasks = suite.judge, range(len(suite.tests))
        wholes = [suite.task(task) for task in tasks]
        sets = [
            few(one, scenario.probe, rng(scenario.seed, "probe", task).permutation(len(one)))
            for task, one in zip(tasks, wholes, strict=True)
        ]
        self.images, self.ends = Examples.join(sets), np.cumsum([len(one) for one in sets])[:-1]
        self.known = {task for task in tasks if known_before(scenario, task)}
        self.newest = self._right(arrays)

    def _right(self, arrays: Arrays) -> list[np.ndarray]:
        right = self.judge.logits(arrays, self.images.x).argmax(1) == self.images.y
        return np.split(right, self.ends)

    def split(self, outcome: Round, history: Sequence[RoundRecord]) -> ForgettingSplit:
        """This round's (core.metrics.split). Where nobody took a step, clients' models are the one that they were sent, and
        what changed is the server's doing (a closed-form head)."""
        row, before = outcome.record, self.newest
        self.newest = self._right(outcome.arrays)
        clients = list(outcome.updates) or [client for client in row.clients if client not in row.without]
        local = [self._right(outcome.updates[c]) if c in outcome.updates else before for c in clients]
        earlier = [self.known | met(history, client) for client in clients]
        now = [-1 if client in row.without else row.tasks[client] for client in clients]
        found = split(before, local, self.newest, earlier, now)
        return ForgettingSplit(*astuple(found))


def met(history: Sequence[RoundRecord], client: int) -> set[int]:
    """The tasks that a client was taught in these rounds: that it had an example of."""
    return {row.tasks[client] for row in history if client in row.tasks and client not in row.without}


class Tests:
    """All that a run tests its global model on."""

    def __init__(self, scenario: Scenario, data: Data, arrays: Arrays, judge: Judge) -> None:
        """arrays: the weights that the run begins, or goes on, with; judge: who tries models."""
        self.suite = TestSuite.of(scenario, data.test, judge)  # at the end of a stage
        self.quick = self.suite.some(SAMPLE, scenario.seed) if set(self.suite.sets) != {PLAIN} else self.suite
        self.probe = Probe(scenario, self.suite, arrays) if scenario.probe else None
        self.validation, self.ends = data.validation, ends(scenario)
        for_gate = Examples.join([data.validation, data.earlier])
        self.gate = TestSuite.of(scenario, for_gate, judge, "validation") if len(for_gate) else None

    def judged(self, arrays: Arrays) -> tuple[float | None, ...]:
        """What the gate reads: accuracy on each task's validation images; None where there is none."""
        if self.gate is None:
            return (None,) * len(self.suite.tests)
        accuracies = self.gate.scores(arrays).tasks
        return tuple(share if len(self.gate.task(task)) else None for task, share in enumerate(accuracies))

    def scored(self, arrays: Arrays, whole: bool = True) -> dict[str, Any]:
        """A record's fields that say how a model reads the test images; whole: all of them, else a sample of each condition's."""
        scores = (self.suite if whole else self.quick).scores(arrays)
        return {
            "accuracy": scores.all.accuracy, "loss": scores.all.mean_loss, "tasks_accuracy": scores.tasks,
            "classes_accuracy": scores.classes,
        }  # fmt: skip

    def tested(self, outcome: Round, history: Sequence[RoundRecord]) -> RoundRecord:
        """A round's record with what its model reads. history: the rounds before it."""
        start, record = time.perf_counter(), outcome.record
        scores = self.scored(outcome.arrays, whole=record.round in self.ends)
        validation = evaluate(self.suite.judge, outcome.arrays, self.validation) if len(self.validation) else None
        seen = history[-1].seen if history else 0
        record = replace(
            record,
            **scores,
            seen=seen + record.examples,
            tasks_validation=self.judged(outcome.arrays) if record.round in self.ends else (),
            validation_loss=validation.mean_loss if validation else None,
            validation_accuracy=validation.accuracy if validation else None,
            forgetting_split=self.probe.split(outcome, history) if self.probe else None,
        )
        return replace(record, seconds=replace(record.seconds, evaluate=time.perf_counter() - start))


def clients(federation: Federation, arrays: Arrays, round: int) -> tuple[list[Shard], dict[int, str]]:
    """Ask clients (all, or a hundred drawn by address) what they hold and how good the global model, and their own if they have
    one, is for them after a round; and which of them gave no usable reply, and why."""
    scenario = federation.scenario
    listed = list(range(scenario.clients))
    if len(listed) > LISTED:
        listed = sorted(int(c) for c in rng(scenario.seed, "listed").choice(len(listed), LISTED, replace=False))
    weights = wire.record(arrays)
    contents = {c: wire.request(federation.task(round, c, 0.0, arrays), weights) for c in listed}
    limits = Limits.of(scenario)

    def read(client: int, content: RecordDict) -> Shard:
        expected = wire.Expected(client, [], limits=limits, round=round, personal=federation.method.personal)
        return _shard(wire.update(content, expected), scenario)

    replies = federation.channel.ask(MessageType.EVALUATE, contents, read)
    return list(replies.results.values()), dict(replies.failed)


def _shard(update: Update, scenario: Scenario) -> Shard:
    has_tests = update.sums.examples > 0
    return Shard(
        client=update.client,
        examples=update.examples,
        labels=tuple(update.labels),
        looks={part.name: amount for part, amount in zip(scenario.looks, update.looks, strict=False)},
        accuracy=update.sums.accuracy if has_tests else None,
        tested=update.sums.examples,
        personal_accuracy=update.personal.accuracy if update.personal and has_tests else None,
    )
