"""A whole comparison in one table: `python -m scenarios.table split-mnist`. Finished runs are kept, so it can be stopped
at any time and goes on where it was."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from core.metrics import behind
from core.scenario import Part, Scenario, unknown
from scenarios import SCENARIOS
from scenarios.compare import spread
from scenarios.environment import prepare

Facts = dict[str, Any]
EXAMPLES = """examples:
  python -m scenarios.table split-mnist                                 everything: some hours on two cores
  python -m scenarios.table split-mnist --seeds 1                       a first look: every cell once
  python -m scenarios.table split-mnist --only replay,derpp --images 200 --alpha 1.0 --pace sync
  python -m scenarios.table split-mnist --show                          the table of what is finished, without running
"""


@dataclass(frozen=True)
class Row:
    """A method as the table compares it."""

    method: str
    keeps: bool = False  # does it keep images, so that the memory budgets apply?
    softmax: str = "plain"


SPLIT = {
    "finetune": Row("finetune"),
    "lwf": Row("lwf"),
    "ewc": Row("ewc"),
    "si": Row("si"),
    "fedcurv": Row("fedcurv"),
    "agem": Row("agem", keeps=True),
    "der": Row("der", keeps=True),
    "replay": Row("replay", keeps=True),
    "derpp": Row("derpp", keeps=True),
    "derpp-balanced": Row("derpp", keeps=True, softmax="balanced"),
    "acil": Row("acil"),
    "slda": Row("slda"),
    "joint": Row("joint"),
}
IMAGES = (50, 200)  # a client's memory, where a method keeps images
BYTES = 789  # of an image with its label and its key
ALPHAS = (1.0, 0.1)  # Dirichlet: some skew, much skew
PACES = {"sync": (0.0, 0.0), "async": (1.0, 0.5)}  # Scenario.order and .lag
SEEDS = 5


@dataclass(frozen=True)
class Cell:
    """One run of the table."""

    row: str
    images: int
    alpha: float
    pace: str
    seed: int

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{self.row}-{self.images}-dirichlet{self.alpha:g}-{self.pace}-{self.seed}"

    def scenario(self) -> Scenario:
        """The protocol with this cell's settings: the preset class_incremental, of which nothing else changes."""
        row, base = SPLIT[self.row], SCENARIOS["class_incremental"][0]
        order, lag = PACES[self.pace]
        # Equal bytes, not equal images: what DER keeps beside each image takes the place of some.
        budget = {"images": 0, "kilobytes": self.images * BYTES / 1000}
        return replace(
            base,
            name=f"{self.row}{f' {self.images}' if self.images else ''}",
            seed=self.seed,
            partition=Part("dirichlet", {"alpha": self.alpha}),
            methods=(Part(row.method, budget if row.keeps else {}),),
            softmax=Part(row.softmax),
            probe=0,
            order=order,
            lag=lag,
        )


def cells(
    only: Sequence[str] = (), images: Sequence[int] = IMAGES, alphas: Sequence[float] = ALPHAS,
    paces: Sequence[str] = tuple(PACES), seeds: int = SEEDS,
) -> list[Cell]:  # fmt: skip
    """The runs of the table, a seed at a time, so that a table that is stopped early compares like with like."""
    return [
        Cell(row, count, alpha, pace, seed)
        for seed in range(seeds)
        for pace in paces
        for alpha in alphas
        for row in only or SPLIT
        for count in (images if SPLIT[row].keeps else (0,))
    ]


class Quiet:
    """Watches a run for nobody, and stops it when the event is set or whoever wanted the table is gone."""

    def __init__(self, stop: Event, parent: int) -> None:
        self.stop, self.parent = stop, parent

    def stopped(self) -> bool:
        return self.stop.is_set() or os.getppid() != self.parent

    def replied(self, round: int, done: int, of: int) -> None: ...
    def ended(self, facts: Mapping[str, Any]) -> None: ...


def work(scenario: str, folder: Path) -> None:
    """Run a scenario in its folder, from its newest checkpoint; leave its report alone. In a process of the pool."""
    from scenarios.simulate import local
    from server import app

    folder.mkdir(parents=True, exist_ok=True)
    environment, built = prepare(folder), Scenario.of(scenario)
    local(app.build(built, folder, Quiet(*_watched)), built, 1, environment)
    if (folder / "report.json").exists():
        for left in ("clients", "checkpoints", "versions"):
            shutil.rmtree(folder / left, ignore_errors=True)


def _begin(stop: Event, log: Path) -> None:
    """A process of the pool: Ctrl-C is the parent's to hear; what libraries say goes to a file."""
    from scenarios.terminal import redirect

    global _watched
    _watched = (stop, os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    redirect(log)


_watched: tuple[Event, int]


def fill(wanted: Mapping[Path, Scenario], log: Path, workers: int) -> Iterator[tuple[Path, Exception | None]]:
    """Carry out what is wanted, in parallel; yield each folder as it ends, with what went wrong. Stops at Ctrl-C."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(stop, log))
    try:
        asked = {pool.submit(work, one.json(), folder): folder for folder, one in wanted.items()}
        for done in as_completed(asked):
            error = done.exception()
            yield asked[done], error if isinstance(error, Exception) else None
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def results(wanted: Sequence[Cell], runs: Path) -> dict[Cell, Facts]:
    """What is finished of it: its scenario must be the one that is wanted, not one of an older protocol."""
    found = {}
    for cell in wanted:
        file = runs / cell.name / "report.json"
        if file.exists():
            facts = json.loads(file.read_text())
            if Scenario.of(json.dumps(facts["settings"])) == cell.scenario():
                found[cell] = facts
    return found


def summary(found: Mapping[Cell, Facts]) -> list[Facts]:
    """A line for each method, memory, skew and pace: mean and standard deviation over seeds, in points."""
    groups: dict[tuple[str, int, float, str], dict[int, Facts]] = {}
    for cell, facts in found.items():
        groups.setdefault((cell.row, cell.images, cell.alpha, cell.pace), {})[cell.seed] = facts
    lines = []
    for (row, images, alpha, pace), seeds in groups.items():
        joint = groups.get(("joint", 0, alpha, pace), {})
        measures = [facts["continual"]["measures"] for facts in seeds.values()]
        others = joint if row != "joint" else {}
        gaps = [behind(one["continual"], others[s]["continual"]["matrix"]) for s, one in seeds.items() if s in others]
        lines.append({
            "method": row, "images": images, "alpha": alpha, "pace": pace, "seeds": sorted(seeds),
            "accuracy": _points([facts["accuracy"] for facts in seeds.values()]),
            "forgetting": _points([one["forgetting"] for one in measures]),
            "incremental": _points([one["incremental_accuracy"] for one in measures]),
            "intransigence": _points(gaps),
            "memory_bytes": max(facts["continual"]["memory_bytes"] for facts in seeds.values()),
            "megabytes_received": statistics.mean(facts["continual"]["megabytes"]["received"] for facts in seeds.values()),
        })  # fmt: skip
    return lines


def _points(shares: Sequence[float]) -> list[float] | None:
    """[mean, standard deviation] in points (scenarios.compare.spread)."""
    return spread([100 * share for share in shares])


def grid(lines: Sequence[Facts]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a row a method and memory, a column a pace and skew; accuracy ± deviation, and what was forgotten."""
    columns = [(pace, alpha) for pace in PACES for alpha in ALPHAS if any(_at(lines, pace, alpha))]
    head = ["method", "memory a client", *(f"{pace}, Dirichlet {alpha:g}" for pace, alpha in columns)]
    rows = []
    order = list(SPLIT)
    for row, images in sorted(
        {(one["method"], one["images"]) for one in lines}, key=lambda k: (order.index(k[0]), k[1])
    ):
        mine = [one for one in lines if (one["method"], one["images"]) == (row, images)]
        told = [next((one for one in mine if (one["pace"], one["alpha"]) == column), None) for column in columns]
        held = f"{max(one['memory_bytes'] for one in mine) / 1000:,.0f} kB"
        rows.append([f"{row}, {images} images" if images else row, held, *map(_shown, told)])
    return head, rows


def _at(lines: Sequence[Facts], pace: str, alpha: float) -> list[Facts]:
    return [one for one in lines if (one["pace"], one["alpha"]) == (pace, alpha)]


def _shown(one: Facts | None) -> str:
    if one is None:
        return "–"
    accuracy, lost = one["accuracy"], one["forgetting"]
    deviation = f" ± {accuracy[1]:.1f}" if len(one["seeds"]) > 1 else ""
    return f"{accuracy[0]:.1f}{deviation} / {lost[0]:.1f} ({len(one['seeds'])})"


def _shares(one: Facts) -> tuple[float, float]:
    return one["accuracy"][0] / 100, one["accuracy"][1] / 100


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table as README files take it."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _run(wanted: Sequence[Cell], out: Path, workers: int, screen: Console) -> int:
    """Run what is not finished, a line each. Returns the exit code."""
    left = {out / cell.name: cell for cell in wanted if cell not in results([cell], out)}
    for folder, cell in left.items():
        _clear(folder, cell)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    failed = 0
    for number in (signal.SIGINT, signal.SIGTERM):  # whatever the shell that started this has ignored
        signal.signal(number, signal.default_int_handler)
    with Progress(*columns, console=screen) as progress:
        bar = progress.add_task("runs", total=len(wanted), completed=len(wanted) - len(left))
        try:
            scenarios = {folder: cell.scenario() for folder, cell in left.items()}
            for folder, error in fill(scenarios, out / "run.log", workers):
                cell = left[folder]
                told = results([cell], out).get(cell)
                if told is None:
                    failed += 1
                    screen.print(f"{cell.name}: failed: {error}; see {out / 'run.log'}", markup=False, soft_wrap=True)
                else:
                    lost = 100 * told["continual"]["measures"]["forgetting"]
                    seconds = sum(told["seconds"].values())
                    screen.print(
                        f"{cell.name}: {100 * told['accuracy']:.2f} %, forgot {lost:.2f} points ({seconds:.0f} s)",
                        soft_wrap=True,
                    )
                progress.advance(bar)
        except KeyboardInterrupt:
            screen.print("stopped; the same command goes on where it was")
            return 130
    return 1 if failed else 0


def _clear(folder: Path, cell: Cell) -> None:
    """Take away what another protocol left there."""
    file, told = folder / "scenario.json", json.loads(cell.scenario().json())
    if folder.exists() and (not file.exists() or Scenario.of(file.read_text()) != cell.scenario()):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(told, indent=1) + "\n")


def _list(kind: Callable[[str], Any], choices: Any = None) -> Callable[[str], list[Any]]:
    """An argument of several values, by commas."""

    def read(text: str) -> list[Any]:
        try:
            values = [kind(part) for part in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} should be {kind.__name__}s, by commas") from None
        if wrong := [value for value in values if choices and value not in choices]:
            raise argparse.ArgumentTypeError(f"{unknown('value', str(wrong[0]), map(str, choices))}")
        return values

    return read


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    prepare()
    p = argparse.ArgumentParser(
        prog="python -m scenarios.table", description=__doc__, epilog=EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("protocol", choices=("split-mnist",), help="what to compare on")
    p.add_argument("--only", type=_list(str, SPLIT), default=list(SPLIT), metavar="METHODS",
                   help=f"some methods, by commas: {', '.join(SPLIT)}")  # fmt: skip
    p.add_argument(
        "--images", type=_list(int), default=list(IMAGES), metavar="N,N", help="images a client may keep (50,200)"
    )
    p.add_argument(
        "--alpha", type=_list(float, ALPHAS), default=list(ALPHAS), metavar="A,A", help="Dirichlet skew (1.0,0.1)"
    )
    p.add_argument("--pace", type=_list(str, PACES), default=list(PACES), metavar="P,P",
                   help="sync: all clients in one order; async: each in its own, and late (sync,async)")  # fmt: skip
    p.add_argument("--seeds", type=int, default=SEEDS, help=f"seeds 0 … N-1 ({SEEDS})")
    p.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="runs at a time, of one core each (all cores)"
    )
    p.add_argument(
        "--out", type=Path, default=Path("runs/split-mnist"), metavar="DIR", help="where the runs and the table go"
    )
    p.add_argument("--show", action="store_true", help="run nothing; show what is finished")
    args = p.parse_args(argv)
    if args.workers < 1 or args.seeds < 1 or min(args.images) < 1:
        p.exit(2, f"{p.prog}: --workers, --seeds and --images should be 1 or more\n")
    wanted = cells(args.only, args.images, args.alpha, args.pace, args.seeds)
    args.out.mkdir(parents=True, exist_ok=True)
    screen = Console(stderr=True, highlight=False)
    code = 0 if args.show else _run(wanted, args.out, args.workers, screen)
    lines = summary(
        results(list(dict.fromkeys([*cells(), *wanted])), args.out)
    )  # all that is there, whatever was wanted now
    if not lines:
        screen.print(f"nothing is finished in {args.out} yet")
        return code or 1
    head, rows = grid(lines)
    table = Table(
        title="test accuracy ± deviation over seeds / forgetting, points (number of seeds)", title_justify="left"
    )
    for place, name in enumerate(head):
        table.add_column(name, justify="right" if place else "left")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)
    (args.out / "table.md").write_text(markdown(head, rows))
    (args.out / "table.json").write_text(json.dumps(lines, indent=1) + "\n")
    from server.plots.memory import Held, against_memory

    points = [
        Held(one["method"], f"{one['pace']}, Dirichlet {one['alpha']:g}", one["memory_bytes"] / 1000, *_shares(one))
        for one in lines
    ]
    picture = against_memory(points, args.out)
    Console(highlight=False).print(
        f"written: {args.out / 'table.md'}, {args.out / 'table.json'}, {picture}", soft_wrap=True
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
