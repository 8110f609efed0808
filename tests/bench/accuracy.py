"""What the real command reaches: accuracy, the centralized baseline's, the gap between them, and seconds in all.

Runs `python -m scenarios.run NAME --seed S` for every name and seed, one after another, into a temporary folder.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scenarios.presets import SCENARIOS
from tests.bench import measure

COLUMNS = ("scenario", "seed", "accuracy", "centralized", "gap, points", "seconds")
Line = tuple[float, float, float, float]  # accuracy %, centralized %, gap in points, seconds


def once(name: str, seed: int, changes: Sequence[str], folder: Path) -> Line:
    """One run of the command."""
    flags = [word for change in changes for word in ("--set", change)]
    out = ["--out", str(folder / f"{name}-{seed}")]
    command = ["-m", "scenarios.run", name, "--seed", str(seed), "--json", *out, *flags]
    (facts,) = measure.lines(sys.executable, *command)
    accuracy, seconds = 100 * facts["accuracy"], facts["seconds"]["total"]
    pooled = 100 * facts["baselines"].get("centralized", float("nan"))
    measure.say(f"{name}, seed {seed}: {accuracy:.2f} %, centralized {pooled:.2f} %, {seconds:.0f} s")
    return accuracy, pooled, pooled - accuracy, seconds


def rows(name: str, lines: dict[int, Line]) -> list[list[str]]:
    """A row a seed, then mean ± sample standard deviation over seeds."""
    shown: list[list[Any]] = [[name, str(seed), *_texts(line)] for seed, line in lines.items()]
    if len(lines) > 1:
        columns = np.array(list(lines.values()))
        both = zip(_texts(columns.mean(0)), _texts(columns.std(0, ddof=1)), strict=True)
        shown.append([name, "all", *(f"{m} ± {s}" for m, s in both)])
    return shown


def _texts(line: Any) -> list[str]:
    return [f"{line[0]:.2f}", f"{line[1]:.2f}", f"{line[2]:.2f}", f"{line[3]:.0f}"]


def main() -> None:
    """The command."""
    p = measure.parser("accuracy", __doc__)
    p.add_argument("--names", nargs="+", default=["mild", "iid"], choices=list(SCENARIOS), help="(%(default)s)")
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(%(default)s)")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="passed on to every run")
    args = p.parse_args()
    shown = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name in args.names:
            shown += rows(name, {seed: once(name, seed, args.set, Path(folder)) for seed in args.seeds})
    title = "real runs, accuracy in per cent" + (f", with {' '.join(args.set)}" if args.set else "")
    measure.table(title, COLUMNS, shown)


if __name__ == "__main__":
    measure.run(main)
