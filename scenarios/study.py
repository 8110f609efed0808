"""A comparison of many runs: `python -m scenarios.study strategies`, or over settings of your own. Finished runs are kept, so
it can be stopped at any time, and goes on where it was."""

from __future__ import annotations

from scenarios import interrupts

if __name__ == "__main__":
    interrupts.in_a_line()

import argparse
import json
import math
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from core import plugins
from core.config.parse import unknown
from core.config.scenario import Scenario
from core.text import piped, printable
from scenarios import needs
from scenarios.check import check
from scenarios.columns import tables
from scenarios.overrides import Change, changed, parsed
from scenarios.presets import SCENARIOS
from scenarios.studies import STUDIES, ad_hoc, output, results
from scenarios.studies.carry_out import Plan, Work, carried_out, finished, plan, timed, unseen
from scenarios.studies.estimate import FIRST
from scenarios.studies.measures import MEASURES
from scenarios.studies.one_run import BUSY, STOPPED
from scenarios.studies.outcome import Outcome
from scenarios.studies.pool import Ended, Pool
from scenarios.studies.study import Cell, Changes, Study, Trial
from scenarios.studies.tables import grid, shown_measures
from server import run_folder
from server.report.figures.formatting import duration

EXAMPLES = """examples:
  python -m scenarios.study --list                                      every study, and how large it is
  python -m scenarios.study strategies --plan                           what it will take; runs a few rounds to see
  python -m scenarios.study strategies                                  all of it: trials on other seeds, then the cells
  python -m scenarios.study split-mnist --rows finetune,'derpp 200' --columns 'sync Dirichlet 1' --seeds 1 --tune none
  python -m scenarios.study mild --over strategy=fedavg,scaffold --over partition.alpha=0.1,1 --seeds 5
  python -m scenarios.study noniid --over strategy=fedavg,fedprox --tune local.rate=0.01,0.03,0.1 --seeds 5
  python -m scenarios.study strategies --budget 60                      the most informative cells of an hour
  python -m scenarios.study strategies --finished                       the tables of what is finished, without running

The first row is what the others are compared with. Tuning looks at validation images only, on seeds that are not reported, with
as many trials for every row. --budget: trials first, then one seed of every cell, then a second one, then always a seed of that row
and column whose place is least sure: whose standard error is largest against its distance to the column's highest mean. No run is
started that would not end in time; the first rounds of a kind of run that was never timed come first, and may take longer. Results
are kept by settings and code: a result of other code is never used.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m scenarios.study", description=__doc__, epilog=EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("name", nargs="?", help=f"a study: {', '.join(STUDIES)}; or a scenario, with --over")
    p.add_argument("--over", action="append", default=[], metavar="KEY=A,B",
                   help="a setting's values: of the first one the rows, of others the columns; may be repeated")  # fmt: skip
    p.add_argument("--tune", action="append", default=[], metavar="KEY=A,B",
                   help="what is tried for every row before it is reported; none: nothing; may be repeated")  # fmt: skip
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                   help="change one setting of all runs; may be repeated")  # fmt: skip
    p.add_argument("--rows", type=_names, default=[], metavar="A,B", help="some of its rows")
    p.add_argument("--columns", type=_names, default=[], metavar="A,B", help="some of its columns")
    p.add_argument("--seeds", type=_seeds, default=(), metavar="N", help="seeds 0 … N-1; or these, by commas: 3,5")
    p.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="runs at a time, of one core each (all cores)"
    )
    p.add_argument("--out", type=Path, metavar="DIR", help="where its runs and tables go (runs/studies/<name>)")
    p.add_argument("--plan", action="store_true", help="how many runs, and how long they will take; then stop")
    p.add_argument("--budget", type=float, metavar="MINUTES", help="take so long, the most informative cells first")
    p.add_argument("--finished", action="store_true", help="run nothing; show the tables of what is finished")
    p.add_argument("--show", action="store_true", help="print the settings of every run as JSON and stop")
    p.add_argument("--list", action="store_true", help="show every study with its meaning and its size")
    p.add_argument("--plugin", action="append", default=[], metavar="MODULE", dest="plugins",
                   help="a module, or a .py file, with pieces of your own (docs/extending.md); may be repeated")  # fmt: skip
    return p


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _seeds(text: str) -> tuple[int, ...]:
    """How many, or which."""
    try:
        numbers = [int(part) for part in text.split(",") if part]
    except ValueError:
        numbers = []
    seeds = range(numbers[0]) if len(numbers) == 1 and "," not in text else numbers
    if not seeds or min(seeds) < 0:
        raise argparse.ArgumentTypeError(f"{text[:100]!r} should be how many, 1 or more, or which, by commas")
    return tuple(seeds)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    printable()
    p = parser()
    args = p.parse_args(argv)
    command = shlex.join(["python", "-m", "scenarios.study", *(sys.argv[1:] if argv is None else argv)])
    screen = Console(stderr=True, highlight=False, markup=False)
    try:
        plugins.use(*args.plugins)
        if args.list:
            return _list()
        if args.workers < 1 or (args.budget is not None and not args.budget > 0):
            raise ValueError("--workers should be 1 or more, --budget more than 0 minutes")
        study = wanted(args)
        if args.show:
            return _settings(study)
        needs.check("sim")
        work = Work(study, args.out or Path("runs/studies") / study.name)
        if args.finished:
            return _tables(work, command, args, screen)
        _possible(study)
        work.out.mkdir(parents=True, exist_ok=True)
        if args.plan:
            return _plan(work, args.workers, screen)
        code = _run(work, args, command, screen)
        tables_code = _tables(work, command, args, screen)
        return code or tables_code
    except ValueError as error:
        p.exit(2, f"{p.prog}: {error}\n")
    except OSError as error:
        p.exit(2, f"{p.prog}: {str(error.filename)[:200]}: {error.strerror}\n")
    except KeyboardInterrupt:  # while it plans, or writes tables; its pool, if it had one, is closed by now
        p.exit(130, "stopped; to go on, give the same command again\n")


def wanted(args: argparse.Namespace) -> Study:
    """The study that is asked for. Raises ValueError, naming the value and the choices."""
    if args.over:
        if args.name not in SCENARIOS:
            raise unknown("scenario", args.name or "", SCENARIOS)
        study = ad_hoc.study(SCENARIOS[args.name][0], args.over)
    elif not args.name:
        raise ValueError(f"which study? choose from {', '.join(STUDIES)}, or --list")
    elif args.name in STUDIES:
        study = STUDIES[args.name]()
    else:
        more = f"; {args.name} is a scenario: say over what, --over KEY=A,B" if args.name in SCENARIOS else ""
        raise ValueError(f"{unknown('study', args.name, STUDIES)}{more}")
    changes = [parsed(text) for text in args.set]
    base = changed(study.base, changes)
    for change in changes:
        if _idle(study, base, [one for one in changes if one != change]):
            why = "its rows, its columns, its tuning or --seeds set that for every run"
            raise ValueError(f"--set {'='.join(change)} would have no effect in study {study.name}: {why}")
    return ad_hoc.tuned(replace(study, base=base), args.tune).narrowed(args.rows, args.columns, args.seeds)


def _idle(study: Study, base: Scenario, others: Sequence[Change]) -> bool:
    """Are its runs from this base the same as with the other changes alone?"""
    try:
        without = changed(study.base, others)
        return base != without and _runs(replace(study, base=base)) == _runs(replace(study, base=without))
    except ValueError:  # these alone are impossible
        return False


def _possible(study: Study) -> None:
    """Raises ValueError if a row or a column cannot be run; not every cell is looked at."""
    first, seed = next(iter(study.rows)), study.seeds[0]
    cells = [Cell(row, next(iter(study.columns)), seed) for row in study.rows]
    for cell in [*cells, *(Cell(first, column, seed) for column in study.columns)]:
        try:
            check(study.scenario(cell, study.points(cell.row)[0]))
        except ValueError as error:
            raise ValueError(f"{cell}: {error}") from None
    for trial in study.trials():
        if not study.scenario(trial).validation:
            raise ValueError(f"{trial}: tuning needs validation > 0: it never looks at test images")
    _different(study)


def _different(study: Study) -> None:
    """Raises ValueError if two rows, or two columns, are the same runs: a pair of them would count as a comparison."""
    row, column, seed = next(iter(study.rows)), next(iter(study.columns)), study.seeds[0]
    for names, cells in (
        (study.rows, [Cell(name, column, seed) for name in study.rows]),
        (study.columns, [Cell(row, name, seed) for name in study.columns]),
    ):
        first = dict[tuple[str, tuple[Changes, ...]], str]()
        for name, cell in zip(names, cells, strict=True):
            settings = study.scenario(cell, study.points(cell.row)[0]).json(), study.points(cell.row)
            if first.setdefault(settings, name) != name:
                raise ValueError(f"{first[settings]} and {name} are the same runs")


def _list() -> int:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, make in STUDIES.items():
        study = make()
        cells = f"{len(study.rows)} rows × {len(study.columns)} columns × {len(study.seeds)} seeds, {len(study.trials())} trials"
        table.add_row(f"  {name}", study.meaning, cells)
    Console(highlight=False, markup=False).print(table)
    return 0


def _runs(study: Study) -> dict[str, Scenario]:
    """Every run; a tuned row's with the first point of its grid, as nothing has been chosen."""
    runs = {str(trial): study.scenario(trial) for trial in study.trials()}
    return runs | {str(cell): study.scenario(cell, study.points(cell.row)[0]) for cell in study.cells()}


def _settings(study: Study) -> int:
    with piped():
        print(json.dumps({name: json.loads(one.json()) for name, one in _runs(study).items()}, indent=1))
    return 0


# ── the plan ──


def _plan(work: Work, workers: int, screen: Console) -> int:
    """What is left, and how long it will take; where nothing is known, the first rounds of a run of each kind are run."""
    if count := len(unseen(work)):
        screen.print(f"timing the first {FIRST} rounds of {_kinds(count)} …")
        with closing(Pool(workers, work.out / run_folder.LOG)) as pool:
            for ended in timed(work, pool):
                if ended.state == "failed":
                    screen.print(f"{ended.error}; see {work.out / run_folder.LOG}", soft_wrap=True)
                    return 1
    for line in planned(plan(work), workers):
        Console(highlight=False, markup=False).print(line, soft_wrap=True)
    return 0


def planned(todo: Plan, workers: int) -> list[str]:
    """A plan in words."""
    estimates = todo.estimates
    lines = [
        f"cells: {todo.cells}, of them {todo.cells_finished} finished",
        f"trials: {todo.trials}, of them {todo.trials_finished} finished",
    ]
    if todo.processor is None:
        return [*lines, "nothing is known of how long the rest will take"]
    hours = todo.processor / 3600
    how = "about" if estimates.count else "at least"  # first rounds say little of what a run's start and end take
    time_left = f"{how} {duration(todo.wall(workers))} with {workers} workers, and some seconds until they have started"
    wall = time_left if hours else "nothing is left"
    lines.append(f"left: {hours:.3g} processor hours; {wall}")
    basis = f"{estimates.count} finished runs, " if estimates.count else ""
    kinds = f"{_kinds(len(estimates.kinds))} (model, batch, engine, strategy, methods, softmax, augmentation)"
    return [*lines, f"from: {basis}the rounds of {kinds}"]


def _kinds(count: int) -> str:
    return f"{count} kind{'s' * (count != 1)} of runs"


# ── running ──


def _run(work: Work, args: argparse.Namespace, command: str, screen: Console) -> int:
    """Run what is not finished, a line each. Returns the exit code."""
    todo = plan(work)
    for line in planned(todo, args.workers):
        screen.print(line, soft_wrap=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(28), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    began = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM):  # whatever the shell that started this has ignored
        signal.signal(number, signal.default_int_handler)
    with Progress(*columns, console=screen) as progress:
        done = todo.cells_finished + todo.trials_finished
        bar = progress.add_task("runs", total=todo.cells + todo.trials, completed=done, left=_time_left(todo, args))

        def show(ended: Ended, entries: Sequence[Cell | Trial]) -> None:
            screen.print(_ended(ended, entries, work.out / run_folder.LOG), soft_wrap=True)
            progress.update(bar, advance=len(entries), left=_time_left(plan(work), args, time.monotonic() - began))

        try:
            with closing(Pool(args.workers, work.out / run_folder.LOG)) as pool:
                failed = _all(work, pool, args.budget, show, screen)
            progress.update(bar, left="")
        except KeyboardInterrupt:
            screen.print(
                f"stopped; what is finished is kept, and this goes on where it was:\n{command}", soft_wrap=True
            )
            return 130
        except RuntimeError as error:
            screen.print(f"stopped: {error}", soft_wrap=True)
            return 1
    return 1 if failed else 0


def _all(
    work: Work, pool: Pool, budget: float | None, show: Callable[[Ended, Sequence[Cell | Trial]], None], screen: Console
) -> int:
    """Run what is not finished; how many failed."""
    failed = 0
    try:
        for ended, entries in carried_out(work, pool, budget):
            if ended.state not in (BUSY, STOPPED):
                failed += not finished(ended)
                show(ended, entries)
    except KeyboardInterrupt:
        screen.print("runs end the round that they are in; Ctrl-C again ends them at once")
        raise
    return failed


def _time_left(todo: Plan, args: argparse.Namespace, spent: float = 0.0) -> str:
    """Trials are shorter than cells, so time is not in proportion to how many are left. spent: seconds of --budget."""
    if not todo.processor:
        return ""
    seconds = min(todo.wall(args.workers), math.inf if args.budget is None else max(0.0, 60 * args.budget - spent))
    return f"about {duration(seconds)} left"


def _ended(ended: Ended, entries: Sequence[Cell | Trial], log: Path) -> str:
    names = ", ".join(map(str, entries)) or ended.folder.name
    result = results.load(ended.folder)
    if not result:
        return f"{names}: failed: {ended.error}; see {log}"
    failures = f"; {result.failures} replies or rounds failed, the first: {result.failure}" if result.failures else ""
    if all(isinstance(one, Trial) for one in entries):
        share = 100 * (result.validation_accuracy or 0)
        return f"{names}: validation {share:.2f} % ({result.seconds:.0f} s){failures}"
    return f"{names}: {100 * (result.accuracy or 0):.2f} % ({result.seconds:.0f} s){failures}"


# ── showing ──


def _tables(work: Work, command: str, args: argparse.Namespace, screen: Console) -> int:
    """The tables, on standard output; and everything in files. 1 if nothing is finished."""
    outcome = work.outcome()
    rerun = command.replace(" --finished", "")
    if not outcome.results:
        screen.print(f"no cell is finished in {work.out} yet; this goes on:\n{rerun}", soft_wrap=True)
        return 1
    for name in shown_measures(outcome):
        _table(outcome, name)
    files = output.write(outcome, work.out, rerun, work.code, tuple(args.plugins))
    if missing := outcome.missing:
        names = "; ".join(map(str, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        screen.print(f"missing: {names}; this goes on:\n{rerun}", soft_wrap=True)
    file_names = ", ".join(f"{one.name} (.svg, .csv)" if one.suffix == ".png" else one.name for one in files)
    Console(highlight=False, markup=False).print(f"written to {work.out}: {file_names}", soft_wrap=True)
    return 0


def _table(outcome: Outcome, name: str) -> None:
    screen, (head, rows) = Console(highlight=False, markup=False), grid(outcome, name)
    title = f"{MEASURES[name].head}, mean ± deviation over seeds (number of seeds)"
    for table in tables(["row", *head[1:]], rows, screen.width, title):
        screen.print(table)


if __name__ == "__main__":
    sys.exit(main())
