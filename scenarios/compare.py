"""One table and a plot or two over runs, mean and spread over seeds: `python -m scenarios.compare RUN RUN …`."""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from core.disk import read_object

if TYPE_CHECKING:
    from server.plots.memory import Held

Facts = dict[str, Any]


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
    from server.plots.compare import compare, grouped
    from server.plots.memory import against_memory

    args.out.mkdir(parents=True, exist_ok=True)
    rows = [summary(name, group) for name, group in grouped(reports).items()]
    pictures = [compare(reports, args.out)]
    if staged := [row for row in rows if row["memory"] is not None]:
        pictures.append(against_memory([_held(row) for row in staged], args.out))
    if args.json:
        print("\n".join(json.dumps(row) for row in rows))
    else:
        Console(highlight=False).print(_table(rows))
        print(f"drawn: {', '.join(map(str, pictures))}")
    return 0


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
    from server.plots.compare import grouped, mean

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
    row["worst client"] = spread(own)
    staged = [r["continual"] for r in group if r.get("continual")]
    row["forgetting"] = spread([told["measures"]["forgetting"] for told in staged])
    row["memory"] = max((told["memory_bytes"] for told in staged), default=None)
    row["examples"] = statistics.mean(r["history"][-1]["seen"] for r in group)
    row["seconds"] = statistics.mean(r["seconds"]["total"] for r in group)
    return row


def _held(row: Facts) -> Held:
    from server.plots.memory import Held

    return Held(row["runs"], "", row["memory"] / 1000, *row["accuracy"])


def spread(values: list[float]) -> list[float] | None:
    """[mean, standard deviation], the latter 0 for one value; None for none."""
    return [statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0] if values else None


COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "accuracy": ("federated", lambda spread: _percent(spread)),
    "centralized": ("centralized", lambda spread: _percent(spread)),
    "local": ("local", lambda spread: _percent(spread)),
    "joint": ("joint", lambda spread: _percent(spread)),
    "forgetting": ("forgetting", lambda spread: _percent(spread)),
    "memory": ("memory, kB", lambda held: "–" if held is None else f"{held / 1000:,.0f}"),
    "worst client": ("worst client", lambda spread: _percent(spread)),
    "examples": ("examples", lambda count: f"{count:,.0f}"),
    "seconds": ("seconds", lambda count: f"{count:.0f}"),
}


def _table(rows: list[Facts]) -> Table:
    """Columns in which no run has anything are left out."""
    keys = [key for key in COLUMNS if any(row[key] is not None for row in rows)]
    table = Table(title="test accuracy, % (mean ± standard deviation over seeds)", title_justify="left")
    for name in ("runs", "seeds", *(COLUMNS[key][0] for key in keys)):
        table.add_column(name, justify="left" if name == "runs" else "right", overflow="fold")
    for row in rows:
        table.add_row(row["runs"], ", ".join(map(str, row["seeds"])), *(COLUMNS[key][1](row[key]) for key in keys))
    return table


def _percent(spread: list[float] | None) -> str:
    return f"{100 * spread[0]:.2f} ± {100 * spread[1]:.2f}" if spread else "–"


if __name__ == "__main__":
    sys.exit(main())
