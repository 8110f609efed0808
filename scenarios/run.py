"""Run a scenario: `python -m scenarios.run noniid`. `--help` shows how, `--list` shows what."""

from __future__ import annotations

from scenarios import interrupts

if __name__ == "__main__":
    interrupts.in_a_line()

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from core import plugins
from core.config.scenario import Scenario
from core.text import piped, printable
from scenarios import seeds, trackers
from scenarios.check import check, listing
from scenarios.deployment import flwr_cli
from scenarios.experiment.continuation import rollback
from scenarios.experiment.options import CHOICES, RunOptions, backend, remembered
from scenarios.experiment.start import run
from scenarios.overrides import parsed
from scenarios.presets import BASELINES, SCENARIOS
from scenarios.request import RUNS, located, possible, wanted
from server import run_folder

EXAMPLES = """examples:
  python -m scenarios.run noniid                              the default experience: about five minutes on two cores
  python -m scenarios.run noniid --set partition.alpha=0.05   more skew
  python -m scenarios.run noniid --set partition=labels --set partition.k=1
  python -m scenarios.run noniid --set strategy=fedprox --set strategy.mu=0.1 --seed 3
  python -m scenarios.run noniid --seeds 3                    three seeds, one picture with their spread; goes on after Ctrl-C
  python -m scenarios.run iid --set augment=none --set local.epochs=2 --rounds 10
  python -m scenarios.run class_incremental --set methods=replay --set softmax=masked
  python -m scenarios.run noniid --track tensorboard+mlflow   curves, settings and pictures in TensorBoard and MLflow, too
  python -m scenarios.run --resume runs/noniid-0              go on after Ctrl-C, SIGTERM or a crash
  python -m scenarios.run iid --set 'digits=[0,1,2,3,4,5,6,7]' --set methods=replay
  python -m scenarios.run iid --set 'digits=[8,9]' --set methods=replay --from runs/iid-0    new digits for that finished run
  python -m scenarios.run --rollback runs/iid-0-2/versions/1  take an older version back
  RAY_ADDRESS=HOST:PORT python -m scenarios.run noniid        on a Ray cluster
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m scenarios.run", description="Run a federated-learning scenario on real MNIST, with pictures at the end.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    p.add_argument("name", nargs="?", help=f"the scenario: {', '.join(SCENARIOS)}")
    p.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting; may be repeated"
    )
    p.add_argument("--seed", type=int, help="all randomness follows from it (0)")
    p.add_argument(
        "--seeds", type=int, metavar="N", help="N runs, of this seed and those after it, then all in one picture"
    )
    p.add_argument(
        "--engine", help="who carries out clients' steps: tensorflow, or litert (needs no TensorFlow on a client)"
    )
    p.add_argument("--rounds", type=int, help="federated rounds")
    p.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="workers of one core each (all cores)")
    p.add_argument(
        "--backend",
        choices=CHOICES["backend"],
        default=backend(),
        help="where clients run: processes (this machine's), ray (actors; the default if RAY_ADDRESS is set), local (this one)",
    )
    p.add_argument("--out", type=Path, metavar="DIR", help="folder for what the run leaves (runs/<name>-<seed>)")
    p.add_argument("--resume", type=Path, metavar="RUN", help="go on with an interrupted run's folder")
    p.add_argument("--from", type=Path, metavar="RUN", dest="source",
                   help="start from a finished run's current model and its clients' memories (no NAME: its scenario)")  # fmt: skip
    p.add_argument("--rollback", type=Path, metavar="RUN/versions/N", help="make that version its run's current one")
    p.add_argument("--baselines", choices=CHOICES["baselines"],
                   help="what to compare with: pooled data; all: plain FedAvg, each client alone, joint of streams too "
                   "(centralized; all of noniid)")  # fmt: skip
    p.add_argument("--export", choices=CHOICES["export"],
                   help="make and verify the files of all versions, the current one, or none (current)")  # fmt: skip
    p.add_argument("--plugin", action="append", default=[], metavar="MODULE", dest="plugins",
                   help="a module, or a .py file, with pieces of your own (docs/extending.md); may be repeated")  # fmt: skip
    p.add_argument("--track", type=lambda names: names.split("+"), action="extend", default=[], metavar="NAME[+NAME]",
                   help=f"trackers that see the run too: {', '.join(trackers.TRACKERS)}; may be repeated")  # fmt: skip
    p.add_argument("--quiet", action="store_true", help="no progress, no table")
    p.add_argument("--json", action="store_true", help="one line of JSON on standard output instead of the table")
    p.add_argument("--profile", action="store_true", help="show where the time went, by phase and by process")
    p.add_argument("--list", action="store_true", help="show every scenario, partition, strategy, … with its meaning")
    p.add_argument("--show", action="store_true", help="print the scenario's settings as JSON and stop")
    return p


def main(
    argv: list[str] | None = None,
    federation: Path | None = None,
    ready: Callable[[Scenario], list[str]] = lambda scenario: [],
) -> int:
    """The command; returns its exit code. For scenarios.deploy: federation is the home of real nodes, and ready says what to
    know of them before a run begins, or raises ValueError if none can."""
    printable()
    p = parser()
    p.prog = "python -m scenarios.deploy run" if federation else p.prog
    args = p.parse_args(argv)
    try:
        if args.plugins and federation:
            why = f"the server and every node must know it: set {plugins.VARIABLE} where `up` and they are started"
            raise ValueError(f"--plugin is not for real nodes: {why}")
        plugins.use(*args.plugins)
        if args.list:
            return _list()
        if args.rollback:
            return _rollback(args, p)
        scenario, folder = _wanted(args, federation is not None)
        options = _options(args, scenario.name, folder, federation)
        notes = check(scenario) if args.show else [*possible(scenario, options), *ready(scenario)]
    except ValueError as error:
        p.exit(2, f"{p.prog}: {error}\n")
    except OSError as error:
        p.exit(2, f"{p.prog}: {str(error.filename)[:200]}: {error.strerror}\n")
    for note in [] if args.quiet else notes:
        print(f"note: {note}", file=sys.stderr)
    if args.show:
        with piped():
            print(scenario.page(), end="")
        return 0
    try:
        if args.seeds:
            return seeds.run(scenario, folder, options, range(scenario.seed, scenario.seed + args.seeds))
        return run(scenario, folder, options)
    except ValueError as error:
        p.exit(2, f"{p.prog}: {error}\n")


def _rollback(args: argparse.Namespace, p: argparse.ArgumentParser) -> int:
    alone = [f"--rollback={args.rollback}", *(w for name in args.plugins for w in ("--plugin", name))]
    if vars(args) != vars(p.parse_args(alone)):
        raise ValueError("--rollback runs nothing: give no other option with it, but --plugin")
    print(rollback(located(args.rollback)))
    return 0


def _options(args: argparse.Namespace, name: str, folder: Path, federation: Path | None) -> RunOptions:
    """How to run; what nobody names is as it was when the run was begun, if it is resumed, else as is usual for this scenario."""
    usual = {
        "baselines": "none" if federation else BASELINES.get(name, RunOptions.baselines),
        "export": RunOptions.export,
    }
    usual |= remembered(folder) if args.resume else {}
    chosen = usual | {key: value for key in usual if (value := getattr(args, key))}
    names = ("workers", "backend", "source", "quiet", "json", "profile")
    return RunOptions(
        **{name: getattr(args, name) for name in names}, **chosen, federation=federation, plugins=tuple(args.plugins),
        track=tuple(dict.fromkeys(args.track)),
    )  # fmt: skip


def _list() -> int:
    for kind, entries in listing().items():
        table = Table(title=kind, title_justify="left", box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, meaning in entries.items():
            table.add_row(f"  {name}", meaning.replace("[", r"\["))
        Console(highlight=False).print(table, "")
    return 0


def _wanted(args: argparse.Namespace, real: bool = False) -> tuple[Scenario, Path]:
    """The scenario and the folder that the command line asks for. Raises ValueError if they make no sense."""
    if args.resume:
        return _resumed(args, real)
    args.source = located(args.source) if args.source else None
    changes = [parsed(text) for text in args.set]
    options = [(key, str(value)) for key in ("seed", "rounds", "engine") if (value := getattr(args, key)) is not None]
    for key, value in options:
        if dict(changes).get(key, value) != value:
            raise ValueError(
                f"--{key} {value} and --set {key}={dict(changes)[key]} contradict each other: give one of them"
            )
    changes += options
    scenario = wanted(args.name, changes, args.source, real)
    if args.seeds is not None:
        return scenario, _of_seeds(args, scenario, real)
    if args.out:
        if args.out.exists() and not args.out.is_dir():
            raise ValueError(f"--out {args.out} is a file; name a folder that is empty, or not there")
        if args.out.exists() and any(args.out.iterdir()):
            hint = (
                f", or go on with --resume {shlex.quote(str(args.out))}"
                if (args.out / run_folder.SCENARIO).exists()
                else ""
            )
            raise ValueError(f"--out {args.out} is not empty; choose another{hint}")
        return scenario, args.out
    return scenario, run_folder.free_name(RUNS / f"{scenario.name}-{scenario.seed}")


def _of_seeds(args: argparse.Namespace, scenario: Scenario, real: bool) -> Path:
    """Where runs of several seeds go; the same command again goes on there."""
    if args.seeds < 1:
        raise ValueError(f"--seeds {args.seeds} should be 1 or more")
    if real or args.source or args.json or not args.name:
        raise ValueError("--seeds is for a preset's own runs on this computer: not with --from, --json or real nodes")
    return args.out or RUNS / f"{scenario.name}-{scenario.seed}-to-{scenario.seed + args.seeds - 1}"


def _resumed(args: argparse.Namespace, real: bool) -> tuple[Scenario, Path]:
    folder = located(args.resume)
    if (folder / run_folder.CHECKPOINTS).exists() and real != (
        folder / run_folder.ID
    ).exists():  # the name by which nodes know it
        where = "this computer" if real else "real nodes"
        command = flwr_cli.resume(args.resume, None if real else flwr_cli.home(folder))
        raise ValueError(f"--resume {args.resume}: its clients' memories are on {where}; use: {command}")
    changed = any(getattr(args, key) is not None for key in ("seed", "rounds", "engine"))
    if args.name or args.set or args.out or args.source or args.seeds or changed:
        raise ValueError(
            "--resume goes on with the run's own scenario: give no name, --set, --seed, --seeds, --rounds, --engine, --from, --out"
        )
    try:
        return Scenario.read(folder / run_folder.SCENARIO), folder
    except FileNotFoundError:
        raise ValueError(f"--resume {args.resume}: no run there (no readable scenario.json)") from None


if __name__ == "__main__":
    sys.exit(main())
