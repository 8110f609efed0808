"""How good the global model is on every task, whether it has been taught yet or not: a row of the accuracy matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.conditions import under
from core.data import CLASSES, Examples
from core.engines import Sums, judge
from core.engines import tensorflow as engine
from core.metrics import first_taught, split, summary
from core.scenario import Scenario
from core.seeds import rng
from core.stream import Exam, course, ends
from server.versions import objections

SAMPLE = 1000  # test images for each condition within a stage; at its end all of them
PLAIN = "plain"

Arrays = list[np.ndarray]
Facts = dict[str, Any]


@dataclass(frozen=True)
class Marks:
    """One model's results."""

    all: Sums
    tasks: list[float]  # accuracy on each task
    classes: list[float | None]  # accuracy on each class, None where there is none


@dataclass(frozen=True)
class Exams:
    """The test images of every task: those of one condition are looked at once, whatever tasks ask of them."""

    exams: tuple[Exam, ...]
    sets: Mapping[str, Examples]  # by condition

    @classmethod
    def of(cls, scenario: Scenario, test: Examples) -> Exams:
        """All test images, under every condition of the scenario's stream."""
        exams = course(scenario).exams
        conditions = dict.fromkeys(exam.condition for exam in exams)
        sets = {c: Examples(under(c, test.x, scenario.seed, "test"), test.y) for c in conditions}
        return cls(exams, sets)

    def some(self, count: int, seed: int) -> Exams:
        """The same with at most `count` images a condition, classes in equal numbers, drawn by address."""
        cut = {}
        for condition, examples in self.sets.items():
            order = rng(seed, "exam", condition).permutation(len(examples))
            place = np.zeros(len(order), np.int64)
            for label in range(CLASSES):
                mine = order[examples.y[order] == label]
                place[mine] = np.arange(len(mine))
            cut[condition] = examples.take(np.sort(np.argsort(place, kind="stable")[:count]))
        return Exams(self.exams, cut)

    def marks(self, arrays: Arrays) -> Marks:
        """What this model makes of them."""
        answers = {c: engine.answers(arrays, examples.x) for c, examples in self.sets.items()}
        right = {c: z.argmax(1) == self.sets[c].y for c, z in answers.items()}
        total = sum((judge(z, self.sets[c].y) for c, z in answers.items()), Sums())
        tasks = []
        for exam in self.exams:
            mine = right[exam.condition][np.isin(self.sets[exam.condition].y, exam.labels)]
            tasks.append(float(mine.mean()) if len(mine) else 0.0)
        labels, correct = np.concatenate([e.y for e in self.sets.values()]), np.concatenate(list(right.values()))
        classes = [correct[labels == c] for c in range(CLASSES)]
        return Marks(total, tasks, [float(one.mean()) if len(one) else None for one in classes])


def staged(scenario: Scenario) -> bool:
    """Is there anything that could be forgotten: more than one stage, or a run before this one?"""
    return len(course(scenario).tasks) + bool(scenario.past) > 1


def closing(scenario: Scenario, history: list[Facts]) -> list[Facts]:
    """The last round of each stage so far; of the last stage, its newest."""
    rounds = ends(scenario)
    last = [facts for facts in history if facts["round"] in rounds]
    return last if not history or history[-1] in last[-1:] else [*last, history[-1]]


def halves(
    probe: Exams, before: Marks, after: Marks, updates: Mapping[int, Arrays], tasks: Mapping[int, int], met: set[int]
) -> Facts:
    """A round's forgetting in two parts (core.metrics.split), on the tasks met so far that a client is not being taught."""
    if not updates:  # nobody trained: what changed is the server's doing (a closed-form head)
        lost = [before.tasks[task] - after.tasks[task] for task in met]
        return {"temporal": 0.0, "spatial": float(np.mean(lost)) if lost else 0.0}
    local = np.array([probe.marks(arrays).tasks for arrays in updates.values()])
    old = np.array([[task in met and task != tasks[c] for task in range(len(probe.exams))] for c in updates])
    temporal, spatial = split(np.array(before.tasks), local, np.array(after.tasks), old)
    return {"temporal": temporal, "spatial": spatial}


def version(scenario: Scenario, history: list[Facts], before: Marks | None) -> Facts:
    """What is told of the version at the end of this stage, and why it may not become current, if so."""
    rows = closing(scenario, history)
    tasks, row = course(scenario).tasks, rows[-1]["tasks_accuracy"]
    best: list[float | None] = []
    for task in range(len(row)):
        past = [before.tasks[task]] if before and _known(scenario, task) else []
        past += [one["tasks_accuracy"][task] for i, one in enumerate(rows[:-1]) if task in tasks[: i + 1]]
        taught = task in tasks[: len(rows)]
        best.append(max(past) if past else None if taught else float("nan"))
    return {
        "version": scenario.past + len(rows),
        "round": rows[-1]["round"],
        "accuracy": rows[-1]["accuracy"],
        "tasks": {exam.name: share for exam, share in zip(course(scenario).exams, row, strict=True)},
        "objections": objections(scenario.gate, row, best),
    }


def _known(scenario: Scenario, task: int) -> bool:
    """Did the run that this one goes on from know this task? If new digits were named, all others; else all."""
    return bool(scenario.past) and (not scenario.digits or task not in course(scenario).tasks)


def continual(
    scenario: Scenario, history: list[Facts], exams: Exams, before: Marks | None, served: Mapping[str, float]
) -> Facts:
    """The report's section on learning in stages; empty if there is only one and nothing was learned before.

    served: each client's own accuracy at the end.
    """
    tasks = list(course(scenario).tasks)
    rows = closing(scenario, history)
    if not before or not rows or len(rows) + bool(scenario.past) < 2:
        return {}
    matrix = np.array([facts["tasks_accuracy"] for facts in rows])
    learned = first_taught(tasks[: len(rows)], matrix.shape[1])
    whole = matrix
    if scenario.past:  # the model that it started from is a stage too: what it knew can be forgotten
        whole = np.concatenate([[before.tasks], matrix])
        learned = [0 if _known(scenario, task) else first + 1 for task, first in enumerate(learned)]
    told: Facts = {
        "exams": [exam.name for exam in exams.exams],
        "stages": tasks[: len(rows)],
        "ends": [facts["round"] for facts in rows],
        "matrix": matrix.tolist(),
        "classes": [facts["classes_accuracy"] for facts in rows],
        "clients": [*(facts.get("clients_accuracy", {}) for facts in rows[:-1]), dict(served)],
        "before": before.tasks,
        "measures": summary(whole, learned, np.array(before.tasks)),
        "memory_bytes": max((held for facts in history for held in facts["memory"].values()), default=0),
        "megabytes": {way: sum(facts["bytes"][way] for facts in history) / 1e6 for way in ("sent", "received")},
    }
    if scenario.probe:
        told["halves"] = {kind: sum(facts["halves"][kind] for facts in history) for kind in ("temporal", "spatial")}
    return told
