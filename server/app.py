"""One run of the server: restore or begin; for each round: evaluate, report, checkpoint."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from core.data import load
from core.engines import tensorflow as engine
from core.model import initial
from core.scenario import Scenario
from core.schedule import SCHEDULES
from fl import strategies
from server import checkpoint, evaluate, report
from server.checkpoint import State
from server.rounds import Stopped, Watch, rounds


def build(scenario: Scenario, folder: Path, watch: Watch) -> ServerApp:
    """The ServerApp of one run; it leaves report.json, rounds.jsonl and checkpoints in the folder."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        with suppress(Stopped):  # the last finished round is in its checkpoint; whoever asked to stop knows
            run(grid, scenario, folder, watch)

    return app


def run(grid: Grid, scenario: Scenario, folder: Path, watch: Watch) -> dict[str, Any]:
    """Train from the newest checkpoint, or from the start, to the end. Raises Stopped if the watcher says so."""
    engine.one_thread()
    data = load(scenario)
    held, damaged = checkpoint.newest(folder)
    state = held or State(0, initial(scenario.seed))
    events = [*state.events, *(f"checkpoint {name} was damaged and not used" for name in damaged)]
    strategy = strategies.build(scenario.strategy, scenario.cohort)
    strategies.restore(strategy, state.strategy)
    history, arrays = list(state.history), state.arrays

    def rate(number: int) -> float | None:
        losses = [facts["validation_loss"] for facts in history]
        context = (scenario.local.rate, number, scenario.rounds, losses)
        return scenario.schedule.build("schedule", SCHEDULES, *context)

    for done in rounds(strategy, grid, scenario, arrays, rate, watch, state.round):
        start, arrays = time.perf_counter(), done.arrays
        test = evaluate.score(arrays, data.test)
        validation = evaluate.score(arrays, data.validation) if len(data.validation) else None
        seen = history[-1]["seen"] if history else 0
        history.append(report.fact(done, test, validation, seen, time.perf_counter() - start))
        events += report.events(history[-1])
        checkpoint.save(folder, State(done.number, arrays, strategies.state(strategy), history, events))
        report.lines(folder, history)
        watch.ended(history[-1])
    return _finish(grid, scenario, folder, watch, State(len(history), arrays, {}, history, events))


def _finish(grid: Grid, scenario: Scenario, folder: Path, watch: Watch, state: State) -> dict[str, Any]:
    """After the last round: the confusion matrix, every client's own accuracy, the report."""
    start = time.perf_counter()
    told, failed = evaluate.clients(grid, scenario, state.arrays, watch)
    events = [*state.events, *(f"client {c} could not judge the final model: {why}" for c, why in failed.items())]
    facts = report.run(scenario, state.history, state.arrays, events, folder)
    turns = facts.pop("turns")
    facts["shards"] = [one | {"rounds": turns.get(str(one["client"]), 0)} for one in told]
    facts["confusion"] = evaluate.confusion(state.arrays, load(scenario).test).tolist()
    facts["seconds"]["evaluation"] += time.perf_counter() - start
    report.save(folder, facts)
    return facts
