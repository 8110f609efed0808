"""The pictures that a run leaves, from its report alone; each function's docstring is its heading and how to read it.

A function takes the report and returns the picture undrawn, its numbers with it: the drawing, the CSV beside it, the words for
who cannot see it and the curves on the page are all made of these.

Importing this loads no matplotlib; drawing does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from server.record import Report
from server.report.figures import picture, style
from server.report.figures.compare import compare
from server.report.figures.continual import classes, forgetting_split, matrix, served, tasks
from server.report.figures.evaluation import clients, confusion
from server.report.figures.learning import accuracy, drift
from server.report.figures.local_baseline import alone
from server.report.figures.personal import personal
from server.report.figures.picture import Picture
from server.report.figures.shards import labels, looks

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PLOTS", "compare", "draw"]

# In the order of the page. Each takes the report, `looks` also images of clients; None: its data are missing.
PLOTS: dict[str, Callable[..., Picture | None]] = {
    "accuracy": accuracy,
    "matrix": matrix,
    "tasks": tasks,
    "forgetting_split": forgetting_split,
    "classes": classes,
    "served": served,
    "clients": clients,
    "personal": personal,
    "alone": alone,
    "confusion": confusion,
    "drift": drift,
    "labels": labels,
    "looks": looks,
}


def draw(report: Report, folder: Path, contact: np.ndarray | None = None) -> list[Path]:
    """Draw every picture for which there are data as <folder>/<name>.png and .svg, its numbers as .csv beside them.

    `looks` has no CSV: its data are images. contact: uint8 [clients, k, 28, 28]. Returns the PNGs' paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plots = PLOTS | {
        "looks": partial(looks, contact=contact) if contact is not None and contact.size else lambda _: None
    }
    pictures = {name: plot(report) for name, plot in plots.items()}
    with style.applied():
        return [
            picture.save(one.draw(), folder / f"{name}.png", one.columns, one.rows)
            for name, one in pictures.items()
            if one is not None
        ]
