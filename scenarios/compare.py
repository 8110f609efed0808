"""One table and a plot or two over runs, mean and spread over seeds: `python -m scenarios.compare RUN RUN …`."""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from core.safe_json import read_object

if TYPE_CHECKING:
    from server.report.figures.memory import MemoryPoint

Facts = dict[str, Any]
Spread = list[float | None]  # mean, standard deviation over seeds (None for one)


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
    from server.report.figures.compare import compare, grouped
    from server.report.figures.memory import against_memory

    args.out.mkdir(parents=True, exist_ok=True)
    rows = [summary(name, group) for name, group in grouped(reports).items()]
    pictures = [compare(reports, args.out)]
    if staged := [row for row in rows if row["memory"] is not None]:
        pictures.append(against_memory([_memory_point(row) for row in staged], args.out))
    if args.json:
        print("\n".join(json.dumps(row) for row in rows))
    else:
        _show(rows, pictures)
    return 0


def _show(rows: list[Facts], pictures: Sequence[Path]) -> None:
    """The table, what diverged, and where the pictures are."""
    console = Console(highlight=False, markup=False)
    console.print(_table(rows, console.width))
    for row in rows:
        print("".join(f"note: {row['runs']}, {why}\n" for why in row["diverged"]), end="")
    print(f"drawn: {', '.join(map(str, pictures))}")


def _read(run: Path) -> Facts:
    """A run's report. Raises ValueError, naming its folder, if there is none that can be compared."""
    try:
        facts = read_object(run / "report.json")
    except FileNotFoundError:
        raise ValueError(f"{run} is not a finished run (no report.json)") from None
    if not facts.get("history"):
        raise ValueError(f"{run} has no finished round")
    if (
        not isinstance(seconds := facts.get("seconds"), dict) or "total" not in seconds
    ):  # written by the server, before the export
        raise ValueError(f"{run} is not a finished run; go on with --resume {shlex.quote(str(run))}")
    from server.report.figures.compare import grouped, mean

    try:  # all that is made of it
        for name, group in grouped([facts]).items():
            summary(name, group)
        mean(
            [facts["history"], *facts.get("curves", {}).values(), [{"accuracy": facts["baselines"].get("centralized")}]]
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{run / 'report.json'} holds no report: {type(error).__name__}: {error}") from None
    return facts


def summary(name: str, group: Sequence[Mapping[str, Any]]) -> Facts:
    """Mean and spread (sample standard deviation) of one group."""
    own = [min(s["accuracy"] for s in r["shards"]) for r in group if r.get("shards")]
    row: Facts = {"runs": name, "seeds": sorted(r["seed"] for r in group)}
    row["accuracy"] = spread([r["accuracy"] for r in group])
    for kind in ("centralized", "local", "joint"):
        row[kind] = spread([r["baselines"][kind] for r in group if kind in r["baselines"]])
    row["local, own digits"] = spread(
        [statistics.mean(r["local_own_accuracies"]) for r in group if r.get("local_own_accuracies")]
    )
    row["own digits"] = spread(
        [statistics.mean([s["accuracy"] for s in r["shards"]]) for r in group if r.get("shards")]
    )
    row["worst client"] = spread(own)
    staged = [r["continual"] for r in group if r.get("continual")]
    row["forgetting"] = spread([one["measures"]["forgetting"] for one in staged])
    row["memory"] = max((one["memory_bytes"] for one in staged), default=None)
    row["diverged"] = [f"seed {r['seed']}: {why}" for r in group for why in r.get("diverged", {}).values()]
    row["examples"] = statistics.mean(r["history"][-1]["seen"] for r in group)
    row["seconds"] = statistics.mean(r["seconds"]["total"] for r in group)
    return row


def _memory_point(row: Facts) -> MemoryPoint:
    from server.report.figures.memory import MemoryPoint

    mean, deviation = row["accuracy"]
    return MemoryPoint(row["runs"], "", row["memory"] / 1000, mean, deviation, len(row["seeds"]))


def spread(values: Sequence[float]) -> Spread | None:
    """[mean, standard deviation], the latter None for one value, which has none; None for no value."""
    return [statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None] if values else None


COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "accuracy": ("federated", lambda spread: _percent(spread)),
    "centralized": ("centralized", lambda spread: _percent(spread)),
    "local": ("local, all digits", lambda spread: _percent(spread)),
    "local, own digits": ("local, own digits", lambda spread: _percent(spread)),
    "joint": ("joint", lambda spread: _percent(spread)),
    "forgetting": ("forgetting", lambda spread: _percent(spread)),
    "memory": ("memory, kB", lambda most: "–" if most is None else f"{most / 1000:,.0f}"),
    "own digits": ("federated, own digits", lambda spread: _percent(spread)),
    "worst client": ("worst client", lambda spread: _percent(spread)),
    "examples": ("examples", lambda count: f"{count:,.0f}"),
    "seconds": ("seconds", lambda count: f"{count:.0f}"),
}


def _table(rows: list[Facts], width: int) -> Table:
    """A row a group of runs; where that is too wide for whole words, a column a group. What no run has is left out."""
    keys = [key for key in COLUMNS if any(row[key] is not None for row in rows)]
    cells = [["runs", "seeds", *(COLUMNS[key][0] for key in keys)]]
    for row in rows:
        seeds = ", ".join(map(str, row["seeds"]))
        cells.append([row["runs"], seeds, *(COLUMNS[key][1](row[key]) for key in keys)])
    if sum(map(_longest, zip(*cells, strict=True))) + 3 * len(cells[0]) + 1 > width:  # 3: a line and two blanks
        cells = [list(line) for line in zip(*cells, strict=True)]
    several = any(len(row["seeds"]) > 1 for row in rows)
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


def _percent(spread: Sequence[float | None] | None) -> str:
    if spread is None or spread[0] is None:
        return "–"
    return f"{100 * spread[0]:.2f}" + ("" if spread[1] is None else f" ± {100 * spread[1]:.2f}")


if __name__ == "__main__":
    sys.exit(main())
