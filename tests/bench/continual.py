"""What continual methods cost: seconds per gradient example of a client's round, as a ratio to plain fine-tuning.

One client of `class_incremental` in its second task, with the memory of its first. Methods take turns in every repeat, and
fine-tuning takes as many gradient examples as the method (more passes), so what is compared is the method alone. A round
is everything a client does but for Flower's messages: views drawn, steps, the memory renewed and written.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from core.config.part import Part

METHODS = ("replay", "der", "derpp", "agem", "ewc", "si", "fedssi", "lwf", "fedcurv")
FIRST, SECOND = 1, 6  # a round of the first task, one of the second


def main() -> None:
    """Print a line for each method."""
    p = argparse.ArgumentParser(prog="python -m tests.bench.continual", description=__doc__)
    p.add_argument("--repeats", type=int, default=9)
    p.add_argument("--json", action="store_true", help="one line of JSON")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ratios = measured(args.repeats, Path(folder))
    spreads = {name: [statistics.median(r), min(r), max(r)] for name, r in ratios.items()}
    if args.json:
        print(json.dumps(spreads))
        return
    print(f"cost of a gradient example against plain fine-tuning, median of {args.repeats} (least to most)")
    for name, (middle, low, high) in spreads.items():
        print(f"{name:8s} {middle:5.2f} ×  ({low:.2f} to {high:.2f})")


def measured(repeats: int, home: Path) -> dict[str, list[float]]:
    """The ratios of each repeat."""
    from clients import memory
    from clients.learner import learn
    from clients.sources.simulated import shard
    from fl.messages import Task
    from scenarios.presets.continual import CLASS_INCREMENTAL as SCENARIO
    from tests.models import engine, initial

    plain = replace(SCENARIO, methods=(Part("finetune"),))
    mine, start = shard(SCENARIO.json(), 0), initial(0)

    def spent(method: str, epochs: float | None = None) -> tuple[float, int]:
        """Seconds of a round in the second task, and its gradient examples."""
        scenario = replace(plain, methods=(Part(method),))
        _, kept = learn(mine, Task(scenario, FIRST, 0, 0.05, start), {}, engine)
        longer = replace(scenario, local=replace(scenario.local, epochs=epochs or scenario.local.epochs))
        begun = time.perf_counter()
        done, kept = learn(mine, Task(longer, SECOND, 0, 0.05, start), kept, engine)
        memory.save(memory.home(home, 0), SECOND, kept)
        return time.perf_counter() - begun, done.sums.examples

    examples = {method: spent(method)[1] for method in METHODS}  # and every step is traced
    once = spent("finetune")[1]
    ratios: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(repeats):
        for method in METHODS:
            base, seen = spent("finetune", epochs=examples[method] / once)
            own, took = spent(method)
            ratios[method].append((own / took) / (base / seen))
    return ratios


if __name__ == "__main__":
    main()
