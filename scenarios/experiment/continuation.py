"""Go on from a finished run: `--from RUN` takes its current model and its clients' memories into a new run; `--rollback`
makes an older version current again."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from clients import memory
from core.config.scenario import Model, Scenario
from core.data import dataset, task_text, taught_before
from core.disk import numbered
from core.methods import closed_forms
from core.stream import course
from fl import strategies
from scenarios.check import LOOK_BACK
from scenarios.deployment import flwr_cli
from server import checkpoint, record, run_folder, versions
from server.checkpoint import RunState
from server.record import Exports, RoundRecord
from server.report.renew import renew

ROLLED_BACK = "was made current by --rollback"  # how the sentence of it ends
LINE = 30  # runs back: a month of nights
SIMULATED = "simulation"  # the name of a run before this one of which no node can have kept anything


def source(run: Path, real: bool = False) -> tuple[Path, int]:
    """The folder of the run's current version, and how many stages the run has been through.

    real: it is to go on on real nodes. Raises ValueError if there is none, or clients' memories are where it cannot go on.
    """
    try:
        old = Scenario.read(run / run_folder.SCENARIO)
    except FileNotFoundError:
        raise ValueError(f"--from {run}: no run there (no readable scenario.json)") from None
    if not (run / run_folder.REPORT).exists():
        raise ValueError(f"--from {run}: the run is not finished; go on with --resume {shlex.quote(str(run))} first")
    if not real and (run / run_folder.ID).exists():
        command = f"{flwr_cli.deploy(flwr_cli.home(run))} run NAME --from {shlex.quote(str(run))}"
        raise ValueError(f"--from {run}: its clients' memories are on devices of their own; use: {command}")
    version = versions.current(run)
    if version is None:
        raise ValueError(
            f"--from {run}: it has no current version (none passed the scenario's gate, or its export is not done)"
        )
    return version, old.past + len(course(old).tasks)


def after(scenario: Scenario, run: Path, real: bool = False) -> Scenario:
    """The scenario as one that follows a run: its stages are counted on from there."""
    _, stages = source(run, real)
    old = Scenario.read(run / run_folder.SCENARIO)
    model, classes = old.model, (dataset(old).classes, dataset(scenario).classes)
    if classes[0] != classes[1]:
        then = "leaves out what is above" if classes[0] < classes[1] else "adds classes without an image"
        raise ValueError(
            f"--from {run}: its model tells {classes[0]} classes apart, {scenario.name} has {classes[1]} "
            f"(--set classes={classes[0]} {then})"
        )
    if model.kind != scenario.model.kind:
        raise ValueError(f"--from {run}: its model is a {model.kind}, that of {scenario.name} a {scenario.model.kind}")
    if (was := _norm(model)) != (now := _norm(scenario.model)):
        raise ValueError(f"--from {run}: its model has model.norm = {was}, that of {scenario.name} {now}")
    if (solved := closed_forms(old)) and not closed_forms(scenario):
        why = "a head solved in closed form does not learn by gradients"
        raise ValueError(f"--from {run}: its methods have {solved[0].name}, those of {scenario.name} no such: {why}")
    return replace(scenario, past=stages, past_tasks=taught(run, old))


def unprepared(run: Path, scenario: Scenario) -> list[str]:
    """What to say of methods that look back, where the run before had no such: each reads only what it kept itself."""
    had = [part.name for part in Scenario.read(run / run_folder.SCENARIO).methods]
    looks_back = {*LOOK_BACK} - {"lwf"}  # which looks at the model that the run begins with
    if not (new := [part.name for part in scenario.methods if part.name in looks_back and part.name not in had]):
        return []
    before = f"{run}, which had methods = {'+'.join(had) or 'none'}"
    return [
        f"methods = {'+'.join(new)} kept nothing in {before}: what clients learned there they may forget; name it in both runs"
    ]


def taught(run: Path, scenario: Scenario) -> tuple[str, ...]:
    """What clients had been taught when a run's current version was made, by it and by those that it went on from, as `past_tasks`
    says it: the labels and condition of each task of which some client had examples in a round in which its reply counted.

    () where nobody here knows: real nodes have data of their own, and a run of an older program may be among those before.
    """
    if (run / run_folder.ID).exists() or (scenario.past and not scenario.past_tasks):
        return ()
    version, rows = versions.about(source(run)[0]), list[RoundRecord]()
    with suppress(ValueError):  # an older program's
        rows = record.load_rounds(run)
    if not rows:
        return ()
    known = {condition: set(labels) for condition, labels in taught_before(scenario).items()} if scenario.past else {}
    tests = course(scenario).tests
    for row in rows if version.version > scenario.past else ():
        for client, task in row.tasks.items():
            if row.round <= version.round and client not in row.without:
                known.setdefault(tests[task].condition, set()).update(tests[task].labels)
    return tuple(task_text(condition, labels) for condition, labels in sorted(known.items())) or (
        task_text("plain", ()),
    )


def _norm(model: Model) -> str:
    return f"group, in {model.groups} groups" if model.norm == "group" else model.norm


def begin(run: Path, folder: Path, real: bool = False) -> None:
    """Bring into a new run's folder what it starts from, as of round 0: a checkpoint, that version, each client's memory.

    real: on real nodes; they bring their own memories of that run, by its name.
    """
    version, _ = source(run, real)
    memories = {} if real else _memories(run)
    newest = version == versions.listed(run)[-1]
    anew = [
        method.name
        for method in strategies.build(Scenario.read(run / run_folder.SCENARIO)).client()
        if not method.carried or (method.in_step and not newest)
    ]
    shared = {key: one for key, one in versions.shared(version).items() if key.partition("/")[0] not in anew}
    begins = RunState(0, versions.weights(version), shared=shared)
    record.write(folder / run_folder.SOURCE, f"{run}\n")  # nothing is written before all of it could be read
    checkpoint.save(folder, begins)
    # The model that it starts from is current until a better one passes the gate.
    shutil.copytree(version, folder / run_folder.VERSIONS / version.name)
    versions.publish(folder, folder / run_folder.VERSIONS / version.name)
    if real:
        record.write(folder / run_folder.BEFORE, " ".join(_lineage(run)))
    for client, file in memories.items():
        (folder / run_folder.CLIENTS / client).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / run_folder.CLIENTS / client / "round-0000.npz")


def _memories(run: Path) -> dict[str, Path]:
    """The newest memory of each client, by its folder's name. Raises ValueError, naming the file, if one cannot be read."""
    homes = sorted((run / run_folder.CLIENTS).glob("client-*"))
    found = {home.name: files[-1] for home in homes if (files := list(numbered(home).values()))}
    for file in found.values():
        try:
            memory.read(file)
        except (OSError, ValueError) as error:
            how = "put it back from a copy, or move it away: the one before it counts then"
            raise ValueError(f"--from {run}: {error}; {how}") from None
    return found


def begun_from(folder: Path) -> str:
    """The run that this one went on from, as it was named; empty, if none."""
    file = folder / run_folder.SOURCE
    return file.read_text().removesuffix("\n") if file.exists() else ""


def _lineage(run: Path) -> list[str]:
    """The names of a run and of those that it went on from, the newest first: a device that was away has an older one's memory."""
    if not (run / run_folder.ID).exists():
        return [SIMULATED]  # its clients' memories stay where they are
    before = run / run_folder.BEFORE
    older = before.read_text().split() if before.exists() else []
    return [(run / run_folder.ID).read_text(), *older][:LINE]


def rollback(version: Path) -> str:
    """Make this version (RUN/versions/NUMBER) its run's current one; its report says so too. Raises ValueError, naming the
    versions there are."""
    is_run = (version / run_folder.VERSIONS).is_dir()  # whose name may be a number, too
    run = version if is_run else version.parent.parent
    existing = versions.listed(run)
    number = version.name.zfill(4) if version.name.isdigit() else version.name
    home = run / run_folder.VERSIONS / number
    if is_run or home not in existing:
        names = ", ".join(str(one) for one in existing)
        choices = f"choose from {names}" if names else f"{run} has none"
        raise ValueError(f"--rollback {version}: no such version; {choices}")
    with run_folder.driver_lock(run):
        pass  # nobody else is at it
    if versions.exported(home) is None:  # its run made the current one's files only; a service must never be without
        make = [sys.executable, "-m", "scenarios.export", str(run), "--version", str(int(number))]
        subprocess.run(make, stdout=subprocess.DEVNULL)
        if versions.exported(home) is None:
            why = shlex.join([flwr_cli.python(), *make[1:]])
            raise ValueError(
                f"--rollback {version}: its files could not be made, so nothing changes; this says why: {why}"
            )
    with run_folder.driver_lock(run):
        previous = versions.linked(run)
        versions.publish(run, home)
        instead = f", instead of {previous.name}" if previous and previous != home else ""
        exports = versions.exported(home) or Exports()
        objections = list(exports.refused.values())
        with suppress(ValueError):  # one without readable facts can be taken back too
            objections += versions.about(home).objections
        changed = [f"version {int(number)} {ROLLED_BACK}"] * (previous != home)
        renew(run, *changed, current=int(number), exports=exports)
    return f"{run}: version {home.name} is current{instead}" + "".join(f"\nnote: {why}" for why in objections)
