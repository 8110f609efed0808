"""What augmentation takes of a client's computing, in one thread.

Times `core.plan.draw` with and without augmentation, and `core.engines.tensorflow.train` on the plan; its share is the
difference of the two draws over draw and training. Looks cost nothing here: a client's are applied once, when it is loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.config.part import Part
from core.config.scenario import Scenario
from scenarios.environment import prepare
from scenarios.presets import SCENARIOS
from tests.bench import measure
from tests.bench.measure import Tell

SHARE = 15  # per cent that augmentation may take
TIMES = 20  # calls a turn, of which the median counts


def timed(tell: Tell, folder: Path, parts: list[list[Any]], images: int, repeats: int) -> None:
    """The child: tell, turn by turn, median seconds of a plain draw, an augmented one, and the training."""
    prepare(folder)
    from dataclasses import replace

    import numpy as np

    from core.data import load
    from core.plan import Lesson, Pull, Rehearsal, draw, strengths
    from tests.models import engine, initial

    start, plain = initial(0), Scenario("augment", train=images, test=100, validation=0)
    fancy = replace(plain, augment=tuple(Part(name, args) for name, args in parts))
    train = load(plain).train

    def plan(scenario: Scenario) -> Any:
        strength = np.tile(strengths(scenario.augment, 0, 0), (len(train), 1))
        lesson = Lesson(0, start, train, strength, client=0, round=1, rate=0.05, scenario=scenario)
        return draw(lesson, Pull.none(start), Rehearsal.none())

    made = plan(fancy)
    engine.train(start, made)  # traces the step
    for _ in range(repeats):
        calls = {"plain": lambda: plan(plain), "fancy": lambda: plan(fancy), "train": lambda: engine.train(start, made)}
        tell({name: _median(call) for name, call in calls.items()})


def _median(call: Callable[[], Any]) -> float:
    times = []
    for _ in range(TIMES):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[TIMES // 2]


def main() -> None:
    """The command."""
    p = measure.parser("augment", __doc__)
    p.add_argument("--images", type=int, nargs="+", default=[600, 60], help="images a client (%(default)s)")
    args = p.parse_args()
    rows = []
    for name, (scenario, _) in SCENARIOS.items():
        parts = [(part.name, dict(part.args)) for part in scenario.augment]
        for images in args.images if parts else ():
            function = "tests.bench.augment:timed"
            turns = list(measure.child(function, parts=parts, images=images, repeats=args.repeats))
            cost = [turn["fancy"] - turn["plain"] for turn in turns]
            shares = [100 * c / (turn["fancy"] + turn["train"]) for c, turn in zip(cost, turns, strict=True)]
            ms = [measure.spread([1000 * s for s in column]) for column in (cost, [t["train"] for t in turns])]
            rows.append([name, str(images), *ms, measure.spread(shares, " %"), f"< {SHARE} %"])
    columns = ("scenario", "images", "augment, ms", "train, ms", "share", "target")
    measure.table("augmentation in a client's round", columns, rows)


if __name__ == "__main__":
    measure.run(main)
