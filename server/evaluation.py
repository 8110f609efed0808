"""How good the global model is: on the server's test and validation images, on every task's, and on every client's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from core.config.scenario import Scenario
from core.data import CLASSES, Examples
from core.engines import tensorflow as engine
from core.metrics import split
from core.scores import Sums, score
from core.seeds import rng
from core.stream import TaskTest, course
from core.views.conditions import under
from fl import channel, roster, wire
from fl.checks import Limits
from fl.messages import Update
from server.rounds import Watch

LISTED = 100  # clients asked for their own accuracy at the end of a run
SAMPLE = 1000  # test images for each condition within a stage; at its end all of them
PLAIN = "plain"

Arrays = list[np.ndarray]
Facts = dict[str, Any]


def evaluate(arrays: Arrays, examples: Examples) -> Sums:
    """Loss and right answers over these examples."""
    return score(engine.logits(arrays, examples.x), examples.y)


def confusion(arrays: Arrays, examples: Examples) -> np.ndarray:
    """int [10, 10]: how many of each true class (row) were taken for which (column)."""
    taken = engine.logits(arrays, examples.x).argmax(1)
    return np.bincount(CLASSES * examples.y + taken, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


@dataclass(frozen=True)
class Scores:
    """One model's results."""

    all: Sums
    tasks: list[float]  # accuracy on each task
    classes: list[float | None]  # accuracy on each class, None where there is none


@dataclass(frozen=True)
class TestSuite:
    """The test images of every task: those of one condition are looked at once, whatever tasks ask of them."""

    tests: tuple[TaskTest, ...]
    sets: Mapping[str, Examples]  # by condition

    @classmethod
    def of(cls, scenario: Scenario, test: Examples) -> TestSuite:
        """All test images, under every condition of the scenario's stream."""
        tests = course(scenario).tests
        conditions = dict.fromkeys(one.condition for one in tests)
        sets = {c: Examples(under(c, test.x, scenario.seed, "test"), test.y) for c in conditions}
        return cls(tests, sets)

    def some(self, count: int, seed: int) -> TestSuite:
        """The same with at most `count` images a condition, classes in equal numbers, drawn by address."""
        cut = {}
        for condition, examples in self.sets.items():
            order = rng(seed, "exam", condition).permutation(len(examples))
            rank = np.zeros(len(order), np.int64)
            for label in range(CLASSES):
                mine = order[examples.y[order] == label]
                rank[mine] = np.arange(len(mine))
            cut[condition] = examples.take(np.sort(np.argsort(rank, kind="stable")[:count]))
        return TestSuite(self.tests, cut)

    def scores(self, arrays: Arrays) -> Scores:
        """What this model makes of them."""
        logits = {c: engine.logits(arrays, examples.x) for c, examples in self.sets.items()}
        right = {c: z.argmax(1) == self.sets[c].y for c, z in logits.items()}
        total = sum((score(z, self.sets[c].y) for c, z in logits.items()), Sums())
        tasks = []
        for test in self.tests:
            mine = right[test.condition][np.isin(self.sets[test.condition].y, test.labels)]
            tasks.append(float(mine.mean()) if len(mine) else 0.0)
        labels, correct = np.concatenate([e.y for e in self.sets.values()]), np.concatenate(list(right.values()))
        classes = [correct[labels == c] for c in range(CLASSES)]
        return Scores(total, tasks, [float(one.mean()) if len(one) else None for one in classes])


def forgetting_split(
    probe: TestSuite,
    before: Scores,
    after: Scores,
    updates: Mapping[int, Arrays],
    tasks: Mapping[int, int],
    met: set[int],
) -> Facts:
    """A round's forgetting in two parts (core.metrics.split), on the tasks met so far that a client is not being taught."""
    if not updates:  # nobody trained: what changed is the server's doing (a closed-form head)
        lost = [before.tasks[task] - after.tasks[task] for task in met]
        return {"temporal": 0.0, "spatial": float(np.mean(lost)) if lost else 0.0}
    local = np.array([probe.scores(arrays).tasks for arrays in updates.values()])
    old = np.array([[task in met and task != tasks[c] for task in range(len(probe.tests))] for c in updates])
    temporal, spatial = split(np.array(before.tasks), local, np.array(after.tasks), old)
    return {"temporal": temporal, "spatial": spatial}


def clients(
    grid: Grid,
    scenario: Scenario,
    arrays: Arrays,
    watch: Watch,
    round: int,
    assignment: roster.Assignment | None = None,
    step: bytes = b"",
) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """Ask clients (all, or a hundred drawn by address) what they hold and how good the model is for them after a round."""
    who = list(range(scenario.clients))
    if len(who) > LISTED:
        who = sorted(int(c) for c in rng(scenario.seed, "listed").choice(len(who), LISTED, replace=False))
    assignment = assignment or roster.AnyNode()
    config = wire.config(scenario, 0.0, assignment.run)
    plain = Message(
        RecordDict({wire.ARRAYS: wire.record(arrays), wire.CONFIG: config}),
        dst_node_id=1, message_type=MessageType.EVALUATE,
    )  # fmt: skip
    there = assignment(grid, who)
    asks = {client: wire.addressed(plain, client, there[client], round, step=step) for client in who if client in there}
    replies, failed = channel.ask(grid, asks, scenario.round_timeout, watch, assignment.pause, apart=assignment.apart)
    failed |= {client: "its node is not there" for client in who if client not in there}
    shards = []
    for client, reply in replies.items():
        try:
            one = wire.update(reply.content, client, [], limits=Limits.of(scenario), round=round)
            if one.sums.examples:
                shards.append(_fact(one, scenario))
            else:
                failed[client] = "it holds no image to test on"
        except ValueError as error:
            failed[client] = str(error)
    return shards, failed


def _fact(update: Update, scenario: Scenario) -> dict[str, Any]:
    return {
        "client": update.client,
        "examples": update.examples,
        "labels": list(update.labels),
        "looks": {part.name: amount for part, amount in zip(scenario.looks, update.looks, strict=False)},
        "accuracy": update.sums.accuracy,
        "tested": update.sums.examples,
    }
