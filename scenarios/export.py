"""Export a run's global model and verify it: `python -m scenarios.export RUN [--to FORMAT …]`.

What is written is checked on every test image against Keras; a file that falls short is refused by name, and kept as
FILE.refused. Each says inside what goes in and comes out, its labels, and which run and version it is of.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from contextlib import ExitStack
from pathlib import Path

from core import plugins
from core.arrays import Arrays
from core.config.scenario import Scenario
from core.data import load
from core.engines import default
from core.text import printable
from scenarios.closing import files
from scenarios.environment import temporary
from scenarios.terminal import Terminal, redirect
from server import checkpoint, run_folder, versions
from server.export import EXPORTERS, STANDARD, android, export, verify
from server.record import Exports, plain
from server.report.renew import renew

TARGETS = {exporter.target: file for file, exporter in EXPORTERS.items()}
EXAMPLES = """examples:
  python -m scenarios.export runs/noniid-0                            the files that every run leaves, written and checked again
  python -m scenarios.export runs/noniid-0 --to all                   every format
  python -m scenarios.export runs/noniid-0 --to tflite-int4 savedmodel   these beside those that are there
  python -m scenarios.export runs/class_incremental-0 --version 2     of an older version, into its own folder
  python -m scenarios.export runs/noniid-0 --android app              what an Android app needs: model, labels, vectors, Kotlin
  python -m scenarios.export runs/noniid-0 --check                    write nothing, check what is there
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m scenarios.export", description=__doc__, epilog=EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("run", type=Path, metavar="RUN", help="a run's folder, finished or not")
    p.add_argument(
        "--to", nargs="+", choices=[*TARGETS, "all"], default=[], metavar="FORMAT",
        help=f"write these too: {', '.join(TARGETS)} or all (those that are there, and at least {_names(STANDARD)})",
    )  # fmt: skip
    p.add_argument("--version", type=int, metavar="N", help="of this version, in RUN/versions/N (the current one)")
    p.add_argument(
        "--android", type=Path, metavar="DIR",
        help="write what an Android app needs into this folder: the model that takes bytes, labels, golden vectors, Kotlin sources",
    )  # fmt: skip
    p.add_argument(
        "--plugin", action="append", default=[], metavar="MODULE", dest="plugins",
        help="a module, or a .py file, that the run's own pieces come from; may be repeated",
    )  # fmt: skip
    p.add_argument("--check", action="store_true", help="write nothing: verify the files that are there")
    p.add_argument("--json", action="store_true", help="print export.json on one line instead of the table")
    return p


def main(argv: list[str] | None = None) -> int:
    """Write model.* and export.json from the current version, or else from the newest checkpoint of a run that has none yet;
    print what was found. Exit code 1 if one is refused."""
    printable()
    p = parser()
    args = p.parse_args(argv)
    if args.check and (args.to or args.android):
        p.error("--check writes nothing: give no --to and no --android with it")
    with ExitStack() as stack:
        try:
            plugins.use(*args.plugins)
            scenario = Scenario.read(args.run / run_folder.SCENARIO)
            if args.android:
                android.check(args.android)  # before anything is written
            if not args.check:
                stack.enter_context(run_folder.driver_lock(args.run))
                stack.enter_context(temporary(args.run / run_folder.TEMPORARY))
            terminal = Terminal()
            redirect(Path(os.devnull) if args.check else args.run / run_folder.LOG)
        except FileNotFoundError:
            p.exit(2, f"{p.prog}: {args.run} is not a run (no scenario.json)\n")
        except (ValueError, OSError) as error:
            p.exit(2, f"{p.prog}: {error}\n")
        try:
            return _export(args, scenario, terminal)
        except (ValueError, OSError) as error:
            terminal.fail(f"{p.prog}: {error}")
            return 2
        except Exception as error:  # a library's: its own words went to the log, or nowhere
            traceback.print_exc()
            terminal.fail(f"{p.prog}: {type(error).__name__}: {error}")
            return 2


def _names(file_names: tuple[str, ...]) -> str:
    return ", ".join(EXPORTERS[file].target for file in file_names)


def _export(args: argparse.Namespace, scenario: Scenario, terminal: Terminal) -> int:
    default(scenario)  # TensorFlow's one thread
    version = versions.current(args.run) if args.version is None else versions.by_number(args.run, args.version)
    state, _ = checkpoint.newest(args.run)
    folder = args.run if args.version is None else version or args.run
    if (state is None and version is None) or (args.check and not (folder / "model.keras").exists()):
        terminal.say(f"{folder} has no {'model.keras' if state or version else 'checkpoint'} yet")
        return 1
    weights = versions.weights(version) if version else state.arrays if state else []
    exports = verify(folder, load(scenario)) if args.check else _written(args, scenario, version, weights)
    which = ", the current one" if version and version == versions.linked(args.run) else ""
    source = (
        f"version {int(version.name)}{which}" if version else f"the checkpoint of round {state.round}" if state else ""
    )
    terminal.line(json.dumps(plain(exports))) if args.json else terminal.print(files(exports, source))
    if args.android:
        app_files = android.save(folder, load(scenario).test, scenario.seed, args.android)
        terminal.say(f"{args.android}: {', '.join(file.name for file in app_files)}")
    return 1 if exports.refused else 0


def _written(args: argparse.Namespace, scenario: Scenario, version: Path | None, weights: Arrays) -> Exports:
    """Write what was asked for, beside what is there, and make the current version's files the run's own."""
    folder = version or args.run
    requested = set(TARGETS.values()) if "all" in args.to else {TARGETS[name] for name in args.to}
    wanted = {*STANDARD, *requested, *(file for file in EXPORTERS if (folder / file).exists())}
    exports = export(weights, scenario, load(scenario), folder, wanted, versions.origin(args.run, version))
    if version and version == versions.linked(args.run):
        versions.publish(args.run, version)
        renew(args.run, exports=exports)
    return exports


if __name__ == "__main__":
    sys.exit(main())
