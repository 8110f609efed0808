"""The pictures that a run leaves, from its report alone; each function's docstring is its heading and how to read it.

Importing this loads no matplotlib; drawing does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from server.record import Report
from server.report.figures import style
from server.report.figures.compare import compare
from server.report.figures.continual import classes, forgetting_split, matrix, served, tasks
from server.report.figures.evaluation import clients, confusion
from server.report.figures.learning import accuracy, drift
from server.report.figures.local_baseline import alone
from server.report.figures.shards import labels, looks

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

__all__ = ["PLOTS", "compare", "draw"]

# In the order of the page. Each takes the report, `looks` also images of clients; None: its data are missing.
PLOTS: dict[str, Callable[..., Figure | None]] = {
    "accuracy": accuracy,
    "matrix": matrix,
    "tasks": tasks,
    "forgetting_split": forgetting_split,
    "classes": classes,
    "served": served,
    "clients": clients,
    "alone": alone,
    "confusion": confusion,
    "drift": drift,
    "labels": labels,
    "looks": looks,
}


def draw(report: Report, folder: Path, contact: np.ndarray | None = None) -> list[Path]:
    """Draw every picture for which there are data as <folder>/<name>.png. contact: uint8 [clients, k, 28, 28]."""
    folder.mkdir(parents=True, exist_ok=True)
    plots = PLOTS | {"looks": partial(looks, contact=contact)}
    with style.applied():
        pictures = {name: plot(report) for name, plot in plots.items()}
        return [style.save(figure, folder / f"{name}.png") for name, figure in pictures.items() if figure is not None]
