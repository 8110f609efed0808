"""The command of a run: how it goes on, and how it is made again."""

from __future__ import annotations

import shlex
from contextlib import suppress

from core.config.overrides import departures
from core.config.scenario import Scenario
from scenarios.deployment import flwr_cli
from scenarios.experiment.options import RunOptions, backend
from scenarios.overrides import difference
from scenarios.presets import BASELINES, SCENARIOS

FLAGS = ("seed", "rounds", "engine")  # settings that the command line has an option for


def flags(options: RunOptions, name: str = "") -> str:
    """The options that must be given again when a run of a scenario of this name goes on."""
    usual = {"baselines": "none" if options.federation else BASELINES.get(name, RunOptions.baselines)}
    usual |= {"backend": backend(), "export": RunOptions.export}
    words = [
        f" --{name} {getattr(options, name)}" for name, default in usual.items() if getattr(options, name) != default
    ]
    words += [f" --track {'+'.join(options.track)}"] if options.track else []
    return "".join(words + [f" --plugin {shlex.quote(name)}" for name in options.plugins])


def again(scenario: Scenario, options: RunOptions) -> tuple[str, ...]:
    """The command that makes this run again: its preset, and only the settings in which it differs. () if there is none. What is
    called otherwise than any preset, as by `--set name=…`, is made of the preset that is nearest to it and can become it.

    Reports are sent to others: the home of a federation that is not in the usual place is called HOME.
    """
    plain = scenario.afresh()
    near = [scenario.name] if scenario.name in SCENARIOS else sorted(SCENARIOS, key=lambda name: _distance(name, plain))
    for preset in near:
        with suppress(ValueError, OSError):  # what a preset cannot become, or data that has gone
            changes = difference(SCENARIOS[preset][0], plain)
            break
    else:
        return ()
    home = ["--home", "HOME"] if options.federation and flwr_cli.option(options.federation) else []
    words = ["python", "-m", *(["scenarios.deploy", *home, "run"] if options.federation else ["scenarios.run"])]
    words += [
        preset,
        *(word for path, text in changes if path not in FLAGS for word in ("--set", f"{path}={text}")),
    ]
    words += [word for path, text in changes if path in FLAGS for word in (f"--{path}", text)]
    words += ["--from", str(options.source or "RUN")] if scenario.past else []
    return (*words, *shlex.split(flags(options, scenario.name)))


def _distance(preset: str, scenario: Scenario) -> int:
    """In how many settings it differs from a preset."""
    return len(departures(SCENARIOS[preset][0], scenario))
