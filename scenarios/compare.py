"""One table and a plot or two over runs, mean and spread over seeds: `python -m scenarios.compare RUN RUN …`."""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from server import record
from server.record import Report
from server.report.figures.compare import compare, grouped
from server.report.figures.memory import MemoryPoint, against_memory

Spread = tuple[float, float | None]  # mean, standard deviation over seeds (None for one)


@dataclass(frozen=True)
class Row:
    """Runs that differ only by seed. Accuracies are shares; None where no run has them."""

    runs: str  # what they are called
    seeds: tuple[int, ...]
    accuracy: Spread | None
    centralized: Spread | None
    local: Spread | None  # each client alone, on all test images
    local_own: Spread | None  # on its own
    joint: Spread | None
    own: Spread | None  # the global model on clients' own test images
    worst: Spread | None  # and for the client that it serves worst
    forgetting: Spread | None
    memory: int | None  # bytes, the most that a client kept
    diverged: tuple[str, ...]
    examples: float  # gradient examples
    seconds: float


def main(argv: list[str] | None = None) -> int:
    """Print the table, draw compare.png, and memory.png if there were streams."""
    p = argparse.ArgumentParser(prog="python -m scenarios.compare", description=__doc__)
    p.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folders of finished runs; equal settings are seeds of one"
    )
    p.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where the pictures go (here)")
    p.add_argument("--json", action="store_true", help="one line of JSON a group instead of the table")
    args = p.parse_args(argv)
    reports, left = [], []
    for run in args.runs:
        try:
            reports.append(_read(run))
        except ValueError as error:
            left.append(str(error))
    if not reports:
        p.exit(2, f"{p.prog}: {'; '.join(left)}\n")
    for why in left:
        print(f"left out: {why}", file=sys.stderr)
    args.out.mkdir(parents=True, exist_ok=True)
    rows = [summary(name, group) for name, group in grouped(reports).items()]
    pictures = [compare(reports, args.out)]
    if points := [point for row in rows if (point := _memory_point(row))]:
        pictures.append(against_memory(points, args.out))
    if args.json:
        print("\n".join(json.dumps(record.plain(row)) for row in rows))
    else:
        _show(rows, pictures)
    return 0


def _show(rows: list[Row], pictures: Sequence[Path]) -> None:
    """The table, what diverged, and where the pictures are."""
    console = Console(highlight=False, markup=False)
    console.print(_table(rows, console.width))
    for row in rows:
        print("".join(f"note: {row.runs}, {why}\n" for why in row.diverged), end="")
    print(f"drawn: {', '.join(map(str, pictures))}")


def _read(run: Path) -> Report:
    """A run's report. Raises ValueError, naming its folder, if there is none that can be compared."""
    try:
        report = record.load(run)
    except FileNotFoundError:
        raise ValueError(f"{run} is not a finished run (no report.json)") from None
    if not report.history or report.accuracy is None:
        raise ValueError(f"{run} has no finished round")
    if "total" not in report.seconds:  # written by the server, before the export
        raise ValueError(f"{run} is not a finished run; go on with --resume {shlex.quote(str(run))}")
    return report


def summary(name: str, group: Sequence[Report]) -> Row:
    """Mean and spread (sample standard deviation) of one group."""
    served = [[one.accuracy for one in report.shards if one.accuracy is not None] for report in group]
    staged = [report.continual for report in group if report.continual]
    beside = {
        kind: spread([report.baselines[kind] for report in group if kind in report.baselines])
        for kind in ("centralized", "local", "joint")
    }
    return Row(
        runs=name,
        seeds=tuple(sorted(report.seed for report in group)),
        accuracy=spread([report.accuracy for report in group if report.accuracy is not None]),
        **beside,
        local_own=spread([statistics.mean(r.local_own_accuracies) for r in group if r.local_own_accuracies]),
        own=spread([statistics.mean(shares) for shares in served if shares]),
        worst=spread([min(shares) for shares in served if shares]),
        forgetting=spread([one.measures.forgetting for one in staged]),
        memory=max((one.memory_bytes for one in staged), default=None),
        diverged=tuple(f"seed {report.seed}: {why}" for report in group for why in report.diverged.values()),
        examples=statistics.mean(report.history[-1].seen for report in group),
        seconds=statistics.mean(report.seconds["total"] for report in group),
    )


def _memory_point(row: Row) -> MemoryPoint | None:
    """A group of runs that keep something, in the picture of accuracy against memory."""
    if row.memory is None or row.accuracy is None:
        return None
    return MemoryPoint(row.runs, "", row.memory / 1000, *row.accuracy, len(row.seeds))


def spread(values: Sequence[float]) -> Spread | None:
    """(mean, standard deviation), the latter None for one value, which has none; None for no value."""
    return (statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None) if values else None


COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "accuracy": ("federated", lambda spread: _percent(spread)),
    "centralized": ("centralized", lambda spread: _percent(spread)),
    "local": ("local, all digits", lambda spread: _percent(spread)),
    "local_own": ("local, own digits", lambda spread: _percent(spread)),
    "joint": ("joint", lambda spread: _percent(spread)),
    "forgetting": ("forgetting", lambda spread: _percent(spread)),
    "memory": ("memory, kB", lambda most: "–" if most is None else f"{most / 1000:,.0f}"),
    "own": ("federated, own digits", lambda spread: _percent(spread)),
    "worst": ("worst client", lambda spread: _percent(spread)),
    "examples": ("examples", lambda count: f"{count:,.0f}"),
    "seconds": ("seconds", lambda count: f"{count:.0f}"),
}


def _table(rows: list[Row], width: int) -> Table:
    """A row a group of runs; where that is too wide for whole words, a column a group. What no run has is left out."""
    keys = [key for key in COLUMNS if any(getattr(row, key) is not None for row in rows)]
    cells = [["runs", "seeds", *(COLUMNS[key][0] for key in keys)]]
    for row in rows:
        seeds = ", ".join(map(str, row.seeds))
        cells.append([row.runs, seeds, *(COLUMNS[key][1](getattr(row, key)) for key in keys)])
    if sum(map(_longest, zip(*cells, strict=True))) + 3 * len(cells[0]) + 1 > width:  # 3: a line and two blanks
        cells = [list(line) for line in zip(*cells, strict=True)]
    several = any(len(row.seeds) > 1 for row in rows)
    title = "test accuracy, %" + " (mean ± standard deviation over seeds)" * several
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(zip(*cells, strict=True)):
        table.add_column(
            column[0], justify="right" if i else "left", min_width=min(_longest(column), width // 3), overflow="fold"
        )
    for line in cells[1:]:
        table.add_row(*line)
    return table


def _longest(column: Iterable[str]) -> int:
    """Letters of its longest word."""
    return max(len(word) for text in column for word in text.split())


def _percent(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    return f"{100 * spread[0]:.2f}" + ("" if spread[1] is None else f" ± {100 * spread[1]:.2f}")


if __name__ == "__main__":
    sys.exit(main())
