"""What a client's round costs with each method, on both engines: `python -m tests.bench.methods`.

One client of `class_incremental` in its second task, with the memory of its first; a round is a client's whole `learn`, warm. The
engines take turns in every repeat.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from statistics import median

from rich.console import Console
from rich.table import Table

from clients.learner import learn
from clients.sources.simulated import shard
from core.config.part import Part
from core.engines import Engine, default, get, step, step_file
from core.methods import METHODS
from core.models import of
from fl.messages import Task
from scenarios.presets.continual import CLASS_INCREMENTAL

FIRST, SECOND = 1, 6  # a round of the first task, one of the second


def main() -> None:
    """Print a line for each method."""
    p = argparse.ArgumentParser(prog="python -m tests.bench.methods", description=__doc__)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--only", nargs="*", choices=METHODS, default=list(METHODS), metavar="METHOD", help="these methods")
    args = p.parse_args()
    file = step_file.build(of(CLASS_INCREMENTAL), CLASS_INCREMENTAL.local.batch)
    engines = {
        "tensorflow": default(CLASS_INCREMENTAL),
        "litert": get("litert", of(CLASS_INCREMENTAL), file, step.digest(file)),
    }
    table = Table(title=f"seconds of a client's warm round, median of {args.repeats}", title_justify="left")
    for name in ("method", *engines, "litert / tensorflow"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for method in args.only:
        spent = measured(method, engines, args.repeats)
        ratio = median(slow / fast for fast, slow in zip(spent["tensorflow"], spent["litert"], strict=True))
        table.add_row(method, *(f"{median(seconds):.3f}" for seconds in spent.values()), f"{ratio:.2f}")
    Console(highlight=False).print(table)


def measured(method: str, engines: dict[str, Engine], repeats: int) -> dict[str, list[float]]:
    """Seconds of each repeat, by engine."""
    scenario = replace(CLASS_INCREMENTAL, methods=(Part(method),))
    mine, start = shard(scenario.json(), 0), of(scenario).initial(0)
    memories = {
        name: learn(mine, Task(scenario, FIRST, 0, 0.05, start), {}, engine)[1] for name, engine in engines.items()
    }
    spent: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(repeats + 1):
        for name, engine in engines.items():
            begun = time.perf_counter()
            learn(mine, Task(scenario, SECOND, 0, 0.05, start), memories[name], engine)
            if number:  # the first traces and loads
                spent[name].append(time.perf_counter() - begun)
    return spent


if __name__ == "__main__":
    main()
