"""A picture before it is drawn: what it finds, its numbers, and how they are drawn; and its files, PNG, SVG and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.disk import placed
from server.report.figures import style
from server.report.figures.formatting import is_finite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from server.report.figures.lines import Line


@dataclass(frozen=True)
class Curves:
    """Lines of accuracy that can be followed on the page."""

    lines: Sequence[Line]
    stages: tuple[int, ...] = ()  # the rounds after which a new stage begins
    limits: tuple[float, float] | None = None  # of the axis, shares; None: as style.accuracy_axis


@dataclass(frozen=True)
class Picture:
    """What a picture shows. Whoever makes one draws it from the very numbers that are its rows.

    Shares are shares here, 0 … 1, as in report.json; only the drawing and the words make per cent or points of them.
    """

    title: str  # the finding
    alt: str  # what it shows and its main numbers, for who cannot see it
    draw: Callable[[], Figure]
    columns: tuple[str, ...] = ()  # with their units; none: its data are images
    rows: Sequence[Sequence[Any]] = ()  # one observation each
    curves: Curves | None = None
    reading: str = ""  # how to read it further, in this run


def save(figure: Figure, path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write NAME.png, NAME.svg and, if there are columns, NAME.csv; returns the PNG's path. Equal figures give equal bytes."""
    if columns:
        _write(path.with_suffix(".csv"), [columns, *rows])
    return style.render(figure, path)


def _write(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_plain(cell) for cell in row] for row in rows)
    with placed(path) as file:
        file.write(text.getvalue().encode())


def _plain(cell: Any) -> Any:
    """As Python and JSON write it; empty if it is no finite number."""
    cell = cell.item() if hasattr(cell, "item") else cell
    return "" if isinstance(cell, float) and not is_finite(cell) else cell
