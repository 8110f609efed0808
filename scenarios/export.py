"""Export a run's global model again and verify it: `python -m scenarios.export RUN`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from core.config.scenario import Scenario
from core.data import load
from core.engines import default
from scenarios.closing import files
from scenarios.environment import temporary
from scenarios.terminal import Terminal, redirect
from server import checkpoint, run_folder, versions
from server.export import export, verify
from server.record import plain


def main(argv: list[str] | None = None) -> int:
    """Write model.* and export.json from the current version, or else from the newest checkpoint of a run that has none yet;
    print what was found. Exit code 1 if one is refused."""
    p = argparse.ArgumentParser(prog="python -m scenarios.export", description=__doc__)
    p.add_argument("run", type=Path, metavar="RUN", help="a run's folder, finished or not")
    p.add_argument("--check", action="store_true", help="write nothing: verify the files that are there")
    p.add_argument("--json", action="store_true", help="print export.json on one line instead of the table")
    args = p.parse_args(argv)
    with ExitStack() as stack:
        try:
            scenario = Scenario.read(args.run / run_folder.SCENARIO)
            if not args.check:
                stack.enter_context(run_folder.driven(args.run))
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


def _export(args: argparse.Namespace, scenario: Scenario, terminal: Terminal) -> int:
    default(scenario)  # TensorFlow's one thread
    state, _ = checkpoint.newest(args.run)
    if state is None or (args.check and not (args.run / "model.keras").exists()):
        terminal.say(f"{args.run} has no {'model.keras' if state else 'checkpoint'} yet")
        return 1
    data = load(scenario)
    version = versions.current(args.run)
    if args.check:
        exports = verify(args.run, data)
    elif version:
        exports = export(versions.weights(version), scenario, data, version)
        versions.publish(args.run, version)
    else:
        exports = export(state.arrays, scenario, data, args.run)
    source = f"version {int(version.name)}, the current one" if version else f"the checkpoint of round {state.round}"
    terminal.line(json.dumps(plain(exports))) if args.json else terminal.print(files(exports, source))
    return 1 if exports.refused else 0


if __name__ == "__main__":
    sys.exit(main())
