"""What a run of several stages comes to: the version that each stage ends with, and the measures of continual learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from statistics import fmean

import numpy as np

from core.config.scenario import Scenario
from core.metrics import OwnWay, first_taught, over_clients, summary
from core.stream import course, ends, pace
from server.evaluation import Scores, known_before
from server.record import ClientsMeasures, Continual, Costs, ForgettingSplit, RoundRecord, Version
from server.versions import objections


def staged(scenario: Scenario) -> bool:
    """Is there anything that could be forgotten: more than one stage, or a run before this one?"""
    return len(course(scenario).tasks) + bool(scenario.past) > 1


def closing(scenario: Scenario, history: Sequence[RoundRecord]) -> list[RoundRecord]:
    """The last round of each stage so far; of the last stage, its newest."""
    rounds = ends(scenario)
    last = [row for row in history if row.round in rounds]
    return last if not history or history[-1] in last[-1:] else [*last, history[-1]]


def version(
    scenario: Scenario,
    history: Sequence[RoundRecord],
    judged: Sequence[float | None],
    before: Sequence[float | None] = (),
) -> Version:
    """The version at the end of the newest stage, and why it may not become current, if so.

    judged: the model's accuracy on each task's validation images, None where there is none; before: the same of the model before
    the first round. The gate reads these, so that test images choose nothing; of a task that has none it knows nothing.
    """
    rows = closing(scenario, history)
    tasks, tests = course(scenario).tasks, course(scenario).tests
    best: list[float | None] = []
    for task, share in enumerate(judged):
        past = [before[task]] if before and known_before(scenario, task) else []
        past += [one.tasks_validation[task] for i, one in enumerate(rows[:-1]) if task in tasks[: i + 1]]
        accuracies = [one for one in past if one is not None]
        taught = task in tasks[: len(rows)] and share is not None
        best.append(max(accuracies) if accuracies else None if taught else float("nan"))
    return Version(
        version=scenario.past + len(rows),
        round=rows[-1].round,
        accuracy=rows[-1].accuracy,
        tasks={test.name: share for test, share in zip(tests, rows[-1].tasks_accuracy, strict=True)},
        validation={test.name: share for test, share in zip(tests, judged, strict=True) if share is not None},
        unjudged=tuple(test.name for test, share in zip(tests, judged, strict=True) if share is None),
        objections=tuple(objections(scenario.gate, [share or 0.0 for share in judged], best)),
    )


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
        whole, learned = _continued(scenario, before, matrix, learned)
    costs = Costs.of(scenario, history)
    return Continual(
        tasks=tuple(test.name for test in course(scenario).tests),
        stages=tasks[: len(rows)],
        ends=tuple(row.round for row in rows),
        matrix=tuple(row.tasks_accuracy for row in rows),
        measures=summary(whole, learned, np.array(before.tasks), began=int(bool(scenario.past))),
        clients_measures=_own_ways(scenario, history, before),
        classes=tuple(row.classes_accuracy for row in rows),
        clients=(*(row.clients_accuracy for row in rows[:-1]), dict(clients)),
        before=before.tasks,
        memory_bytes=costs.memory_bytes,
        memory_total_bytes=costs.memory_total_bytes,
        megabytes=costs.megabytes,
        forgetting_split=_mean(history) if scenario.probe else None,
    )


def _continued(
    scenario: Scenario, before: Scores, matrix: np.ndarray, learned: Sequence[int]
) -> tuple[np.ndarray, list[int]]:
    """The matrix with the model that a run went on from as its first stage, and where each task was first taught then."""
    first = [
        0 if known_before(scenario, task) else stage + 1 if stage >= 0 else -1 for task, stage in enumerate(learned)
    ]
    return np.concatenate([[before.tasks], matrix]), first


def _own_ways(scenario: Scenario, history: Sequence[RoundRecord], before: Scores) -> ClientsMeasures | None:
    """The measures of each client in its own order, over clients; None, if nobody met a task.

    Within a common stage a stream with conditions is tested on fewer images (evaluation.SAMPLE), which is where stages of a
    client that is late, or went at its own pace, end.
    """
    clients = sorted({client for row in history for client in row.tasks if client not in row.without})
    ways = [own_way(scenario, history, client) for client in clients]
    if not ways:
        return None
    if scenario.past:
        ways = [OwnWay(*_continued(scenario, before, way.matrix, way.learned)) for way in ways]
    return ClientsMeasures(*over_clients(ways, np.array(before.tasks), int(bool(scenario.past))), len(ways))


def own_way(scenario: Scenario, history: Sequence[RoundRecord], client: int) -> OwnWay:
    """What the global model was to a client. Its stages end when the next begins at its own pace, while it is there; a task is
    met in the first of them in which its reply counted and it had an example of the task."""
    order, starts = pace(scenario, client)
    rows, shared = {row.round: row for row in history}, course(scenario)
    first, gone = dict(scenario.join).get(client, 1), dict(scenario.leave).get(client, scenario.rounds + 1)
    last = min(gone - 1, max(rows))
    matrix, learned = list[Sequence[float]](), [-1] * len(shared.tests)
    for stage, start, after in zip(order, starts, (*starts[1:], scenario.rounds + 1), strict=True):
        begun, end = max(first, start), min(after - 1, last)
        if begun > end:
            continue
        task = shared.tasks[stage]
        taught = [rows[number] for number in range(begun, end + 1) if client in rows[number].tasks]
        if learned[task] < 0 and any(client not in row.without for row in taught):
            learned[task] = len(matrix)
        matrix.append(rows[end].tasks_accuracy)
    return OwnWay(np.array(matrix), learned)


def _mean(history: Sequence[RoundRecord]) -> ForgettingSplit:
    """Over the rounds in which there was something to lose."""
    splits = [row.forgetting_split for row in history if row.forgetting_split]

    def mean(name: str) -> float | None:
        values = [value for one in splits if (value := getattr(one, name)) is not None]
        return fmean(values) if values else None

    return ForgettingSplit(*(mean(one.name) for one in fields(ForgettingSplit)))
