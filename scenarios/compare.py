"""One table and one plot over runs, mean and spread over seeds: `python -m scenarios.compare RUN RUN …`."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Facts = dict[str, Any]


def main(argv: list[str] | None = None) -> int:
    """Print the table, draw compare.png."""
    p = argparse.ArgumentParser(prog="python -m scenarios.compare", description=__doc__)
    p.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folders of finished runs; equal settings are seeds of one"
    )
    p.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where compare.png goes (here)")
    p.add_argument("--json", action="store_true", help="one line of JSON a group instead of the table")
    args = p.parse_args(argv)
    try:
        reports = [_read(run) for run in args.runs]
    except ValueError as error:
        p.exit(2, f"{p.prog}: {error}\n")
    from server.plots.compare import compare, grouped

    args.out.mkdir(parents=True, exist_ok=True)
    picture = compare(reports, args.out)
    rows = [summary(name, group) for name, group in grouped(reports).items()]
    if args.json:
        print("\n".join(json.dumps(row) for row in rows))
    else:
        Console(highlight=False).print(_table(rows))
        print(f"drawn: {picture}")
    return 0


def _read(run: Path) -> Facts:
    try:
        facts: Facts = json.loads((run / "report.json").read_text())
    except (OSError, ValueError):
        raise ValueError(f"{run} is not a finished run (no readable report.json)") from None
    if not facts.get("history"):
        raise ValueError(f"{run} has no finished round")
    return facts


def summary(name: str, group: Sequence[Mapping[str, Any]]) -> Facts:
    """Mean and spread (sample standard deviation) of one group."""
    own = [min(s["accuracy"] for s in r["shards"]) for r in group if r.get("shards")]
    row: Facts = {"runs": name, "seeds": sorted(r["seed"] for r in group)}
    row["accuracy"] = _spread([r["accuracy"] for r in group])
    for kind in ("centralized", "local"):
        row[kind] = _spread([r["baselines"][kind] for r in group if kind in r["baselines"]])
    row["worst client"] = _spread(own)
    row["examples"] = statistics.mean(r["history"][-1]["seen"] for r in group)
    row["seconds"] = statistics.mean(r["seconds"]["total"] for r in group)
    return row


def _spread(values: list[float]) -> list[float] | None:
    """[mean, standard deviation], the latter 0 for one value; None for none."""
    return [statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0] if values else None


def _table(rows: list[Facts]) -> Table:
    table = Table(title="test accuracy, % (mean ± standard deviation over seeds)", title_justify="left")
    for name in ("runs", "seeds", "federated", "centralized", "local", "worst client", "examples", "seconds"):
        table.add_column(name, justify="left" if name == "runs" else "right", overflow="fold")
    for row in rows:
        shown = [_percent(row[k]) for k in ("accuracy", "centralized", "local", "worst client")]
        seeds = ", ".join(map(str, row["seeds"]))
        table.add_row(row["runs"], seeds, *shown, f"{row['examples']:,.0f}", f"{row['seconds']:.0f}")
    return table


def _percent(spread: list[float] | None) -> str:
    return f"{100 * spread[0]:.2f} ± {100 * spread[1]:.2f}" if spread else "–"


if __name__ == "__main__":
    sys.exit(main())
