"""Export a run's global model again and verify it: `python -m scenarios.export RUN`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from scenarios.environment import prepare


def main(argv: list[str] | None = None) -> int:
    """Write model.* and export.json from the current version, or else from the newest checkpoint of a run that has none yet;
    print what was found. Exit code 1 if one is refused."""
    prepare()
    p = argparse.ArgumentParser(prog="python -m scenarios.export", description=__doc__)
    p.add_argument("run", type=Path, metavar="RUN", help="a run's folder, finished or not")
    p.add_argument("--check", action="store_true", help="write nothing: verify the files that are there")
    p.add_argument("--json", action="store_true", help="print export.json on one line instead of the table")
    args = p.parse_args(argv)
    if not (args.run / "scenario.json").exists():
        p.exit(2, f"{p.prog}: {args.run} is not a run (no scenario.json)\n")

    from core.data import load
    from core.scenario import Scenario
    from scenarios.closing import files
    from scenarios.terminal import Terminal, redirect
    from server import checkpoint, versions
    from server.export import export, verify

    terminal = Terminal()
    redirect(args.run / "run.log")
    from core.engines import tensorflow as engine

    engine.one_thread()
    scenario = Scenario.of((args.run / "scenario.json").read_text())
    state, _ = checkpoint.newest(args.run)
    if state is None or (args.check and not (args.run / "model.keras").exists()):
        terminal.say(f"{args.run} has no {'model.keras' if state else 'checkpoint'} yet")
        return 1
    data = load(scenario)
    place = versions.current(args.run)
    if args.check:
        facts = verify(args.run, data)
    elif place:
        facts = export(versions.weights(place), scenario.model, data, place)
        versions.publish(args.run, place)
    else:
        facts = export(state.arrays, scenario.model, data, args.run)
    source = f"version {int(place.name)}, the current one" if place else f"the checkpoint of round {state.round}"
    terminal.line(json.dumps(facts)) if args.json else terminal.print(files(facts, source))
    return 1 if facts["refused"] else 0


if __name__ == "__main__":
    sys.exit(main())
