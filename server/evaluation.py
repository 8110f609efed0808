"""How good the global model is: on the server's test and validation images, on every task's, and on every client's own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from flwr.app import MessageType, RecordDict

from core.arrays import Arrays
from core.config.scenario import Scenario
from core.data import Data, Examples
from core.engines import Judge
from core.metrics import split
from core.scores import Sums, score
from core.seeds import rng
from core.stream import TaskTest, course, ends
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
    """int [classes, classes]: how many of each true class (row) were taken for which (column)."""
    taken = judge.logits(arrays, examples.x).argmax(1)
    count = judge.model.classes
    return np.bincount(count * examples.y + taken, minlength=count**2).reshape(count, count)


@dataclass(frozen=True)
class Scores:
    """One model's results."""

    all: Sums
    tasks: tuple[float, ...]  # accuracy on each task
    classes: tuple[float | None, ...]  # accuracy on each class, None where there is none


@dataclass(frozen=True)
class TestSuite:
    """The test images of every task: those of one condition are looked at once, whatever tasks ask of them."""

    judge: Judge
    tests: tuple[TaskTest, ...]
    sets: Mapping[str, Examples]  # by condition

    @classmethod
    def of(cls, scenario: Scenario, test: Examples, judge: Judge) -> TestSuite:
        """All test images, under every condition of the scenario's stream."""
        tests = course(scenario).tests
        conditions = dict.fromkeys(one.condition for one in tests)
        sets = {c: Examples(under(c, test.x, scenario.seed, "test"), test.y) for c in conditions}
        return cls(judge, tests, sets)

    def some(self, count: int, seed: int) -> TestSuite:
        """The same with at most `count` images a condition, classes in equal numbers, drawn by address."""
        cut = {}
        for condition, examples in self.sets.items():
            order = rng(seed, "exam", condition).permutation(len(examples))
            rank = np.zeros(len(order), np.int64)
            for label in range(self.judge.model.classes):
                mine = order[examples.y[order] == label]
                rank[mine] = np.arange(len(mine))
            cut[condition] = examples.take(np.sort(np.argsort(rank, kind="stable")[:count]))
        return TestSuite(self.judge, self.tests, cut)

    def scores(self, arrays: Arrays) -> Scores:
        """What this model makes of them."""
        logits = {c: self.judge.logits(arrays, examples.x) for c, examples in self.sets.items()}
        right = {c: z.argmax(1) == self.sets[c].y for c, z in logits.items()}
        total = sum((score(z, self.sets[c].y) for c, z in logits.items()), Sums())
        tasks = []
        for test in self.tests:
            mine = right[test.condition][np.isin(self.sets[test.condition].y, test.labels)]
            tasks.append(float(mine.mean()) if len(mine) else 0.0)
        labels, correct = np.concatenate([e.y for e in self.sets.values()]), np.concatenate(list(right.values()))
        classes = [correct[labels == c] for c in range(self.judge.model.classes)]
        return Scores(total, tuple(tasks), tuple(float(one.mean()) if len(one) else None for one in classes))


class Probe:
    """Splits a round's forgetting in two. It remembers what it found of the newest global model, which is tested once."""

    def __init__(self, suite: TestSuite, arrays: Arrays) -> None:
        self.suite, self.newest = suite, suite.scores(arrays)

    def split(self, done: Round, history: Sequence[RoundRecord]) -> ForgettingSplit:
        """This round's (core.metrics.split), on the tasks met so far that a client is not being taught."""
        there, rows = range(len(self.suite.tests)), (*history, done.record)
        met = {task for row in rows for task in row.tasks.values() if task in there}
        before, self.newest = self.newest, self.suite.scores(done.arrays)
        if not done.updates:  # nobody trained: what changed is the server's doing (a closed-form head)
            lost = [before.tasks[task] - self.newest.tasks[task] for task in met]
            return ForgettingSplit(0.0, float(np.mean(lost)) if lost else 0.0)
        local = np.array([self.suite.scores(arrays).tasks for arrays in done.updates.values()])
        tasks = done.record.tasks
        old = np.array([[task in met and task != tasks[client] for task in there] for client in done.updates])
        return ForgettingSplit(*split(np.array(before.tasks), local, np.array(self.newest.tasks), old))


class Tests:
    """All that a run tests its global model on."""

    def __init__(self, scenario: Scenario, data: Data, arrays: Arrays, judge: Judge) -> None:
        """arrays: the weights that the run begins, or goes on, with; judge: who tries models."""
        self.suite = TestSuite.of(scenario, data.test, judge)  # at the end of a stage
        self.quick = self.suite.some(SAMPLE, scenario.seed) if set(self.suite.sets) != {PLAIN} else self.suite
        self.probe = Probe(self.suite.some(scenario.probe, scenario.seed), arrays) if scenario.probe else None
        self.validation, self.ends = data.validation, ends(scenario)

    def tested(self, done: Round, history: Sequence[RoundRecord]) -> RoundRecord:
        """A round's record with what its model reads. history: the rounds before it."""
        start, record = time.perf_counter(), done.record
        scores = (self.suite if record.round in self.ends else self.quick).scores(done.arrays)
        validation = evaluate(self.suite.judge, done.arrays, self.validation) if len(self.validation) else None
        seen = history[-1].seen if history else 0
        record = replace(
            record,
            seen=seen + record.examples,
            accuracy=scores.all.accuracy,
            loss=scores.all.mean_loss,
            tasks_accuracy=scores.tasks,
            classes_accuracy=scores.classes,
            validation_loss=validation.mean_loss if validation else None,
            validation_accuracy=validation.accuracy if validation else None,
            forgetting_split=self.probe.split(done, history) if self.probe else None,
        )
        return replace(record, seconds=replace(record.seconds, evaluate=time.perf_counter() - start))


def clients(federation: Federation, arrays: Arrays, round: int) -> tuple[list[Shard], dict[int, str]]:
    """Ask clients (all, or a hundred drawn by address) what they hold and how good the global model, and their own if they have
    one, is for them after a round; who did not say, and why."""
    scenario = federation.scenario
    who = list(range(scenario.clients))
    if len(who) > LISTED:
        who = sorted(int(c) for c in rng(scenario.seed, "listed").choice(len(who), LISTED, replace=False))
    weights = wire.record(arrays)
    contents = {c: wire.request(federation.task(round, c, 0.0, arrays), weights) for c in who}
    limits = Limits.of(scenario)

    def read(client: int, content: RecordDict) -> Shard:
        personal = federation.method.personal
        return _shard(wire.update(content, client, [], limits=limits, round=round, personal=personal), scenario)

    replies = federation.channel.ask(MessageType.EVALUATE, contents, read)
    return list(replies.said.values()), dict(replies.failed)


def _shard(update: Update, scenario: Scenario) -> Shard:
    if not update.sums.examples:
        raise ValueError("it holds no image to test on")
    return Shard(
        client=update.client,
        examples=update.examples,
        labels=tuple(update.labels),
        looks={part.name: amount for part, amount in zip(scenario.looks, update.looks, strict=False)},
        accuracy=update.sums.accuracy,
        tested=update.sums.examples,
        personal_accuracy=update.personal.accuracy if update.personal else None,
    )
