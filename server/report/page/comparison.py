"""Many runs on one page that holds everything itself, opens anywhere, and needs no network and no scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.disk import placed
from server.report.figures import groups
from server.report.figures.formatting import gap, percent, sentence, some
from server.report.figures.results import Comparison
from server.report.page import comparison_tables, html
from server.report.page.html import Html, tag
from server.report.page.style import CSS

# The browser itself is told to load nothing from anywhere, and to run nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
OWN_CSS = """
.label { display: inline-block; position: relative; min-width: 12rem; max-width: 22rem; padding-left: 1.25em; }
.label { white-space: normal; overflow-wrap: break-word; }
.gap { visibility: hidden; }
.swatch { position: absolute; left: 0; top: 0.35em; width: 0.8em; height: 0.8em; border-radius: 2px; }
.table { margin-bottom: 1.25rem; max-height: none; } /* groups are compared at one look */
a { color: var(--accent); }
@media (max-width: 640px) { .label { min-width: 0; max-width: 10.6rem; font-size: 0.78rem; } }
@media print { .label { min-width: 0; } }
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
    return html.page(f"Comparison of {_amount(found)}", POLICY, CSS + OWN_CSS, tag("main", *parts))


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
    listed = tag("ul", *(tag("li", sentence(note)) for note in found.notes))
    return tag("section", tag("strong", "To be known before reading on"), listed, class_="warn", role="note")


def _picture(path: Path) -> Html:
    heading, caption = HEADINGS[path.stem]
    drawn = html.image(path, f"{heading}; the numbers are in the tables", svg=True)
    return tag("figure", tag("h2", heading), tag("figcaption", caption), html.scrolls("picture", heading, drawn))
