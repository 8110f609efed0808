"""What is asked for, on the command line, from Python or by `flwr run`: a scenario; and whether it can be run here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from core.config.parse import unknown
from core.config.scenario import OF_SOURCE, Scenario
from core.data import settled
from scenarios import needs, trackers
from scenarios.check import cautions, check, without_effect
from scenarios.experiment.continuation import after, unprepared
from scenarios.experiment.options import RunOptions
from scenarios.overrides import Change, changed
from scenarios.presets import SCENARIOS
from server import run_folder

RUNS = Path("runs")  # where a run is sought, and a new one made, that is named without a folder


def wanted(name: str | None, changes: Sequence[Change], source: Path | None = None, real: bool = False) -> Scenario:
    """A preset with these changes. source: the run that it goes on from; without a name, that run's own scenario is taken.

    real: on real nodes. Raises ValueError, naming the value and the choices.
    """
    if not name and not source:
        raise ValueError(f"which scenario? choose from {', '.join(SCENARIOS)}, or --list")
    if name and name not in SCENARIOS:
        raise unknown("scenario", name, SCENARIOS)
    if owned := [name for name, _ in changes if name in OF_SOURCE]:
        raise ValueError(f"{owned[0]} is what --from RUN sets, by what that run has been through")
    scenario = settled(changed(SCENARIOS[name][0] if name else _scenario_of(source or Path()), changes))
    if "name" in dict(changes):
        check_name(scenario.name)
    return after(scenario, source, real) if source else scenario


def check_name(name: str) -> None:
    """Raises ValueError if no folder can be called by a scenario of this name."""
    if not re.fullmatch(r"\w[\w.+-]*", name):
        what = "letters, digits, _, +, - and dots, and begin with one of the first three"
        raise ValueError(f"name = {name!r} should be {what}: a folder is called by it")


def located(run: Path) -> Path:
    """A run's folder, or one in it, which may be named as it is called below runs/."""
    return RUNS / run if not run.exists() and (RUNS / run).exists() else run


def _scenario_of(run: Path) -> Scenario:
    """A run's own scenario, to be run once more from where that run ended."""
    try:
        return Scenario.read(run / run_folder.SCENARIO).afresh()
    except FileNotFoundError:
        raise ValueError(f"--from {run}: no run there (no readable scenario.json)") from None


def possible(scenario: Scenario, options: RunOptions) -> list[str]:
    """Sentences on what is odd in the data, or can have no effect. Raises ValueError if it cannot be run here, like this."""
    notes = [*check(scenario), *without_effect(scenario), *cautions(scenario)]
    notes += unprepared(options.source, scenario) if options.source else []
    needs.check("sim", *["ray"] * (options.backend == "ray"))
    if options.workers < 1:
        raise ValueError(f"workers = {options.workers} should be at least 1")
    if options.profile and not Path("/proc/self/stat").exists():
        raise ValueError("--profile reads /proc, which this system does not have")
    trackers.check(options.track)
    return notes
