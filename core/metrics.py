"""What a continual learner is judged by, from the accuracy matrix R[stage, task]: the model's accuracy on every task after
every stage (Lopez-Paz and Ranzato 2017, arXiv:1706.08840; Chaudhry et al. 2018, arXiv:1801.10112; Díaz-Rodríguez et al.
2018, arXiv:1810.13166).

matrix: f64 [stages, tasks], shares 0 … 1. learned: for each task the stage after which it had first been taught; a task
that is never taught has -1. `before`: f64 [tasks], the accuracy before the first stage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np


def first_taught(tasks: Sequence[int], count: int) -> list[int]:
    """For each of `count` tasks the first stage that brings it, or -1. tasks: the task of each stage."""
    return [list(tasks).index(task) if task in tasks else -1 for task in range(count)]


def average_accuracy(matrix: np.ndarray) -> float:
    """Mean over tasks after the last stage."""
    return float(matrix[-1].mean())


def incremental_accuracy(matrix: np.ndarray, learned: Sequence[int]) -> float:
    """Average incremental accuracy: after each stage the mean over the tasks met so far; then the mean over stages."""
    rows = [row[[0 <= first <= stage for first in learned]] for stage, row in enumerate(matrix)]
    return float(np.mean([row.mean() for row in rows if len(row)]))


def forgetting(matrix: np.ndarray, learned: Sequence[int]) -> list[float]:
    """For each task met before the last stage: its best accuracy until then, less what is left of it.

    Below 0 where later stages made it better still.
    """
    last = len(matrix) - 1
    met = [task for task, first in enumerate(learned) if 0 <= first < last]
    return [float(matrix[learned[task] : last, task].max() - matrix[last, task]) for task in met]


def backward_transfer(matrix: np.ndarray, learned: Sequence[int]) -> float:
    """Mean over earlier tasks of the last accuracy less that right after the task was taught. Below 0: forgetting."""
    last = len(matrix) - 1
    gains = [matrix[last, task] - matrix[first, task] for task, first in enumerate(learned) if 0 <= first < last]
    return float(np.mean(gains)) if gains else 0.0


def forward_transfer(matrix: np.ndarray, learned: Sequence[int], before: np.ndarray, began: int = 0) -> float:
    """Mean over later tasks of the accuracy just before the task was taught, less that before the first stage.

    began: the stage after `before`; what it taught had no stage to gain from. 1 if the model that was there is a stage itself.
    """
    gains = [matrix[first - 1, task] - before[task] for task, first in enumerate(learned) if first > began]
    return float(np.mean(gains)) if gains else 0.0


def intransigence(matrix: np.ndarray, learned: Sequence[int], joint: np.ndarray) -> float:
    """Mean over tasks of what `joint` (its matrix, of the same shape) has right after the task, less what this has."""
    met = [(first, task) for task, first in enumerate(learned) if first >= 0]
    return float(np.mean([joint[cell] - matrix[cell] for cell in met]))


def behind(matrix: Sequence[Sequence[float]], tasks: Sequence[int], joint: Sequence[Sequence[float]]) -> float | None:
    """Intransigence of a run whose stages brought these tasks, against joint training. joint: its matrix; None, if it has fewer
    stages, having stopped early."""
    accuracies = np.array(matrix)
    if len(joint) < len(accuracies):
        return None
    return intransigence(accuracies, first_taught(tasks, accuracies.shape[1]), np.array(joint))


@dataclass(frozen=True)
class Split:
    """A round's forgetting in two parts, each a share of accuracy with its standard error; None: nobody had such a task."""

    temporal: float | None = None
    temporal_error: float | None = None
    spatial: float | None = None
    spatial_error: float | None = None


Right = Sequence[np.ndarray]  # for each task, which of its images a model reads right: bool [images]


def split(
    before: Right, local: Sequence[Right], after: Right, earlier: Sequence[set[int]], now: Sequence[int]
) -> Split:
    """What a round made its clients' knowledge lose, in time and in space; positive: forgetting. The idea is that of Yang et al.
    2023 (arXiv:2312.16475), the measure is this project's own.

        temporal = mean over clients k, mean over k's earlier tasks t:            acc(before, t) − acc(local k, t)
        spatial  = mean over clients k, mean over all tasks t that k has met:     acc(local k, t) − acc(after, t)

    Temporal is what a client's own training takes from what it was taught before; the task that it is being taught cannot be
    forgotten by being taught, so it is left out. Spatial is what averaging takes from what a client can do, and the task that
    it is being taught is part of that. Tasks that a client never met are in neither. As their tasks differ, the two do not add
    up to what the global model lost.

    Theirs, as Yu et al. 2024 (arXiv:2412.18355, equations 11 and 12) write them, are ratios: temporal of what a client's model
    reads of its first task now and after its first round, so over all rounds, their averaging too; spatial of what the global
    model and the client's own read of its present task alone.

    before, after: what the global model reads right before and after the round; local: the same of each client's own new model;
    earlier: the tasks that each client met before the one of this round; now: that one, or -1 if it had nothing of it.
    Standard errors are those of drawing the images: the spread of the images' parts in the mean, task by task.
    """
    old_tasks = [sorted(tasks - {present}) for tasks, present in zip(earlier, now, strict=True)]
    met_tasks = [sorted({*tasks, present} - {-1}) for tasks, present in zip(earlier, now, strict=True)]
    temporal = _lost([(before, trained, tasks) for trained, tasks in zip(local, old_tasks, strict=True)])
    spatial = _lost([(trained, after, tasks) for trained, tasks in zip(local, met_tasks, strict=True)])
    return Split(*temporal, *spatial)


def _lost(pairs: Sequence[tuple[Right, Right, Sequence[int]]]) -> tuple[float | None, float | None]:
    """Mean over pairs of models that have tasks, then over their tasks, of the first's accuracy less the second's; and its
    standard error over the draw of images, which are the same for all pairs."""
    pairs = [(first, second, tasks) for first, second, tasks in pairs if tasks]
    if not pairs:
        return None, None
    parts: dict[int, np.ndarray] = {}  # what each image of a task adds to the mean, times the task's number of images
    for first, second, tasks in pairs:
        for task in tasks:
            lost = (first[task].astype(float) - second[task]) / (len(pairs) * len(tasks))
            parts[task] = parts.get(task, 0.0) + lost
    error = sum(float(part.var(ddof=1)) / len(part) for part in parts.values() if len(part) > 1)
    return float(sum(part.mean() for part in parts.values())), math.sqrt(error)


@dataclass(frozen=True)
class Measures:
    """What a continual learner comes to. Shares; forgetting above 0 is loss, backward transfer below 0 too."""

    average_accuracy: float
    incremental_accuracy: float
    forgetting: float
    backward_transfer: float
    forward_transfer: float
    intransigence: float | None = None  # None: no joint training to compare with, or it stopped early


def summary(
    matrix: np.ndarray,
    learned: Sequence[int],
    before: np.ndarray,
    joint: np.ndarray | None = None,
    began: int = 0,
) -> Measures:
    """All measures of a run. began: see `forward_transfer`."""
    lost = forgetting(matrix, learned)
    return Measures(
        average_accuracy=average_accuracy(matrix),
        incremental_accuracy=incremental_accuracy(matrix, learned),
        forgetting=float(np.mean(lost)) if lost else 0.0,
        backward_transfer=backward_transfer(matrix, learned),
        forward_transfer=forward_transfer(matrix, learned, before, began),
        intransigence=None if joint is None else intransigence(matrix, learned, joint),
    )


@dataclass(frozen=True)
class OwnWay:
    """What the global model was to one client, stage by stage of the client's own stream."""

    # f64 [its stages, tasks]: the global model's accuracy on every task at the end of each of its stages
    matrix: np.ndarray
    learned: Sequence[int]  # for each task the first of its stages that taught it; -1: never


def over_clients(ways: Sequence[OwnWay], before: np.ndarray, began: int = 0) -> tuple[Measures, Measures]:
    """Mean and standard deviation over clients of each one's measures, in its own order and over the tasks that it met.

    A client counts where it can: one that met no task before its last stage has forgotten nothing and kept nothing, and one
    that was taught all in its first stage had nothing to look forward to. The deviation is that of a sample (n − 1); of
    fewer than two clients it is 0. began: see `forward_transfer`.
    """
    per_client: dict[str, list[float]] = {
        name: [] for name in asdict(Measures(0, 0, 0, 0, 0)) if name != "intransigence"
    }
    for way in ways:
        met = [task for task, first in enumerate(way.learned) if first >= 0]
        if not met:
            continue
        learned = [way.learned[task] for task in met]
        client_measures = asdict(summary(way.matrix[:, met], learned, before[met], began=began))
        met_earlier = any(first < len(way.matrix) - 1 for first in learned)
        defined = {
            "forgetting": met_earlier,
            "backward_transfer": met_earlier,
            "forward_transfer": max(learned) > began,
        }
        for name, values in per_client.items():
            if defined.get(name, True):
                values.append(client_measures[name])
    mean = {name: float(np.mean(values)) if values else 0.0 for name, values in per_client.items()}
    spread = {name: float(np.std(values, ddof=1)) if len(values) > 1 else 0.0 for name, values in per_client.items()}
    return Measures(**mean), Measures(**spread)
