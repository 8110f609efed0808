"""What a run of several stages comes to: the version that each stage ends with, and the measures of continual learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.config.scenario import Scenario
from core.metrics import first_taught, summary
from core.stream import course, ends
from server.evaluation import Scores
from server.record import Continual, ForgettingSplit, Megabytes, RoundRecord, Version
from server.versions import objections


def staged(scenario: Scenario) -> bool:
    """Is there anything that could be forgotten: more than one stage, or a run before this one?"""
    return len(course(scenario).tasks) + bool(scenario.past) > 1


def closing(scenario: Scenario, history: Sequence[RoundRecord]) -> list[RoundRecord]:
    """The last round of each stage so far; of the last stage, its newest."""
    rounds = ends(scenario)
    last = [row for row in history if row.round in rounds]
    return last if not history or history[-1] in last[-1:] else [*last, history[-1]]


def version(scenario: Scenario, history: Sequence[RoundRecord], before: Scores | None) -> Version:
    """The version at the end of the newest stage, and why it may not become current, if so."""
    rows = closing(scenario, history)
    tasks, row = course(scenario).tasks, rows[-1].tasks_accuracy
    best: list[float | None] = []
    for task in range(len(row)):
        past = [before.tasks[task]] if before and _known(scenario, task) else []
        past += [one.tasks_accuracy[task] for i, one in enumerate(rows[:-1]) if task in tasks[: i + 1]]
        taught = task in tasks[: len(rows)]
        best.append(max(past) if past else None if taught else float("nan"))
    return Version(
        version=scenario.past + len(rows),
        round=rows[-1].round,
        accuracy=rows[-1].accuracy,
        tasks={test.name: share for test, share in zip(course(scenario).tests, row, strict=True)},
        objections=tuple(objections(scenario.gate, row, best)),
    )


def _known(scenario: Scenario, task: int) -> bool:
    """Did the run that this one goes on from know this task? If new digits were named, all others; else all."""
    return bool(scenario.past) and (not scenario.digits or task not in course(scenario).tasks)


def continual(
    scenario: Scenario, history: Sequence[RoundRecord], before: Scores | None, clients: Mapping[int, float]
) -> Continual | None:
    """The report's section on learning in stages; None if there is only one and nothing was learned before.

    before: the model before the first round; clients: its accuracy on each client's own test images at the end.
    """
    tasks = course(scenario).tasks
    rows = closing(scenario, history)
    if not before or not rows or len(rows) + bool(scenario.past) < 2:
        return None
    matrix = np.array([row.tasks_accuracy for row in rows])
    learned = first_taught(tasks[: len(rows)], matrix.shape[1])
    whole = matrix
    if scenario.past:  # the model that it started from is a stage too: what it knew can be forgotten
        whole = np.concatenate([[before.tasks], matrix])
        learned = [0 if _known(scenario, task) else first + 1 for task, first in enumerate(learned)]
    return Continual(
        tasks=tuple(test.name for test in course(scenario).tests),
        stages=tasks[: len(rows)],
        ends=tuple(row.round for row in rows),
        matrix=tuple(row.tasks_accuracy for row in rows),
        measures=summary(whole, learned, np.array(before.tasks)),
        classes=tuple(row.classes_accuracy for row in rows),
        clients=(*(row.clients_accuracy for row in rows[:-1]), dict(clients)),
        before=before.tasks,
        memory_bytes=max((most for row in history for most in row.memory.values()), default=0),
        megabytes=Megabytes(sum(r.bytes.sent for r in history) / 1e6, sum(r.bytes.received for r in history) / 1e6),
        forgetting_split=_summed(history) if scenario.probe else None,
    )


def _summed(history: Sequence[RoundRecord]) -> ForgettingSplit:
    """Over all rounds."""
    splits = [row.forgetting_split for row in history if row.forgetting_split]
    return ForgettingSplit(sum(one.temporal for one in splits), sum(one.spatial for one in splits))
