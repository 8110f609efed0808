"""What leaves a run: size, accuracy, parity and speed of every exported file, as server.export measures them.

Of a finished run's folder, or of a model trained here for an epoch of all training images. Latency is of one image, one
thread, median and 95th percentile of calls in turn with TensorFlow's own compiled graph, which the speed-up compares with.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from typing import Any

from core.config.scenario import Local, Scenario
from scenarios.environment import prepare
from tests.bench import measure
from tests.bench.measure import Facts, Tell


def reports(tell: Tell, folder: Path, run: str | None, repeats: int) -> None:
    """The child: tell what `server.export.verify` says, so many times."""
    prepare()
    from core.data import load
    from server.export import export, verify
    from server.record import plain

    if run:
        base = Path(run)
        data = load(Scenario.of((base / "scenario.json").read_text()))
    else:
        scenario, base = Scenario("export", local=Local(epochs=1, rate=0.1)), folder / "run"
        data = load(scenario)
        export(_trained(scenario, data), scenario, data, base)
    for _ in range(repeats):
        tell(plain(verify(base, data)))


def _trained(scenario: Scenario, data: Any) -> Any:
    import numpy as np

    from core.plan import Lesson, Pull, Rehearsal, draw
    from tests.models import engine, initial

    start = initial(scenario.seed)
    plain = np.zeros((len(data.train), 0), np.float32)
    lesson = Lesson(0, start, data.train, plain, client=0, round=1, rate=scenario.local.rate, scenario=scenario)
    return engine.train(start, draw(lesson, Pull.none(start), Rehearsal.none())).weights


def rows(repeats: list[Facts]) -> list[list[str]]:
    """A row a file; what does not vary from turn to turn is taken from the last."""
    base = [t["baselines"]["tf.function"] for t in repeats]
    shown = [["tf.function", "", "", "", "", *_times(base), "1.00"]]
    for name, fact in repeats[-1]["files"].items():
        turns = [t["files"][name] for t in repeats if name in t["files"]]
        marks = [f"{fact['bytes'] / 1000:,.0f}", f"{100 * fact['accuracy']:.2f} %", f"{fact['difference']:.1e}"]
        agreement = f"{100 * fact['agreement']:.2f} %"
        shown.append([name, *marks, agreement, *_times(turns), measure.spread([t["speedup"] for t in turns])])
    return shown + [[name, f"REFUSED: {why}"] for name, why in repeats[-1]["refused"].items()]


def _times(turns: list[Facts]) -> list[str]:
    return [f"{median(turn[name] for turn in turns):.3f}" for name in ("latency_ms", "latency_p95_ms")]


def main() -> None:
    """The command."""
    p: argparse.ArgumentParser = measure.parser("export", __doc__)
    p.add_argument("run", nargs="?", type=Path, help="a finished run's folder; without it, a model is trained here")
    args = p.parse_args()
    run = str(args.run.absolute()) if args.run else None
    repeats = list(measure.child("tests.bench.export:reports", run=run, repeats=args.repeats))
    columns = ("file", "kB", "accuracy", "difference", "agreement", "ms", "ms, 95 %", "speed-up")
    measure.table(f"exports, {repeats[-1]['images']:,} test images", columns, rows(repeats))


if __name__ == "__main__":
    measure.run(main)
