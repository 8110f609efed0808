"""What a paper takes: beside a picture's PNG the same as SVG, and its numbers as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.disk import placed
from server.report.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def publish(picture: Figure, path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write the PNG at this path, and with the same name .svg and .csv; return the PNG's path."""
    vector(picture, path.with_suffix(".svg"))
    numbers(path.with_suffix(".csv"), head, rows)
    return style.save(picture, path)


def vector(picture: Figure, path: Path) -> Path:
    """Write the figure as SVG, its letters as outlines, so that no font is needed. Equal figures give equal bytes."""
    import matplotlib

    with placed(path) as file, matplotlib.rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "path"}):
        picture.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return path


def numbers(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a CSV file with a head; None becomes an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    with placed(path) as file:
        file.write(text.getvalue().encode())
    return path
