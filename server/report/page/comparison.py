"""Many runs on one page that holds everything itself, opens anywhere, and needs no network and no scripts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from core.disk import placed
from server.report.figures import groups
from server.report.figures.formatting import gap, percent, some
from server.report.figures.results import Comparison
from server.report.page import comparison_tables
from server.report.page.html import SCALE, Html, join, tag
from server.report.page.style import CSS

# The browser itself is told to load nothing from anywhere, and to run nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
OWN_CSS = """
.label { display: inline-block; position: relative; min-width: 12rem; max-width: 22rem; padding-left: 1.25em; }
.label { white-space: normal; overflow-wrap: break-word; }
.gap { visibility: hidden; }
.swatch { position: absolute; left: 0; top: 0.35em; width: 0.8em; height: 0.8em; border-radius: 2px; }
.table { margin: 0 0 1.25rem; max-height: none; }
thead th { white-space: normal; vertical-align: bottom; }
a { color: var(--accent); }
@media (max-width: 640px) { .label { min-width: 0; max-width: 10.6rem; font-size: 0.78rem; } }
@media print {
  body { font-size: 11pt; background: none; }
  main { padding: 0; max-width: none; }
  h2 { break-after: avoid; }
  tr { break-inside: avoid; }
  .table { overflow: visible; border: 0; }
  table { font-size: 7.5pt; }
  th, td { padding: 0.25rem 0.35rem; white-space: normal; }
  thead th, tbody th { position: static; }
  .label { min-width: 0; }
  .picture img { width: auto; max-height: 9.5cm; }
}
"""
HEADINGS = {
    "compare": (
        "Accuracy, round by round",
        "Share of test images read right after each round (left) and for the training examples it took (right); on a "
        "logarithmic axis equal steps up are equal cuts of the error.",
    ),
    "memory": (
        "What memory buys",
        "Accuracy at the end against the most that a client kept for its methods; a line joins the budgets of one method.",
    ),
}


def write(found: Comparison, pictures: Sequence[Path], path: Path) -> Path:
    """Write the page to this path. pictures: PNGs, each with its SVG beside it, which the page takes in. It links to the
    runs' own pages by relative paths, so it must stay where it lies to them."""
    with placed(path) as file:
        file.write(_page(found, pictures, path).encode())
    return path


def _page(found: Comparison, pictures: Sequence[Path], path: Path) -> str:
    head = join([
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><link rel="icon" href="data:,">'),
        tag("title", f"Comparison of {_amount(found)}"),
        tag("style", Html(CSS + OWN_CSS)),
    ])  # fmt: skip
    parts = [
        _subtitle(found),
        _headline(found),
        _notices(found),
        comparison_tables.differs(found),
        comparison_tables.accuracies(found),
    ]
    parts += [_picture(one) for one in pictures]
    parts += [
        comparison_tables.staged(found),
        comparison_tables.exports(found),
        comparison_tables.time(found),
        comparison_tables.runs(found, path),
        comparison_tables.shared(found),
    ]
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{tag("main", *parts)}</body></html>\n'


def _amount(found: Comparison) -> str:
    return some(sum(len(group.runs) for group in found.groups), "run")


def _subtitle(found: Comparison) -> Html:
    return tag("p", f"{_amount(found)} in {some(len(found.groups), 'group')} · all: {found.shared}", class_="soft")


def _headline(found: Comparison) -> Html:
    """Which group reads most, and how far that is from the first; nothing is compared across data sets."""
    known = [(row.accuracy[0], i) for i, row in enumerate(found.rows) if row.accuracy]
    share, best = max(known)
    first = found.rows[0]
    if len(groups.data_sets(found.groups)) > 1:
        return tag("h1", f"{some(len(found.groups), 'group')} on different data sets")
    said = f"{found.rows[best].label} reads {percent(share)} of the test images right"
    if len(found.rows) == 1:
        return tag("h1", f"{said}.")
    apart = f", {gap(share, first.accuracy[0])} {first.label}" if best and first.accuracy else ""
    return tag("h1", f"Best of {len(found.rows)}: {said}{apart}.")


def _notices(found: Comparison) -> Html:
    if not found.notes:
        return Html("")
    listed = tag("ul", *(tag("li", note[:1].upper() + note[1:]) for note in found.notes))
    return tag("section", tag("strong", "To be known before reading on"), listed, class_="warn", role="note")


def _picture(path: Path) -> Html:
    """The SVG, taken in; as a picture of its own, so that what two of them call by the same name stays apart."""
    heading, caption = HEADINGS[path.stem]
    width = round(SCALE * int.from_bytes(path.read_bytes()[16:20], "big"))  # PNG: its width comes first
    source = "data:image/svg+xml;base64," + base64.b64encode(path.with_suffix(".svg").read_bytes()).decode()
    image = Html(f'<img src="{source}" alt="{heading}; the numbers are in the tables" style="--width: {width}px">')
    said = tag("figcaption", caption)
    return tag("figure", tag("h2", heading), said, tag("div", image, class_="picture"))
