"""Many runs on one page that holds everything itself, opens anywhere, and needs no network and no scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.disk import placed
from server.report.figures import groups, results
from server.report.figures.formatting import counted, gap, percent, sentence
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


def write(comparison: Comparison, pictures: Sequence[Path], path: Path) -> Path:
    """Write the page to this path. pictures: PNGs, each with its SVG beside it, which the page embeds. The page links
    to the runs' own pages by relative paths, so it must not be moved away from them."""
    with placed(path) as file:
        file.write(_page(comparison, pictures, path).encode())
    return path


def _page(comparison: Comparison, pictures: Sequence[Path], path: Path) -> str:
    parts = [
        _subtitle(comparison),
        _headline(comparison),
        _notices(comparison),
        comparison_tables.differs(comparison),
        comparison_tables.accuracies(comparison),
    ]
    parts += [_picture(one) for one in pictures]
    parts += [
        comparison_tables.staged(comparison),
        comparison_tables.exports(comparison),
        comparison_tables.time(comparison),
        comparison_tables.runs(comparison, path),
        comparison_tables.shared(comparison),
    ]
    return html.page(f"Comparison of {_amount(comparison)}", POLICY, CSS + OWN_CSS, tag("main", *parts))


def _amount(comparison: Comparison) -> str:
    return counted(sum(len(group.runs) for group in comparison.groups), "run")


def _subtitle(comparison: Comparison) -> Html:
    return tag(
        "p",
        f"{_amount(comparison)} in {counted(len(comparison.groups), 'group')}"
        + f" · all: {comparison.shared}" * bool(comparison.shared),
        class_="soft",
    )


def _headline(comparison: Comparison) -> Html:
    """Which group reads most, and how far that is from the first; nothing is compared across test images of other kinds."""
    first, number = comparison.rows[0], counted(len(comparison.groups), "group")
    if len(groups.tested_on(comparison.groups)) > 1:
        return tag("h1", f"{number} on different test images")
    if (best := results.best(comparison.groups)) is None:
        return tag("h1", f"{number}, too few seeds to name the best")
    row = comparison.rows[best]
    share = row.accuracy[0] if row.accuracy else 0.0
    finding = f"{row.label} reads {percent(share)} of the test images right"
    if len(comparison.rows) == 1:
        return tag("h1", f"{finding}.")
    gap_to_first = f", {gap(row.over_first[0] / 100, 0.0)} {first.label}" if row.over_first else ""
    counts = groups.test_counts(comparison.groups)
    other = f" (tested on different numbers of images: {'; '.join(counts)})" * (len(counts) > 1)
    return tag("h1", f"Best of {len(comparison.rows)}: {finding}{gap_to_first}{other}.")


def _notices(comparison: Comparison) -> Html:
    if not comparison.notes:
        return Html("")
    listed = tag("ul", *(tag("li", sentence(note)) for note in comparison.notes))
    return tag("section", tag("strong", "To be known before reading on"), listed, class_="warn", role="note")


def _picture(path: Path) -> Html:
    heading, caption = HEADINGS[path.stem]
    image = html.image(path, f"{heading}; the numbers are in the tables", svg=True)
    return tag("figure", tag("h2", heading), tag("figcaption", caption), html.scrolls("picture", heading, image))
