"""One run of the server: restore or begin; for each round: evaluate, report, checkpoint."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from core import schedule
from core.data import load
from core.disk import placed
from core.engines import tensorflow as engine
from core.methods.base import Shared
from core.model import initial
from core.plan import Arrays
from core.scenario import Scenario
from core.stream import ends
from fl import roster, strategies
from fl.channel import Stopped
from fl.holdings import Holdings
from server import best, checkpoint, evaluate, report, versions
from server.checkpoint import State
from server.exams import PLAIN, SAMPLE, Exams, Marks, continual, halves, staged, version
from server.rounds import Watch, rounds
from server.run_folder import played


def build(scenario: Scenario, folder: Path, watch: Watch) -> ServerApp:
    """The ServerApp of one run; it leaves report.json, rounds.jsonl and checkpoints in the folder."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        with suppress(Stopped):  # the last finished round is in its checkpoint; whoever asked to stop knows
            run(grid, scenario, folder, watch)

    return app


def run(
    grid: Grid, scenario: Scenario, folder: Path, watch: Watch, seats: roster.Seats | None = None
) -> dict[str, Any]:
    """Train from the newest checkpoint, or from the start, to the end. Raises Stopped if the watcher says so."""
    engine.one_thread()
    with played(folder):
        return _run(grid, scenario, folder, watch, seats)


def _run(grid: Grid, scenario: Scenario, folder: Path, watch: Watch, seats: roster.Seats | None) -> dict[str, Any]:
    data = load(scenario)
    # A run that goes on from another has that one's version beside its own (scenarios/update.py), older than all of them.
    first = (
        versions.weights(versions.listed(folder)[0]) if scenario.past else initial(scenario.seed, scenario.model.kind)
    )
    held, damaged = checkpoint.newest(folder, first)
    state = held or State(0, first)
    events = list(state.events if state.round else data.notes)
    events += [f"checkpoint {name} was damaged and not used" for name in damaged]
    if seats and held and held.round < scenario.rounds:  # a simulation that was interrupted is one that was not
        events.append(f"the run was interrupted, and went on after round {held.round}")
    strategy = strategies.build(scenario.strategy, scenario.cohort)
    strategies.restore(strategy, state.strategy)
    step = _step(scenario, folder) if scenario.engine == "litert" or seats else b""
    history, arrays, shared = list(state.history), state.arrays, state.shared
    best.keep(folder, history, arrays)

    def rate(number: int) -> float | None:
        return schedule.rate(scenario, number, [facts["validation_loss"] for facts in history])

    def serve(weights: Arrays, number: int) -> tuple[list[dict[str, Any]], dict[int, str]]:
        return evaluate.clients(grid, scenario, weights, watch, number, seats, step)

    exams, last = Exams.of(scenario, data.test), ends(scenario)
    quick = exams.some(SAMPLE, scenario.seed) if set(exams.sets) != {PLAIN} else exams
    probe = exams.some(scenario.probe, scenario.seed)
    held_marks = probe.marks(arrays)
    before = exams.marks(first) if staged(scenario) else None  # what the model knew before its first round
    met = {task for facts in history for task in facts["tasks"].values() if 0 <= task < len(exams.exams)}

    holdings = None if seats else Holdings(scenario, data.train.y)
    for done in rounds(strategy, grid, scenario, arrays, rate, watch, state.round, state.shared, seats, step, holdings):
        start, arrays, shared = time.perf_counter(), done.arrays, dict(done.shared)
        marks = (exams if done.number in last else quick).marks(arrays)
        validation = evaluate.score(arrays, data.validation) if len(data.validation) else None
        seen = history[-1]["seen"] if history else 0
        fact = report.fact(done, marks, validation, seen, 0.0)
        if scenario.probe:
            met |= {task for task in done.tasks.values() if 0 <= task < len(exams.exams)}
            now = probe.marks(arrays)
            fact["halves"], held_marks = halves(probe, held_marks, now, done.updates, done.tasks, met), now
        fact["seconds"]["evaluate"] = time.perf_counter() - start
        history.append(fact)
        if before and done.number in last[:-1]:  # after the last stage all are asked anyway
            told, _ = serve(arrays, done.number)
            history[-1]["clients_accuracy"] = {str(one["client"]): one["accuracy"] for one in told}
        if done.number in last:
            _keep(folder, scenario, arrays, history, before, shared)
        events += report.events(history[-1])
        checkpoint.save(folder, State(done.number, arrays, strategies.state(strategy), history, events, shared))
        best.keep(folder, history, arrays)
        report.lines(folder, history)
        watch.ended(history[-1])
    if history and history[-1]["round"] not in last:  # the schedule stopped early
        _keep(folder, scenario, arrays, history, before, shared)
    ended = State(len(history), arrays, {}, history, events)
    return _finish(scenario, folder, ended, exams, before, serve(arrays, len(history)))


def _step(scenario: Scenario, folder: Path) -> bytes:
    """The training step's file, made once a run: for clients without TensorFlow."""
    from core.engines.step import build

    file = folder / "step.tflite"
    if not file.exists():
        with placed(file) as made:
            made.write(build(scenario.model.kind, scenario.local.batch))
    return file.read_bytes()


def _keep(
    folder: Path, scenario: Scenario, arrays: Any, history: list[Any], before: Marks | None, shared: Shared
) -> None:
    """The model at the end of a stage, as a version."""
    told = version(scenario, history, before)
    versions.keep(folder, told["version"], arrays, told, shared)


def _finish(
    scenario: Scenario,
    folder: Path,
    state: State,
    exams: Exams,
    before: Marks | None,
    served: tuple[list[dict[str, Any]], dict[int, str]],
) -> dict[str, Any]:
    """After the last round: the confusion matrix, every client's own accuracy (`served`), the report."""
    start = time.perf_counter()
    told, failed = served
    events = [*state.events, *(f"client {c} could not judge the final model: {why}" for c, why in failed.items())]
    facts = report.run(scenario, state.history, state.arrays, events, folder)
    facts["best"] = {"federated": best.facts(folder, state.history)}
    turns = facts.pop("turns")
    facts["shards"] = [one | {"rounds": turns.get(str(one["client"]), 0)} for one in told]
    own = {str(one["client"]): one["accuracy"] for one in told}
    facts["continual"] = continual(scenario, state.history, exams, before, own)
    facts["confusion"] = evaluate.confusion(state.arrays, load(scenario).test).tolist()
    facts["seconds"]["evaluation"] += time.perf_counter() - start
    report.save(folder, facts)
    return facts
