"""What a continual learner is judged by, from the accuracy matrix R[stage, task]: the model's accuracy on every task after
every stage (Lopez-Paz and Ranzato 2017, arXiv:1706.08840; Chaudhry et al. 2018, arXiv:1801.10112; Díaz-Rodríguez et al.
2018, arXiv:1810.13166).

matrix: f64 [stages, tasks], shares 0 … 1. learned: for each task the stage after which it had first been taught; a task
that is never taught has -1. `before`: f64 [tasks], the accuracy before the first stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def forward_transfer(matrix: np.ndarray, learned: Sequence[int], before: np.ndarray) -> float:
    """Mean over later tasks of the accuracy just before the task was taught, less that before the first stage."""
    gains = [matrix[first - 1, task] - before[task] for task, first in enumerate(learned) if first > 0]
    return float(np.mean(gains)) if gains else 0.0


def intransigence(matrix: np.ndarray, learned: Sequence[int], joint: np.ndarray) -> float:
    """Mean over tasks of what `joint` (its matrix, of the same shape) has right after the task, less what this has."""
    met = [(first, task) for task, first in enumerate(learned) if first >= 0]
    return float(np.mean([joint[cell] - matrix[cell] for cell in met]))


def behind(matrix: Sequence[Sequence[float]], tasks: Sequence[int], joint: Sequence[Sequence[float]]) -> float:
    """Intransigence of a run whose stages brought these tasks, against joint training. joint: its matrix."""
    mine = np.array(matrix)
    return intransigence(mine, first_taught(tasks, mine.shape[1]), np.array(joint))


def split(before: np.ndarray, local: np.ndarray, after: np.ndarray, old: np.ndarray) -> tuple[float, float]:
    """What a round did to old tasks, split in two (positive: forgetting): temporal, by clients' own training; spatial, by
    averaging their models. The two add up to what the global model lost.

    before, after: f64 [tasks], the global model's accuracy; local: f64 [clients, tasks], each client's own new model's;
    old: bool [clients, tasks], tasks that were met and that this client is not being taught now.
    """
    rows = [(b, a) for b, a in ((local[c], old[c]) for c in range(len(local))) if a.any()]
    if not rows:
        return 0.0, 0.0
    temporal = [float((before[mine] - own[mine]).mean()) for own, mine in rows]
    spatial = [float((own[mine] - after[mine]).mean()) for own, mine in rows]
    return float(np.mean(temporal)), float(np.mean(spatial))


@dataclass(frozen=True)
class Measures:
    """What a continual learner comes to. Shares; forgetting above 0 is loss, backward transfer below 0 too."""

    average_accuracy: float
    incremental_accuracy: float
    forgetting: float
    backward_transfer: float
    forward_transfer: float
    intransigence: float | None = None  # None: no joint training to compare with


def summary(
    matrix: np.ndarray, learned: Sequence[int], before: np.ndarray, joint: np.ndarray | None = None
) -> Measures:
    """All measures of a run."""
    lost = forgetting(matrix, learned)
    return Measures(
        average_accuracy=average_accuracy(matrix),
        incremental_accuracy=incremental_accuracy(matrix, learned),
        forgetting=float(np.mean(lost)) if lost else 0.0,
        backward_transfer=backward_transfer(matrix, learned),
        forward_transfer=forward_transfer(matrix, learned, before),
        intransigence=None if joint is None else intransigence(matrix, learned, joint),
    )
