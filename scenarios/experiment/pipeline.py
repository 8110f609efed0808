"""A whole experiment, read straight down: rounds (baselines beside them), export, pictures, report."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config.scenario import Scenario
from core.metrics import behind
from core.safe_json import read_object
from core.stream import course
from scenarios.check import without_effect
from scenarios.closing import closing
from scenarios.deployment import flwr_cli
from scenarios.experiment import baselines
from scenarios.experiment.workspace import opened
from scenarios.terminal import Terminal

Facts = dict[str, Any]
Children = dict[str, tuple[Path, "subprocess.Popen[bytes]"]]  # each baseline: where its result will be, who makes it
COMPARED = {"none": (), "centralized": ("centralized",), "all": baselines.KINDS}


@dataclass(frozen=True)
class RunOptions:
    """How to run, which changes nothing about the result."""

    workers: int = 1
    backend: str = "ray"
    baselines: str = "centralized"
    source: Path | None = None  # the finished run that this one goes on from
    federation: Path | None = None  # real nodes instead of a backend (scenarios/deploy.py)
    quiet: bool = False
    json: bool = False


def run(scenario: Scenario, folder: Path, options: RunOptions) -> int:
    """Run a scenario in its folder, from its newest checkpoint if there is one. Returns the exit code.

    Raises ValueError, in a sentence, if the folder cannot be used; what another process is running there stays as it is.
    """
    terminal = Terminal(options.quiet)
    with opened(scenario, folder, options.source) as environment:
        return _run(scenario, folder, options, terminal, environment)


def _run(scenario: Scenario, folder: Path, options: RunOptions, terminal: Terminal, environment: dict[str, str]) -> int:
    start, children = time.perf_counter(), Children()
    terminal.listen()
    try:
        children |= _start_baselines(scenario, folder, options)
        facts = _rounds(scenario, folder, options, terminal, environment)
        facts["events"] += without_effect(scenario)
        facts |= {"source": str(options.source)} if options.source else {}
        waited = time.perf_counter()
        _join_baselines(facts, scenario, folder, terminal, children)
        facts["seconds"]["baselines"] = time.perf_counter() - waited
        _export(facts, scenario, folder, terminal)
        facts["seconds"]["total"] = time.perf_counter() - start
        _draw(facts, scenario, folder)
    except Exception as error:
        traceback.print_exc()
        terminal.rest()
        terminal.fail(f"failed: {type(error).__name__}: {error}\nwhat was said on the way is in {folder / 'run.log'}")
        return 1
    except KeyboardInterrupt:
        terminal.rest()
        terminal.fail(f"stopped; go on with: {flwr_cli.resume(folder, options.federation, _flags(options))}")
        return 130
    finally:
        for _, child in children.values():
            child.terminate()
    terminal.rest()
    if options.json:
        terminal.line(json.dumps(brief(facts)))
    elif not options.quiet:
        terminal.print(closing(facts))
    return 0


def _flags(options: RunOptions) -> str:
    """What of how it runs must be said again when it goes on."""
    usual = {"baselines": "none" if options.federation else RunOptions.baselines, "backend": RunOptions.backend}
    return "".join(
        f" --{name} {getattr(options, name)}" for name, was in usual.items() if getattr(options, name) != was
    )


def brief(facts: Facts) -> Facts:
    """The report's main keys, for `--json`."""
    keys = (
        "scenario", "seed", "rounds", "clients", "accuracy", "loss", "baselines", "best", "diverged", "weights_sha256",
        "seconds", "exports", "current", "folder",
    )  # fmt: skip
    return {key: facts[key] for key in keys}


def _rounds(
    scenario: Scenario, folder: Path, options: RunOptions, terminal: Terminal, environment: dict[str, str]
) -> Facts:
    """Federated rounds. Raises KeyboardInterrupt if somebody asked to stop."""
    from scenarios.backends import BACKENDS
    from server import checkpoint, run

    saved, _ = checkpoint.newest(folder)
    done = saved.round if saved else 0
    title = f"{scenario.name}: {scenario.cohort} of {scenario.clients} clients a round, into {folder}"
    terminal.begin(scenario.rounds, done, title + (f", resumed after round {done}" if done else ""))
    (folder / "report.json").unlink(missing_ok=True)
    if options.federation:
        from scenarios.backends import superlink

        superlink.run(options.federation, scenario, folder, terminal)
    else:
        BACKENDS[options.backend](run.build(scenario, folder, terminal), scenario, options.workers, environment)
    terminal.pause()
    return read_object(folder / "report.json")


def _comparable(scenario: Scenario, kind: str) -> bool:
    """Is there this baseline for it? A federation of one *is* the centralized one; those without federation meet plain
    images only; none of them can begin with another run's model."""
    if scenario.past:
        return False
    if kind == "joint":
        return len(course(scenario).tasks) > 1
    return scenario.clients > 1 and all(test.condition == "plain" for test in course(scenario).tests)


def _start_baselines(scenario: Scenario, folder: Path, options: RunOptions) -> Children:
    """Start those that no earlier run has left, beside the federation; their words go to the run's log."""
    kinds = [kind for kind in COMPARED[options.baselines] if _comparable(scenario, kind)]
    command, what = [sys.executable, "-m", "scenarios.experiment.baselines"], str(folder / "scenario.json")
    folders = {kind: baselines.cache_folder(scenario, kind, folder.parent) for kind in kinds}
    return {
        kind: (
            path,
            subprocess.Popen([*command, kind, what, str(path)], start_new_session=True, stdin=subprocess.DEVNULL),
        )
        for kind, path in folders.items()
    }


def _join_baselines(facts: Facts, scenario: Scenario, folder: Path, terminal: Terminal, children: Children) -> None:
    """Wait for the baselines and put their results into the report; whatever diverged is the first of its events."""

    from server import record  # not before `prepare`

    facts["curves"] = {}
    for kind, (path, child) in children.items():
        total = scenario.clients if kind == "local" else scenario.rounds
        terminal.bar(kind, total, f"{kind} baseline")
        while child.poll() is None:
            terminal.advance(kind, baselines.progress(path))
            terminal.pause(0.2)
        result = baselines.result(path)
        if result is None:
            facts["events"].append(f"the {kind} baseline failed with exit code {child.returncode}; see run.log")
            continue
        facts["baselines"][kind], facts["curves"][kind] = result["accuracy"], result["curve"]
        facts["best"][kind] = result.get("best")
        facts |= {f"local_{key}": result[key] for key in ("accuracies", "own_accuracies") if kind == "local"}
        if kind == "joint" and facts["continual"]:
            facts["continual"]["measures"]["intransigence"] = behind(facts["continual"], result["matrix"])
    facts["diverged"] = record.diverged(facts)
    facts["events"] = [*facts["diverged"].values(), *facts["events"]]


def _export(facts: Facts, scenario: Scenario, folder: Path, terminal: Terminal) -> None:
    """Every version's files, verified; then the newest that passed the gate becomes current."""
    from core.data import load
    from server import versions
    from server.export import export

    start, data = time.perf_counter(), load(scenario)
    kept = versions.listed(folder)
    terminal.bar("export", len(kept), "exporting and verifying the model")
    facts["stages"], facts["exports"], good = [], {}, None
    for done, version in enumerate(kept, 1):
        about = versions.facts(version)
        exports = versions.exported(version) or export(versions.weights(version), scenario.model, data, version)
        facts["stages"].append(about)
        against = about["objections"] if about["version"] > scenario.past else []  # what it started from had its say
        facts["events"] += [f"version {about['version']} is not current: {why}" for why in against]
        if not against:
            good, facts["exports"] = version, exports
        terminal.advance("export", done)
        terminal.pause()
    if good:
        versions.publish(folder, good)
    facts["current"] = good.name if good else None
    refused = facts["exports"].get("refused", {}).items()
    facts["events"] += [f"{name} of version {int(facts['current'])} was refused: {why}" for name, why in refused]
    facts["seconds"]["export"] = time.perf_counter() - start


def _draw(facts: Facts, scenario: Scenario, folder: Path) -> None:
    """report.json, the pictures, record.html."""
    import numpy as np

    from clients.sources.simulated import shard
    from server import record
    from server.report import figures, page

    record.save(folder, facts)
    shown = [shard(scenario.json(), client).train for client in range(min(scenario.clients, 20))]
    spread = [np.argsort(mine.y, kind="stable")[np.linspace(0, len(mine) - 1, 10).astype(int)] for mine in shown]
    contact = np.stack([mine.x[rows] for mine, rows in zip(shown, spread, strict=True)])
    figures.draw(facts, folder, contact)
    page.write(facts, folder)
