"""One scenario over several seeds, each a run of its own, and then all of them in one picture: `scenarios.run NAME --seeds N`."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path

from core.config.scenario import Scenario
from scenarios import compare
from scenarios.experiment.again import again, flags
from scenarios.experiment.options import UNCHANGED, RunOptions
from server import record, run_folder


def run(scenario: Scenario, folder: Path, options: RunOptions, seeds: Sequence[int]) -> int:
    """Run each seed in FOLDER/SEED, then compare them; returns the exit code. What is finished stays, what was stopped goes on.

    Raises ValueError if other runs lie there.
    """
    runs = {seed: folder / str(seed) for seed in seeds}
    by_seed = {seed: replace(scenario, seed=seed) for seed in seeds}
    for seed, home in runs.items():
        if (home / run_folder.SCENARIO).exists() and Scenario.read(home / run_folder.SCENARIO) != by_seed[seed]:
            raise ValueError(f"{home} holds a run of other settings; choose another --out")
    for seed, home in runs.items():
        if _finished(home):
            if not options.quiet:
                print(f"note: {home} is finished, and stays as it is", file=sys.stderr)
        elif (code := _process(by_seed[seed], home, options)) not in (0, UNCHANGED):
            if code == 130 and len(runs) > 1:
                print(f"to go on with all {len(runs)} seeds, give the same command again", file=sys.stderr)
            return code
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing) if options.quiet else nullcontext():
        return compare.main([*map(str, runs.values()), "--out", str(folder), "--html", str(folder / "compare.html")])


def _finished(home: Path) -> bool:
    return (home / run_folder.REPORT).exists() and "total" in record.load(home).seconds


def _process(scenario: Scenario, home: Path, options: RunOptions) -> int:
    """The run in a process of its own, as its command line says it: nothing of one run is left for the next."""
    if (home / run_folder.SCENARIO).exists():
        words = ["-m", "scenarios.run", "--resume", str(home), *shlex.split(flags(options, scenario.name))]
        words += [
            "--baselines",
            options.baselines,
            "--export",
            options.export,
        ]  # the usual ones, too: it was begun with others, maybe
    else:
        if not (command := again(scenario, options)):
            why = "no command line says its settings: no preset can become them, or its data cannot be read"
            raise ValueError(f"seed {scenario.seed} of {scenario.name} cannot be run in a process of its own: {why}")
        words = [*command[1:], "--out", str(home)]
    words += ["--workers", str(options.workers), *["--quiet"] * options.quiet, *["--profile"] * options.profile]
    child = subprocess.Popen([sys.executable, *words])
    before = signal.signal(signal.SIGTERM, lambda number, frame: child.send_signal(number))  # it stops after its round
    try:
        while True:
            with suppress(KeyboardInterrupt):  # the child hears it too, and says how to go on
                return child.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
