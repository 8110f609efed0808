"""What the article claims and what we find, a row a claim: `python -m tests.bench.claims runs/centralized-0`.

The first four are read from the studies `claims-accuracy`, `claims-norm`, `claims-deformed`, `claims-ablation`, whose table.json
lie in --studies; one that is not finished is named with its command. The fifth, quantization, is measured here on the files of a
finished run: bytes, accuracy, and milliseconds of one image on one thread, in turn with float TFLite, with the compiled
`tf.function`, and with Keras called as a function and by `predict`.

Differences are of runs with the same seed; mean ± sample standard deviation over seeds (number of seeds). A verdict needs the whole
95 % interval of the mean, by Student's t.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.safe_json import read_object
from scenarios.environment import prepare
from scenarios.studies.pairs import half_width
from scenarios.studies.tables import lined
from tests.bench import measure
from tests.bench.measure import Facts, Tell

CLAIMED = {"accuracy": 0.992, "speed-up": 40.0, "deformed": 12.0, "smaller": 4.0, "faster": 3.0}
INT8, FLOAT, COMPILED = "model.int8.tflite", "model.tflite", "tf.function"
EAGER, PREDICT = "Keras, called", "Keras, predict"
FACTORS = ("dropout", "l2", "halving")
HEAD = ("claim", "measured", "spread", "verdict")
OPEN = "no value"


@dataclass(frozen=True)
class Found:
    """One line of the table."""

    claim: str
    values: Sequence[float]  # one a seed, or a repeat
    unit: str
    verdict: Callable[[float, float], str]  # of the mean and of half the width of its 95 % interval
    digits: int = 2
    more: str = ""  # what else should be known

    def row(self) -> list[str]:
        """As it is shown."""
        if not self.values:
            return [self.claim, OPEN, "", self.more]
        mean, count = statistics.mean(self.values), len(self.values)
        deviation = statistics.stdev(self.values) if count > 1 else 0.0
        average = f"{mean:+.{self.digits}f}" if "points" in self.unit else f"{mean:.{self.digits}f}"
        spread = f"± {deviation:.{self.digits}f} ({count})" if count > 1 else f"({count})"
        measured = f"{average} {self.unit}" + (f"; {self.more}" if self.more else "")
        return [self.claim, measured, spread, self.verdict(mean, half_width(self.values))]


def at_least(claimed: float) -> Callable[[float, float], str]:
    """Is the mean as much, with its whole 95 % interval? Where that leaves it open, is even zero within it?"""

    def verdict(mean: float, half: float) -> str:
        if mean - half >= claimed:
            return "holds"
        if mean + half < claimed:
            return f"does not hold ({claimed:g})"
        return f"open: {claimed:g} within the 95 % interval" + (", and 0" if mean <= half else "")

    return verdict


def helps(mean: float, half: float) -> str:
    """Is a difference of accuracy clear of zero by its 95 % interval?"""
    if abs(mean) <= half:
        return "no effect shown"
    return "helps" if mean > 0 else "harms"


# ── from the studies ──


class Cells:
    """The finished cells of a study: each one's measures by row, column, seed. None finished: there are none."""

    def __init__(self, studies: Path, name: str) -> None:
        self.command = f"python -m scenarios.study {name}"
        file = studies / name / "table.json"
        page: dict[str, Any] = read_object(file) if file.is_file() else {"cells": []}
        self.cells = {(one["row"], one["column"], one["seed"]): one for one in page["cells"]}

    def values(self, row: str, column: str, measure: str) -> dict[int, float]:
        """By seed."""
        found = {seed: one.get(measure) for (r, c, seed), one in self.cells.items() if (r, c) == (row, column)}
        return {seed: value for seed, value in found.items() if value is not None}

    def pairs(self, row: str, other: str, column: str, measure: str) -> list[tuple[float, float]]:
        """Of the seeds that both have."""
        mine, its = self.values(row, column, measure), self.values(other, column, measure)
        return [(mine[seed], its[seed]) for seed in mine if seed in its]


def studied(studies: Path) -> Iterator[Found]:
    """The claims that the studies are of."""
    accuracy, norm, deformed = (Cells(studies, f"claims-{name}") for name in ("accuracy", "norm", "deformed"))
    for row in ("no augmentation", "augmentation"):
        values = [100 * value for value in accuracy.values(row, "20 epochs", "accuracy").values()]
        claimed = at_least(100 * CLAIMED["accuracy"])
        yield Found(f"99.2 % after 20 epochs, {row}", values, "%", claimed, more=_open(values, accuracy))
    for column in ("centralized", "federated"):
        pairs = norm.pairs("batch norm", "no norm", column, "examples_to_98_validation")
        saved = [100 * (1 - mine / its) for mine, its in pairs]
        finished = len(norm.pairs("batch norm", "no norm", column, "accuracy"))
        fewer = f"{len(saved)} of {finished} seeds got there with both" if len(saved) < finished else ""
        yield Found(
            f"batch norm: 40 % fewer steps to 98 % of the validation images, {column}", saved, "% fewer",
            at_least(CLAIMED["speed-up"]), 0, fewer or _open(saved, norm),
        )  # fmt: skip
    for row in ("augmentation", "as deformed"):
        gains = [100 * (a - b) for a, b in deformed.pairs(row, "no augmentation", "deformed", "accuracy")]
        name = "augmentation" if row == "augmentation" else "augmentation of the same kind"
        claimed = at_least(CLAIMED["deformed"])
        yield Found(f"{name} adds 12 points on deformed digits", gains, "points", claimed, more=_open(gains, deformed))
    yield from ablated(Cells(studies, "claims-ablation"))


def ablated(cells: Cells) -> Iterator[Found]:
    """What each of the four adds, as a mean over all combinations of the other three, seed by seed."""
    rows = {row: set(row.split("+")) & set(FACTORS) for row, _, _ in cells.cells}
    column = next(iter({column for _, column, _ in cells.cells}), "")
    ways = ("accuracy", "stopped")  # without early stopping, and with it
    named = dict(zip(FACTORS, ("dropout 0.5", "L2 0.001", "rate halved after 3"), strict=True))
    for factor, name in named.items():
        sides = [
            (with_, without, way, way)
            for with_, mine in rows.items() if factor in mine
            for without, its in rows.items() if its == mine - {factor}
            for way in ways
        ]  # fmt: skip
        yield _effect(f"{name} helps", cells, column, sides, 2 ** (len(FACTORS) - 1) * len(ways))
    sides = [(row, row, "stopped", "accuracy") for row in rows]
    yield _effect("early stopping after 5, best weights restored, helps", cells, column, sides, 2 ** len(FACTORS))


def _effect(claim: str, cells: Cells, column: str, sides: list[tuple[str, str, str, str]], count: int) -> Found:
    """Of the seeds for which all combinations are finished."""
    by_seed: dict[int, list[float]] = {}
    for with_, without, one, other in sides:
        mine, its = cells.values(with_, column, one), cells.values(without, column, other)
        for seed in mine.keys() & its.keys():
            by_seed.setdefault(seed, []).append(100 * (mine[seed] - its[seed]))
    whole = [statistics.mean(differences) for differences in by_seed.values() if len(differences) == count]
    return Found(claim, whole, "points", helps, more=_open(whole, cells))


def _open(values: Sequence[float], cells: Cells) -> str:
    return "" if values else f"`{cells.command}`"


# ── quantization ──


def timings(tell: Tell, folder: Path, run: str, repeats: int) -> None:
    """The child: tell bytes and accuracy of the run's files, and so many times the milliseconds of all contenders."""
    prepare()
    from core.config.scenario import Scenario
    from core.data import load as images
    from core.predict import compiled, floats, load
    from server.export import check

    base = Path(run)
    test = images(Scenario.read(base / "scenario.json")).test
    x = floats(test.x)
    model = _keras(base / "model.keras")
    contenders = {
        COMPILED: compiled(model),
        EAGER: lambda one: model(one, training=False).numpy(),
        PREDICT: lambda one: model.predict(one, verbose=0),
        **{name: load(base / name) for name in (FLOAT, INT8)},
    }
    facts = {
        name: {"bytes": (base / name).stat().st_size, "accuracy": _accuracy(check.ask(contenders[name], x), test.y)}
        for name in (FLOAT, INT8)
    }
    for _ in range(repeats):
        tell({"files": facts, "ms": {name: one.latency_ms for name, one in check.latencies(contenders, x).items()}})


def _keras(file: Path) -> Any:
    import keras

    return keras.saving.load_model(file, compile=False)


def _accuracy(probabilities: Any, labels: Any) -> float:
    return float((probabilities.argmax(1) == labels).mean())


def quantized(repeats: Sequence[Facts]) -> Iterator[Found]:
    """The claims of the int8 file."""
    files = repeats[-1]["files"]
    lost = 100 * (files[INT8]["accuracy"] - files[FLOAT]["accuracy"])
    size = f"{files[FLOAT]['bytes'] / 1000:.0f} kB against {files[INT8]['bytes'] / 1000:.0f}, {lost:+.2f} points"
    smaller = [files[FLOAT]["bytes"] / files[INT8]["bytes"]]
    yield Found("int8 is 4 times smaller than float TFLite", smaller, "times", at_least(CLAIMED["smaller"]), 2, size)
    for name in (FLOAT, COMPILED, EAGER, PREDICT):
        other = "float TFLite" if name == FLOAT else name
        times = [one["ms"][name] / one["ms"][INT8] for one in repeats]
        mine, its = (statistics.median(one["ms"][key] for one in repeats) for key in (INT8, name))
        both = f"{mine:.3f} ms against {its:.3f}"
        yield Found(f"int8 is 3 times faster than {other}", times, "times", at_least(CLAIMED["faster"]), 1, both)


def main() -> None:
    """The command."""
    p: argparse.ArgumentParser = measure.parser("claims", __doc__)
    p.add_argument("run", nargs="?", type=Path, help="a finished run's folder; without it, quantization is left out")
    p.add_argument("--studies", type=Path, default=Path("runs/studies"), help="where the studies are (%(default)s)")
    args = p.parse_args()
    found = list(studied(args.studies))
    if args.run:
        run = str(args.run.absolute())
        print(
            f"timing five ways to read an image, {args.repeats} times; Keras takes a minute each time …",
            file=sys.stderr,
        )
        found += quantized(list(measure.child("tests.bench.claims:timings", run=run, repeats=args.repeats)))
    print(lined(HEAD, [one.row() for one in found]))
    print(f"\n{measure.machine()}")


if __name__ == "__main__":
    measure.run(main)
