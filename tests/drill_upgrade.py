"""A federation is upgraded while it lives: `python -m tests.drill_upgrade REV` (ten minutes; loopback).

A SuperLink and two nodes of the code of REV learn a run with replay. Then the server's code is this one: it goes on from that run
(`run --continue`) with the old nodes, whose devices are told in the report what to do; they are restarted with this code, one after
another, and it goes on once more. Nothing is lost: the weights are those of simulations that went on alike, to the last bit.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scenarios.deployment import processes

CODE = Path(__file__).parents[1]
PORT, NODES = 8900, 2
SETTINGS = [
    "train=600",
    "test=300",
    "validation=60",
    f"clients={NODES}",
    f"cohort={NODES}",
    "local.batch=16",
    "methods=replay",
]
OLD = "runs other code than the server sent"


def main() -> int:
    """The command."""
    p = argparse.ArgumentParser(
        prog="python -m tests.drill_upgrade", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("rev", metavar="REV", help="the commit whose code the federation has at first")
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="upgrade-") as name:
        old, folder = Path(name) / "code", Path(name)
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", old, args.rev], cwd=CODE, check=True)
        try:
            return drill(folder, old)
        finally:
            run(CODE, "scenarios.deploy", "--home", folder / "federation", "down")
            subprocess.run(["git", "worktree", "remove", "--force", old], cwd=CODE, check=True)


def drill(folder: Path, old: Path) -> int:
    """Old, old nodes under a new server, new; the same in simulation."""
    words = [word for one in SETTINGS for word in ("--set", one)]
    deploy = ["scenarios.deploy", "--home", folder / "federation"]
    run(old, *deploy, "up", "--nodes", NODES, "--port", PORT)
    run(old, *deploy, "run", "pi", *words, "--rounds", 3, "--out", folder / "first")
    run(CODE, *deploy, "run", "--continue", "--rounds", 2, "--out", folder / "second")
    for client in range(NODES):
        restarted(folder / "federation", client)
        run(CODE, *deploy, "up", "--nodes", NODES)
    run(CODE, *deploy, "run", "--continue", "--rounds", 2, "--out", folder / "third")
    alone = ["--backend", "local", "--baselines", "none", "--quiet"]
    run(CODE, "scenarios.run", "pi", *words, *alone, "--rounds", 3, "--out", folder / "simulated-first")
    for name, before in (("second", "first"), ("third", "second")):
        source = folder / f"simulated-{before}"
        run(CODE, "scenarios.run", *alone, "--from", source, "--rounds", 2, "--out", folder / f"simulated-{name}")
    well = True
    for name in ("first", "second", "third"):
        mine, theirs = (json.loads((folder / one / "report.json").read_text()) for one in (name, f"simulated-{name}"))
        same, warnings = mine["weights_sha256"] == theirs["weights_sha256"], [e for e in mine["events"] if OLD in e]
        good = same and len(warnings) == (NODES if name == "second" else 0)
        well = well and good
        print(
            f"{'ok ' if good else 'NOT'}  {name}: the simulation's weights: {same}; warnings: {warnings or 'nothing'}",
            flush=True,
        )
    return 0 if well else 1


def restarted(home: Path, client: int) -> None:
    """A node ends, as its service would end it; `up` then starts it with this code."""
    name = f"node-{client}"
    os.kill(processes.running(home)[name], signal.SIGTERM)
    until = time.monotonic() + 60
    while name in processes.running(home) and time.monotonic() < until:
        time.sleep(0.2)


def run(code: Path, *arguments: object) -> None:
    """A command of this code's. Raises RuntimeError with its last words if it fails."""
    done = subprocess.run([sys.executable, "-m", *map(str, arguments)], cwd=code, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, arguments))}: {(done.stderr or done.stdout)[-2000:]}")


if __name__ == "__main__":
    sys.exit(main())
