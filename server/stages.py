"""What a run of several stages comes to: the version that each stage ends with, and the measures of continual learning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from core.config.scenario import Scenario
from core.metrics import first_taught, summary
from core.stream import course, ends
from server.evaluation import Scores, TestSuite
from server.versions import objections

Facts = dict[str, Any]


def staged(scenario: Scenario) -> bool:
    """Is there anything that could be forgotten: more than one stage, or a run before this one?"""
    return len(course(scenario).tasks) + bool(scenario.past) > 1


def closing(scenario: Scenario, history: list[Facts]) -> list[Facts]:
    """The last round of each stage so far; of the last stage, its newest."""
    rounds = ends(scenario)
    last = [facts for facts in history if facts["round"] in rounds]
    return last if not history or history[-1] in last[-1:] else [*last, history[-1]]


def version(scenario: Scenario, history: list[Facts], before: Scores | None) -> Facts:
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
        "tasks": {test.name: share for test, share in zip(course(scenario).tests, row, strict=True)},
        "objections": objections(scenario.gate, row, best),
    }


def _known(scenario: Scenario, task: int) -> bool:
    """Did the run that this one goes on from know this task? If new digits were named, all others; else all."""
    return bool(scenario.past) and (not scenario.digits or task not in course(scenario).tasks)


def continual(
    scenario: Scenario, history: list[Facts], suite: TestSuite, before: Scores | None, served: Mapping[str, float]
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
    section: Facts = {
        "tasks": [test.name for test in suite.tests],
        "stages": tasks[: len(rows)],
        "ends": [facts["round"] for facts in rows],
        "matrix": matrix.tolist(),
        "classes": [facts["classes_accuracy"] for facts in rows],
        "clients": [*(facts.get("clients_accuracy", {}) for facts in rows[:-1]), dict(served)],
        "before": before.tasks,
        "measures": summary(whole, learned, np.array(before.tasks)),
        "memory_bytes": max((most for facts in history for most in facts["memory"].values()), default=0),
        "megabytes": {way: sum(facts["bytes"][way] for facts in history) / 1e6 for way in ("sent", "received")},
    }
    if scenario.probe:
        section["forgetting_split"] = {
            kind: sum(facts["forgetting_split"][kind] for facts in history) for kind in ("temporal", "spatial")
        }
    return section
