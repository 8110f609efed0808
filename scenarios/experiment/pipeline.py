"""A whole experiment, read straight down: rounds (baselines beside them), export, pictures, report."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from clients import memory
from clients.sources.simulated import shard
from core.arrays import digest
from core.config.scenario import Scenario
from core.disk import of_machine
from core.metrics import behind
from core.stream import course
from fl.strategies import chain
from scenarios.backends import BACKENDS, superlink
from scenarios.backends.grid import serve
from scenarios.check import cautions, without_effect
from scenarios.closing import closing
from scenarios.deployment import flwr_cli
from scenarios.experiment import baselines, continuation
from scenarios.experiment.again import again, flags
from scenarios.experiment.exporting import exporter
from scenarios.experiment.options import COMPARED, UNCHANGED, Experiment, remember
from scenarios.experiment.tracking import Tracking
from scenarios.profile import Profile
from server import checkpoint, record, run_folder, versions
from server import run as server
from server.record import Exports, Report, RoundRecord
from server.report import card, figures, page
from server.report.figures.shards import PICTURED

Children = dict[str, tuple[Path, "subprocess.Popen[bytes]"]]  # each baseline: where its result will be, who makes it
IMAGES = 10  # of each


def run(experiment: Experiment) -> int:
    """All phases; the exit code."""
    start, children, terminal, options = time.perf_counter(), Children(), experiment.terminal, experiment.options
    played, before = _played(experiment.folder), record.finished(experiment.folder)
    profile = Profile(len(played)) if options.profile else None
    phase = profile.phase if profile else lambda name: nullcontext()
    tracking = Tracking(experiment)
    how = flwr_cli.resume(experiment.folder, options.federation, flags(options, experiment.scenario.name))
    try:
        if not options.federation and not before:
            _remembered(experiment.folder, played)
        remember(experiment.folder, options)
        children |= _start_baselines(experiment)
        with phase("opening trackers") if options.track else nullcontext():
            tracking.open()
        with phase("rounds"):
            report = _rounds(experiment, tracking, len(played), before)
        with phase("waiting for the baselines"):
            waited = time.perf_counter()
            report = _join_baselines(report, experiment, children)
            report = _timed(report, baselines=time.perf_counter() - waited)
        with phase("exports"):
            report = _export(report, experiment)
            report = _in_all(report, time.perf_counter() - start, before, played)
        with phase("pictures and pages"):
            report = _draw(report, experiment, tracking)
    except Exception as error:
        _put_back(experiment.folder)
        terminal.broke(error, experiment.folder / run_folder.LOG, how if of_machine(error) else "")
        return 1
    except KeyboardInterrupt:
        terminal.fail(f"stopped; go on with: {how}")
        return 130
    finally:
        for _, child in children.values():
            child.terminate()
        tracking.close()
    terminal.rest()
    if options.json:
        terminal.line(json.dumps(brief(report)))
    elif not options.quiet:
        terminal.print(closing(report))
    for table in profile.tables(report) if profile else ():
        terminal.beside(table)
    return UNCHANGED if record.LEARNED_NOTHING in report.events else 0


def _timed(report: Report, **seconds: float) -> Report:
    return report.with_(seconds={**report.seconds, **seconds})


def brief(report: Report) -> dict[str, Any]:
    """The report's main keys, for `--json`. docs/report.md says what each is; the schema is the report's."""
    keys = (
        "schema", "scenario", "seed", "rounds", "clients", "accuracy", "loss", "baselines", "best", "diverged", "weights_sha256",
        "seconds", "exports", "current", "folder",
    )  # fmt: skip
    facts = record.report_json(report)
    return {key: facts[key] for key in keys}


def _played(folder: Path) -> Sequence[RoundRecord]:
    """Rounds that earlier processes have played; none of a checkpoint of another version, or one that cannot be read, which the run
    itself will refuse."""
    with suppress(checkpoint.OtherSchema, OSError):
        saved, _ = checkpoint.newest(folder)
        return saved.history if saved else ()
    return ()


def _remembered(folder: Path, played: Sequence[RoundRecord]) -> None:
    """Raises ValueError if what clients kept is not as these rounds left it: the run would end with other weights."""
    kept = {client: row.round for row in played for client, size in row.memory.items() if size}
    try:
        for client, round in kept.items():
            memory.check(memory.home(folder / run_folder.CLIENTS, client), round, played[-1].round)
    except (OSError, ValueError) as error:
        raise ValueError(f"{error}; put it back from a copy, or begin anew") from None


def _put_back(folder: Path) -> None:
    """What went wrong has not unmade a finished run: its report is there again."""
    if (folder / run_folder.ASIDE).exists() and not record.finished(folder, run_folder.REPORT):
        (folder / run_folder.ASIDE).replace(folder / run_folder.REPORT)


def _in_all(report: Report, spent: float, before: Report | None, played: Sequence[RoundRecord]) -> Report:
    """With the seconds of all processes that worked on this run, `spent` being this one's, as far as they are known: of a run that
    was interrupted, its rounds'. One that was finished, and is resumed, may be given files or baselines; the rest of it has been
    done, and takes no longer for that. `training` and `evaluation` are of all rounds anyway."""
    now = {**report.seconds, "total": spent}
    if before:
        earlier = before.seconds
        now["total"] = now["baselines"] + now["export"]
    else:
        earlier = {"total": sum(row.seconds.train + row.seconds.evaluate for row in played)}
    return _timed(report, **{name: now[name] + earlier.get(name, 0.0) for name in ("baselines", "export", "total")})


def _rounds(experiment: Experiment, tracking: Tracking, done: int, before: Report | None) -> Report:
    """Federated rounds. done: how many earlier processes have played; before: the report, if they finished the run. Raises
    KeyboardInterrupt if somebody asked to stop."""
    scenario, folder = experiment.scenario, experiment.folder
    options, terminal = experiment.options, experiment.terminal
    terminal.pause()
    title = f"{scenario.name}: {scenario.cohort} of {scenario.clients} clients a round, into {folder}"
    resumed = ", which is finished" if before else f", resumed after round {done}" if done else ""
    terminal.begin(scenario.rounds, done, title + resumed)
    if before and record.finished(folder, run_folder.REPORT):
        (folder / run_folder.REPORT).replace(folder / run_folder.ASIDE)  # a rollback, and the time it took, are in it
    (folder / run_folder.REPORT).unlink(missing_ok=True)
    if options.federation:
        superlink.run(options.federation, scenario, folder, tracking)
    else:
        # A start is not interrupted: executors' locks, and Ray's libraries, do not bear it. It is waited for, some seconds.
        with BACKENDS[options.backend](scenario, options.workers, experiment.environment) as backend:
            terminal.pause()
            serve(server.build(scenario, folder, tracking, backend.judge), backend.grid)
    terminal.pause()
    report = record.load(folder)
    source = continuation.begun_from(folder)
    if source and not options.source:  # it was interrupted
        options = replace(options, source=Path(source))
    unchanged = digest(server.began_with(scenario, folder)) == report.weights_sha256
    if unchanged and not chain(scenario).personal:
        report = replace(report, events=(record.LEARNED_NOTHING, *report.events))
    notes = [*without_effect(scenario), *cautions(scenario)]
    if "local" in COMPARED[options.baselines] and scenario.clients > baselines.CROWD:
        notes.append(f"no client is trained alone: {scenario.clients:,} are more than {baselines.CROWD:,}")
    current, said = _taken_back(before)
    return report.with_(*notes, *said, current=current, source=source, command=again(scenario, options))


def _taken_back(before: Report | None) -> tuple[int | None, list[str]]:
    """Which version `--rollback` made current of a run that was finished, and what was said of it; None: none. A resumed run must
    not undo it."""
    said = [event for event in before.events if event.endswith(continuation.ROLLED_BACK)] if before else []
    return (before.current if before and said else None), said


def _comparable(scenario: Scenario, kind: str) -> bool:
    """Does the scenario have this baseline? A federation of one *is* the centralized one; those without federation meet plain
    images only; none of them can begin with another run's model; a crowd is too many to train each client alone."""
    if scenario.past or (kind == "local" and scenario.clients > baselines.CROWD):
        return False
    if kind == "joint":
        return len(course(scenario).tasks) > 1
    if kind == "fedavg":  # which the run may be itself
        return scenario.clients > 1 and baselines.reduced(scenario, kind) != baselines.aside(scenario)
    return scenario.clients > 1 and all(test.condition == "plain" for test in course(scenario).tests)


def _start_baselines(experiment: Experiment) -> Children:
    """Start those that no earlier run has left, beside the federation; their words go to the run's log."""
    kinds = [kind for kind in COMPARED[experiment.options.baselines] if _comparable(experiment.scenario, kind)]
    command = [sys.executable, "-m", "scenarios.experiment.baselines"]
    scenario_file = str(experiment.folder / run_folder.SCENARIO)
    folders = {kind: baselines.cache_folder(experiment.scenario, kind, experiment.folder.parent) for kind in kinds}
    return {
        kind: (
            path,
            subprocess.Popen(
                [*command, kind, scenario_file, str(path)], start_new_session=True, stdin=subprocess.DEVNULL
            ),
        )
        for kind, path in folders.items()
    }


def _join_baselines(report: Report, experiment: Experiment, children: Children) -> Report:
    """Wait for the baselines and put their results into the report; whatever diverged is the first of its events."""
    scenario, terminal = experiment.scenario, experiment.terminal
    for kind, (path, child) in children.items():
        total = scenario.clients if kind == "local" else scenario.rounds
        if child.poll() is None:
            terminal.bar(kind, total, f"waiting for the {kind} baseline")
        while child.poll() is None:
            terminal.advance(kind, baselines.progress(path))
            terminal.pause(0.2)
        result = baselines.result(path)
        if result is None:
            report = report.with_(f"the {kind} baseline failed with exit code {child.returncode}; see run.log")
        else:
            report = _beside(report, kind, result)
    report = report.with_(diverged=record.divergences(report))
    return replace(report, events=(*report.diverged.values(), *report.events))


def _beside(report: Report, kind: str, result: baselines.Result) -> Report:
    """The report with a baseline's result in it."""
    report = report.with_(
        baselines={**report.baselines, kind: result.accuracy},
        curves={**report.curves, kind: result.curve},
        best={**report.best, kind: result.best},
    )
    if alone := result.last_alone:
        report = report.with_(local_accuracies=alone.accuracies, local_own_accuracies=alone.own_accuracies)
    if kind == "fedavg":
        report = report.with_(fedavg_own_accuracies=result.own_accuracies)
    if kind == "joint" and (staged := report.continual):
        intransigence = behind(staged.matrix, staged.stages, result.matrix)
        staged = replace(staged, measures=replace(staged.measures, intransigence=intransigence))
        stages = f"{len(result.matrix)} of the run's {len(staged.matrix)} stages"
        why = f"the joint baseline stopped early and has {stages}: there is no intransigence"
        report = report.with_(*[why] * (intransigence is None), continual=staged)
    return report


def _export(report: Report, experiment: Experiment) -> Report:
    """The newest version that passed the gate becomes current, if nobody took another back; the files that were asked for are
    made, and verified."""
    start, scenario = time.perf_counter(), experiment.scenario
    kept, accepted = list[Path](), list[Path]()
    for version in versions.listed(experiment.folder):
        try:
            about = versions.about(version)
        except ValueError as error:
            report = report.with_(f"version {int(version.name)} is left out: {error}")
            continue
        kept.append(version)
        # The version that the run started from was judged before.
        objections = about.objections if about.version > scenario.past else ()
        events = [f"version {about.version} is not current: {why}" for why in objections]
        report = report.with_(*events, stages=(*report.stages, about))
        accepted += [version] * (not objections)
    if report.current:
        accepted = [versions.by_number(experiment.folder, report.current)]
    requested = {"all": kept, "current": accepted[-1:], "none": []}[experiment.options.export]
    new_exports = _files(experiment, [version for version in requested if versions.exported(version) is None])
    exports = Exports()
    if accepted:
        current = accepted[-1]
        exports = new_exports.get(current) or versions.exported(current) or exports
        versions.publish(experiment.folder, current)
        refused = [f"{name} of version {int(current.name)} was refused: {why}" for name, why in exports.refused.items()]
        report = report.with_(*refused, current=int(current.name), exports=exports)
    return _timed(report, export=time.perf_counter() - start)


def _files(experiment: Experiment, unexported: list[Path]) -> dict[Path, Exports]:
    """Make the files of these versions, and verify them: most of a small run's time, so it is shown."""
    exports: dict[Path, Exports] = {}
    if not unexported:
        return exports
    experiment.terminal.bar("export", len(unexported), "exporting and verifying the model")
    with exporter(experiment) as export:
        for version in unexported:
            text = f"exporting and verifying version {int(version.name)}"
            experiment.terminal.advance("export", len(exports), text)
            exports[version] = export(version)
            experiment.terminal.pause()
    experiment.terminal.advance("export", len(exports))
    return exports


def _draw(report: Report, experiment: Experiment, tracking: Tracking) -> Report:
    """report.json, the pictures, what trackers are given of them, report.html, the model card."""
    record.save(experiment.folder, report)
    figures.draw(report, experiment.folder, _pictured(report, experiment.scenario))
    if failures := tracking.finish(report):
        report = report.with_(*failures)
        record.save(experiment.folder, report)
    (experiment.folder / run_folder.ASIDE).unlink(missing_ok=True)
    page.write(report, experiment.folder)
    card.save(report, experiment.folder)
    return report


def _pictured(report: Report, scenario: Scenario) -> np.ndarray | None:
    """Some images of the clients that are pictured, of all their digits: uint8 [clients, IMAGES, height, width]; None where one has
    data of its own, which nobody else has seen."""
    pictured = report.shards[:PICTURED]
    examples = [shard(scenario.json(), one.client).train for one in pictured]
    for one, its_part in zip(pictured, examples, strict=True):
        if one.labels and list(one.labels) != np.bincount(its_part.y, minlength=len(one.labels)).tolist():
            return None
    spread = [np.argsort(one.y, kind="stable")[np.linspace(0, len(one) - 1, IMAGES).astype(int)] for one in examples]
    return np.stack([one.x[rows] for one, rows in zip(examples, spread, strict=True)]) if examples else None
