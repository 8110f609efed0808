"""Is the baseline a ceiling, whatever partition it is given? `python -m tests.bench.stability`.

`mild`'s centralized baseline on eight partitions and three seeds: its accuracy at the end, and in its best round by validation
loss. A training that breaks, or learns what misleads, ends below what it once was. Results are kept in --out, and go on there;
one takes about three minutes on a core.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from core.config.scenario import Scenario
from scenarios.experiment import baselines
from scenarios.presets import SCENARIOS

PARTITIONS = {
    "iid": ["partition=iid"],
    "Dirichlet 0.05": ["partition=dirichlet", "partition.alpha=0.05"],
    "Dirichlet 0.3": ["partition=dirichlet", "partition.alpha=0.3"],
    "1 label": ["partition=labels", "partition.k=1"],
    "2 labels": ["partition=labels", "partition.k=2"],
    "3 labels": ["partition=labels", "partition.k=3"],
    "shards": ["partition=shards"],
    "quantity": ["partition=quantity"],
}
MOST = 0.01  # that the last weights may be below the best


def main() -> int:
    """The command. Exit code 1 if a baseline's last weights are more than a point below its best."""
    p = argparse.ArgumentParser(prog="python -m tests.bench.stability", description=__doc__)
    p.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="where the results are kept (runs)")
    p.add_argument("--workers", type=int, default=2, help="baselines at a time, each on one core (2)")
    p.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 to N - 1 (3)")
    args = p.parse_args()
    seeds = range(args.seeds)
    cells = [(name, seed) for seed in seeds for name in PARTITIONS]
    with ThreadPoolExecutor(args.workers) as pool:
        results = dict(zip(cells, pool.map(lambda cell: _result(*cell, args.out), cells), strict=True))
    table = Table(title="centralized baselines, test accuracy in % (at the end / best round by validation loss)")
    table.add_column("partition")
    for seed in seeds:
        table.add_column(f"seed {seed}", justify="right", no_wrap=True)
    table.add_column("most below its best, points", justify="right")
    worst = 0.0
    for name in PARTITIONS:
        mine = [results[name, seed] for seed in seeds]
        gap = max(one.best.accuracy - one.accuracy for one in mine if one.best)
        worst = max(worst, gap)
        shown = [f"{100 * r.accuracy:.2f} / {100 * r.best.accuracy:.2f} ({r.best.round})" for r in mine if r.best]
        table.add_row(name, *shown, f"{100 * gap:.2f}")
    Console(highlight=False, width=110).print(table)
    return 1 if worst > MOST else 0


def _result(name: str, seed: int, out: Path) -> baselines.Result:
    """One baseline's result, made unless it is there."""
    changes = [text.partition("=")[::2] for text in PARTITIONS[name]]
    scenario: Scenario = SCENARIOS["mild"][0].with_(("seed", str(seed)), *changes)
    folder = baselines.cache_folder(scenario, "centralized", out)
    if not (folder / "result.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scenario.json").write_text(scenario.json())
        command = [
            sys.executable,
            "-m",
            "scenarios.experiment.baselines",
            "centralized",
            folder / "scenario.json",
            folder,
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=(folder / "log").open("wb"))
    result = baselines.result(folder)
    assert result
    top = result.best.accuracy if result.best else math.nan
    print(f"{name}, seed {seed}: {result.accuracy:.4f}, best {top:.4f}", file=sys.stderr, flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
