"""Runs side by side, mean and spread over seeds, as tables, pictures and a page: `python -m scenarios.compare RUN RUN …`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from core.text import piped, printable
from scenarios.columns import tables
from scenarios.presets import SCENARIOS
from scenarios.studies.results import RESULT, SPENT
from server import record, run_folder
from server.record import Report
from server.report.figures import results
from server.report.figures.compare import compare
from server.report.figures.groups import worded
from server.report.figures.memory import MemoryPoint, against_memory
from server.report.figures.results import COLUMNS, SCHEMA, Comparison, Row
from server.report.page import comparison as page

EXAMPLES = """examples:
  python -m scenarios.compare runs/noniid-*                              one table, one picture
  python -m scenarios.compare runs/avg-0 runs/avg-1 runs/prox-0 runs/prox-1    two strategies over two seeds each
  python -m scenarios.compare runs/noniid-* --html compare.html          all of it on one page that needs no network
  COLUMNS=80 python -m scenarios.compare runs/noniid-*                   as wide as you say

Runs of equal settings are seeds of one group. The group of the first run is what the others are compared with.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m scenarios.compare", description=__doc__, epilog=EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folders of finished runs; equal settings are seeds of one"
    )
    p.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="where the pictures go, as PNG, SVG and CSV (here)"
    )
    p.add_argument("--html", type=Path, metavar="FILE", help="write one page with everything, which links to the runs")
    p.add_argument("--json", action="store_true", help="one line of JSON a group instead of the table")
    return p


def main(argv: list[str] | None = None) -> int:
    """Print the table, draw compare.png, and memory.png if there were streams; with --html write the page."""
    printable()
    p = parser()
    args = p.parse_args(argv)
    reports, left_out = comparable(args.runs)
    if not reports:
        p.exit(2, f"{p.prog}: {'; '.join(left_out)}\n")
    for why in left_out:
        print(f"left out: {why}", file=sys.stderr)
    comparison = results.compared(reports, {name: preset for name, (preset, _) in SCENARIOS.items()}, left_out)
    try:
        if args.html and args.html.is_dir():
            raise ValueError(f"--html {args.html} is a folder; name a file")
        pictures = _draw(comparison, reports, args.out)
        files = [*pictures, *([page.write(comparison, pictures, args.html)] if args.html else [])]
    except ValueError as error:
        p.exit(2, f"{p.prog}: {error}\n")
    except OSError as error:
        p.exit(2, f"{p.prog}: {str(error.filename)[:200]}: {error.strerror}\n")
    with piped():
        if args.json:
            print("\n".join(json.dumps({"schema": SCHEMA} | record.plain(row)) for row in comparison.rows))
        else:
            _show(comparison, files)
    return 0


def comparable(folders: Sequence[Path]) -> tuple[list[Report], list[str]]:
    """The runs that can be compared, each once, and a sentence for each that is left out."""
    reports: list[Report] = []
    left_out = []
    for folder in folders:
        try:
            report = finished(folder)
            if twin := next((one for one in reports if _twins(one, report)), None):
                raise ValueError(_why_left_out(report, twin))
            reports.append(report)
        except ValueError as error:
            left_out.append(str(error))
    return reports, left_out


def finished(run: Path) -> Report:
    """A run's report, with the folder where it lies now. Raises ValueError, naming it, if it cannot be compared."""
    if not os.path.isdir(run):  # of a name that is too long, Path.is_dir raises
        raise ValueError(f"{run} is {'a file; name the folder of a run' if os.path.exists(run) else 'not there'}")
    try:
        report = record.load(run)
    except FileNotFoundError:
        if (run / RESULT).exists():
            raise ValueError(f"{run} is a study's cell, which has no report: see the study's own table.csv") from None
        if (run / SPENT).exists():
            raise ValueError(f"{run} is a study's cell, not finished; go on with the study's own command") from None
        if (run / run_folder.SCENARIO).exists():
            raise ValueError(_unfinished(run)) from None
        raise ValueError(f"{run} is not the folder of a run (no {run_folder.REPORT} in it)") from None
    if not report.history or report.accuracy is None:
        raise ValueError(f"{run} has no finished round")
    if "total" not in report.seconds and (run / run_folder.CHECKPOINTS).exists():  # a study's runs have neither
        raise ValueError(_unfinished(run))
    return report.with_(folder=str(run))


def _unfinished(run: Path) -> str:
    return f"{run} is not a finished run; go on with: python -m scenarios.run --resume {shlex.quote(str(run))}"


def _twins(one: Report, other: Report) -> bool:
    """Are both the same run, or two of one seed, so that to count both would make the spread over seeds too small?"""
    return (one.settings, one.source) == (other.settings, other.source)


def _why_left_out(run: Report, first: Report) -> str:
    if Path(run.folder).resolve() == Path(first.folder).resolve():
        return f"{run.folder} is named twice; it counts once"
    if run.weights_sha256 == first.weights_sha256:
        return f"{run.folder} has the settings, seed and weights of {first.folder}; it counts once"
    return (
        f"{run.folder} has the settings and the seed of {first.folder}, but other weights, "
        "as another machine or version makes them; only the first counts"
    )


def _draw(comparison: Comparison, reports: Sequence[Report], folder: Path) -> list[Path]:
    """The pictures; that of accuracy against memory if there are streams."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [compare(reports, folder, comparison.shared)]
    if points := list(_memory_points(comparison)):
        pictures.append(against_memory(points, folder, comparison.shared))
    return pictures


def _memory_points(comparison: Comparison) -> Iterator[MemoryPoint]:
    """The groups of streams. Groups that differ in nothing but a method's budget are one line through their budgets."""
    for group, row in zip(comparison.groups, comparison.rows, strict=True):
        if row.memory is None or row.accuracy is None:
            continue
        budget = (".images", ".kilobytes")
        method = {k: v for k, v in group.named.items() if not (k.startswith("methods.") and k.endswith(budget))}
        bounded = all(part.name != "joint" for part in group.runs[0].settings.methods)
        yield MemoryPoint(worded(method) or row.label, "", row.memory / 1000, *row.accuracy, len(row.seeds), bounded)


def _show(comparison: Comparison, files: Sequence[Path]) -> None:
    """What all runs share, the table, what must be known of it, and where the rest is."""
    console = Console(highlight=False, markup=False)
    rows = comparison.rows
    for line in (comparison.shared, *comparison.implied):
        _print(line, console.width)
    seeds = [", ".join(map(str, row.seeds)) for row in rows]
    keys = [key for key in COLUMNS if any(getattr(row, key) is not None for row in rows)]
    head = ["runs", *["seeds"] * (len(set(seeds)) > 1), *map(_head, keys)]
    columns = [[row.label for row in rows], *[seeds] * (len(set(seeds)) > 1), *(_cells(key, rows) for key in keys)]
    several = any(len(row.seeds) > 1 for row in rows)
    title = "test accuracy, %" + " (mean ± standard deviation over seeds)" * several
    title += "; Δ in points" * any(COLUMNS[key].head.startswith("Δ") for key in keys)
    for table in tables(head, list(zip(*columns, strict=True)), console.width, title):
        console.print(table)
    for note in comparison.notes:
        if not note.startswith("left out"):  # said already
            _print(f"note: {note}", console.width)
    print("written: " + ", ".join(f"{one} (.svg, .csv)" if one.suffix == ".png" else str(one) for one in files))


def _head(key: str) -> str:
    """The title says of what per cent and points are."""
    column = COLUMNS[key]
    return column.head if column.unit in ("", "%", "points") else f"{column.head}, {column.unit}"


def _cells(key: str, rows: Sequence[Row]) -> list[str]:
    """What only takes room is blank on a terminal."""
    cells = COLUMNS[key].cells([getattr(row, key) for row in rows])
    return [start + " " * len(room) + end for start, room, end in cells]


def _print(text: str, width: int) -> None:
    """In lines that end between words."""
    print(textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False))


if __name__ == "__main__":
    sys.exit(main())
