"""A whole comparison in one table: `python -m scenarios.table split-mnist`. Finished runs are kept, so it can be stopped
at any time and goes on where it was."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from core.config.parse import unknown
from core.config.scenario import Scenario
from scenarios.columns import tables
from scenarios.studies.aggregate import Line, grid, markdown, results, shares, summary
from scenarios.studies.run_all import fill
from scenarios.studies.split_mnist import ALPHAS, IMAGES, PACES, SEEDS, SPLIT, Cell, cells
from scenarios.terminal import piped
from server import record, run_folder
from server.record import Report
from server.report.figures.memory import MemoryPoint, against_memory
from server.run_folder import driven

EXAMPLES = """examples:
  python -m scenarios.table split-mnist                                 everything: some hours on two cores
  python -m scenarios.table split-mnist --seeds 1                       a first look: every cell once
  python -m scenarios.table split-mnist --only replay,derpp --images 200 --alpha 1.0 --pace sync
  python -m scenarios.table split-mnist --finished                      the table of what is finished, without running
  python -m scenarios.table split-mnist --only derpp --show             the settings of these runs, as JSON

--show is that of scenarios.run: settings as JSON, and nothing runs. The table of what is there is --finished.
"""


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
            for folder, error in fill(scenarios, out / run_folder.LOG, workers):
                cell = left[folder]
                report = results([cell], out).get(cell)
                if report is None:
                    failed += 1
                    screen.print(f"{cell.name}: failed: {error}; see {out / 'run.log'}", markup=False, soft_wrap=True)
                else:
                    screen.print(_finished(cell, report), soft_wrap=True)
                progress.advance(bar)
        except KeyboardInterrupt:
            screen.print("stopped; the same command goes on where it was")
            return 130
    return 1 if failed else 0


def _finished(cell: Cell, report: Report) -> str:
    lost = report.continual.measures.forgetting if report.continual else 0.0
    spent = report.seconds.get("total", 0.0)
    return f"{cell.name}: {100 * (report.accuracy or 0):.2f} %, forgot {100 * lost:.2f} points ({spent:.0f} s)"


def _clear(folder: Path, cell: Cell) -> None:
    """Take away what another protocol left there."""
    file = folder / run_folder.SCENARIO
    if folder.exists() and (not file.exists() or Scenario.read(file) != cell.scenario()):
        shutil.rmtree(folder)
    record.write(file, cell.scenario().page())


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


def parser() -> argparse.ArgumentParser:
    """The command line."""
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
    p.add_argument("--finished", action="store_true", help="run nothing; show the table of what is finished")
    p.add_argument("--show", action="store_true", help="print the settings of every run wanted as JSON and stop")
    return p


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    p = parser()
    args = p.parse_args(argv)
    if args.workers < 1 or args.seeds < 1 or min(args.images) < 1:
        p.exit(2, f"{p.prog}: --workers, --seeds and --images should be 1 or more\n")
    wanted = cells(args.only, args.images, args.alpha, args.pace, args.seeds)
    if args.show:
        with piped():
            print(json.dumps({cell.name: json.loads(cell.scenario().json()) for cell in wanted}, indent=1))
        return 0
    try:
        with driven(args.out):
            return _filled(args, wanted, Console(stderr=True, highlight=False))
    except ValueError as error:
        p.exit(2, f"{p.prog}: {error}\n")


def _filled(args: argparse.Namespace, wanted: Sequence[Cell], screen: Console) -> int:
    """Run what is wanted, then show all that is there."""
    code = 0 if args.finished else _run(wanted, args.out, args.workers, screen)
    lines = summary(results(list(dict.fromkeys([*cells(), *wanted])), args.out))
    if not lines:
        screen.print(f"nothing is finished in {args.out} yet")
        return code or 1
    _show(lines, args.out)
    return code


def _show(lines: Sequence[Line], out: Path) -> None:
    """The table, on standard output; beside it as Markdown, as JSON, and the picture of accuracy against memory."""
    screen, (head, rows) = Console(highlight=False, markup=False), grid(lines)
    title = "test accuracy ± deviation over seeds / forgetting, points (number of seeds)"
    for table in tables(head, rows, screen.width, title):
        screen.print(table)
    record.write(out / "table.md", markdown(head, rows))
    record.write(out / "table.json", json.dumps([record.plain(one) for one in lines], indent=1) + "\n")
    points = [
        MemoryPoint(
            one.method, f"{one.pace}, Dirichlet {one.alpha:g}", one.memory_bytes / 1000, *shares(one), len(one.seeds)
        )
        for one in lines
    ]
    picture = against_memory(points, out, "Federated Split-MNIST")
    screen.print(f"written: {out / 'table.md'}, {out / 'table.json'}, {picture}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
