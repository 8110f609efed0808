"""Which SGD step serves the centralized baseline of a preset best: `python -m tests.bench.central_rate noniid`.

Each rate trains on the pooled data, on seeds that no result is reported on; what counts is the lowest validation loss. The best
belongs into the preset as `centralized_rate`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from scenarios.experiment import baselines
from scenarios.experiment.baselines.centralized import centralized
from scenarios.presets import SCENARIOS

SEEDS = (100, 101)
RATES = (0.01, 0.02, 0.03, 0.05, 0.1)


def main() -> None:
    """A line a rate."""
    p = argparse.ArgumentParser(prog="python -m tests.bench.central_rate", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    p.add_argument("preset", choices=SCENARIOS)
    p.add_argument("--rates", type=float, nargs="+", default=RATES)
    p.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    args = p.parse_args()
    for rate in args.rates:
        losses = [_loss(args.preset, rate, seed) for seed in args.seeds]
        shown = ", ".join(f"{loss:.4f}" for loss in losses)
        print(f"rate {rate:g}: validation loss {statistics.mean(losses):.4f} ({shown})", flush=True)


def _loss(preset: str, rate: float, seed: int) -> float:
    """The lowest of a training's rounds; infinity if there is none."""
    scenario = replace(SCENARIOS[preset][0], seed=seed, centralized_rate=rate)
    with tempfile.TemporaryDirectory() as folder:
        points = list(centralized(baselines.reduced(scenario, "centralized"), Path(folder)))
    return min((point.validation_loss for point in points if point.validation_loss is not None), default=float("inf"))


if __name__ == "__main__":
    main()
