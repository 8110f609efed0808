"""One run of the server: restore or begin; for each round: evaluate, report, checkpoint."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from core import schedule
from core.config.scenario import Scenario
from core.data import load
from core.disk import placed
from core.engines import tensorflow as engine
from core.methods.base import Shared
from core.model import initial
from core.plan import Arrays
from core.stream import ends
from fl import roster, strategies
from fl.channel import Stopped
from fl.holdings import Holdings
from server import best, checkpoint, evaluation, record, versions
from server.checkpoint import State
from server.evaluation import PLAIN, SAMPLE, Scores, TestSuite, forgetting_split
from server.rounds import Watch, rounds
from server.run_folder import played
from server.stages import continual, staged, version


def build(scenario: Scenario, folder: Path, watch: Watch) -> ServerApp:
    """The ServerApp of one run; it leaves record.json, rounds.jsonl and checkpoints in the folder."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        with suppress(Stopped):  # the last finished round is in its checkpoint; whoever asked to stop knows
            run(grid, scenario, folder, watch)

    return app


def run(
    grid: Grid, scenario: Scenario, folder: Path, watch: Watch, assignment: roster.Assignment | None = None
) -> dict[str, Any]:
    """Train from the newest checkpoint, or from the start, to the end. Raises Stopped if the watcher says so."""
    engine.one_thread()
    with played(folder):
        return _run(grid, scenario, folder, watch, assignment)


def _run(
    grid: Grid, scenario: Scenario, folder: Path, watch: Watch, assignment: roster.Assignment | None
) -> dict[str, Any]:
    data = load(scenario)
    # A run that goes on from another has that one's version beside its own, older than all of them (continuation.py).
    first = (
        versions.weights(versions.listed(folder)[0]) if scenario.past else initial(scenario.seed, scenario.model.kind)
    )
    saved, damaged = checkpoint.newest(folder, first)
    state = saved or State(0, first)
    events = list(state.events if state.round else data.notes)
    events += [f"checkpoint {name} was damaged and not used" for name in damaged]
    if assignment and saved and saved.round < scenario.rounds:  # a simulation that was interrupted is one that was not
        events.append(f"the run was interrupted, and went on after round {saved.round}")
    strategy = strategies.build(scenario.strategy, scenario.cohort)
    strategies.restore(strategy, state.strategy)
    step = _step(scenario, folder) if scenario.engine == "litert" or assignment else b""
    history, arrays, shared = list(state.history), state.arrays, state.shared
    best.keep(folder, history, arrays)

    def rate(number: int) -> float | None:
        return schedule.rate(scenario, number, [facts["validation_loss"] for facts in history])

    def serve(weights: Arrays, number: int) -> tuple[list[dict[str, Any]], dict[int, str]]:
        return evaluation.clients(grid, scenario, weights, watch, number, assignment, step)

    suite, last = TestSuite.of(scenario, data.test), ends(scenario)
    quick = suite.some(SAMPLE, scenario.seed) if set(suite.sets) != {PLAIN} else suite
    probe = suite.some(scenario.probe, scenario.seed)
    probed = probe.scores(arrays)
    before = suite.scores(first) if staged(scenario) else None  # what the model knew before its first round
    met = {task for facts in history for task in facts["tasks"].values() if 0 <= task < len(suite.tests)}

    holdings = None if assignment else Holdings(scenario, data.train.y)
    for done in rounds(
        strategy, grid, scenario, arrays, rate, watch, state.round, state.shared, assignment, step, holdings
    ):
        start, arrays, shared = time.perf_counter(), done.arrays, dict(done.shared)
        scores = (suite if done.number in last else quick).scores(arrays)
        validation = evaluation.evaluate(arrays, data.validation) if len(data.validation) else None
        seen = history[-1]["seen"] if history else 0
        fact = record.fact(done, scores, validation, seen, 0.0)
        if scenario.probe:
            met |= {task for task in done.tasks.values() if 0 <= task < len(suite.tests)}
            now = probe.scores(arrays)
            fact["forgetting_split"], probed = forgetting_split(probe, probed, now, done.updates, done.tasks, met), now
        fact["seconds"]["evaluate"] = time.perf_counter() - start
        history.append(fact)
        if before and done.number in last[:-1]:  # after the last stage all are asked anyway
            shards, _ = serve(arrays, done.number)
            history[-1]["clients_accuracy"] = {str(one["client"]): one["accuracy"] for one in shards}
        if done.number in last:
            _keep(folder, scenario, arrays, history, before, shared)
        events += record.events(history[-1])
        checkpoint.save(folder, State(done.number, arrays, strategies.state(strategy), history, events, shared))
        best.keep(folder, history, arrays)
        record.lines(folder, history)
        watch.ended(history[-1])
    if history and history[-1]["round"] not in last:  # the schedule stopped early
        _keep(folder, scenario, arrays, history, before, shared)
    ended = State(len(history), arrays, {}, history, events)
    return _finish(scenario, folder, ended, suite, before, serve(arrays, len(history)))


def _step(scenario: Scenario, folder: Path) -> bytes:
    """The training step's file, made once a run: for clients without TensorFlow."""
    from core.engines.step import build

    file = folder / "step.tflite"
    if not file.exists():
        with placed(file) as made:
            made.write(build(scenario.model.kind, scenario.local.batch))
    return file.read_bytes()


def _keep(
    folder: Path, scenario: Scenario, arrays: Any, history: list[Any], before: Scores | None, shared: Shared
) -> None:
    """The model at the end of a stage, as a version."""
    facts = version(scenario, history, before)
    versions.keep(folder, facts["version"], arrays, facts, shared)


def _finish(
    scenario: Scenario,
    folder: Path,
    state: State,
    suite: TestSuite,
    before: Scores | None,
    served: tuple[list[dict[str, Any]], dict[int, str]],
) -> dict[str, Any]:
    """After the last round: the confusion matrix, every client's own accuracy (`served`), the report."""
    start = time.perf_counter()
    shards, failed = served
    events = [*state.events, *(f"client {c} could not judge the final model: {why}" for c, why in failed.items())]
    facts = record.run(scenario, state.history, state.arrays, events, folder)
    facts["best"] = {"federated": best.facts(folder, state.history)}
    turns = facts.pop("turns")
    facts["shards"] = [one | {"rounds": turns.get(str(one["client"]), 0)} for one in shards]
    own = {str(one["client"]): one["accuracy"] for one in shards}
    facts["continual"] = continual(scenario, state.history, suite, before, own)
    facts["confusion"] = evaluation.confusion(state.arrays, load(scenario).test).tolist()
    facts["seconds"]["evaluation"] += time.perf_counter() - start
    record.save(folder, facts)
    return facts
