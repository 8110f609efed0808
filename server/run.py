"""One run of the server: restore what there is of it, advance round by round, finish."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from core import schedule
from core.arrays import Arrays, digest
from core.config.scenario import Scenario
from core.data import Data, Examples, load
from core.disk import placed
from core.engines import Judge, default, training_step
from core.models import of
from fl import strategies
from fl.channel import Channel, Onlooker, Stopped
from fl.holdings import Holdings
from fl.roster import AnyNode, Assignment
from server import best, checkpoint, evaluation, inputs, record, run_folder, stages, versions
from server.checkpoint import RunState
from server.evaluation import Scores, Tests
from server.record import Costs, Report, RoundRecord
from server.rounds import Federation, Round, rounds
from server.run_folder import rounds_lock

PACKAGES = ("flwr", "ray", "tensorflow", "numpy")  # whose versions the report names


class Watch(Onlooker, Protocol):
    """Whoever looks on: the terminal, or a test."""

    def ended(self, record: RoundRecord) -> None:
        """A round is over."""


@dataclass(frozen=True)
class Run:
    """What a run is beside its state."""

    federation: Federation
    folder: Path
    watch: Watch
    data: Data
    tests: Tests
    before: Scores | None  # what the model knew before its first round, if there is anything that it could forget
    judged: tuple[float | None, ...] = ()  # the same on validation images, for the gate

    @property
    def scenario(self) -> Scenario:
        """The federation's."""
        return self.federation.scenario


def build(scenario: Scenario, folder: Path, watch: Watch, judge: Judge | None = None) -> ServerApp:
    """The ServerApp of one run; it leaves report.json, rounds.jsonl and checkpoints in the folder.

    judge: who tries models on test images; none: TensorFlow in this process.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        with suppress(Stopped):  # the last finished round is in its checkpoint; whoever asked to stop knows
            run(grid, scenario, folder, watch, judge=judge)

    return app


def run(
    grid: Grid,
    scenario: Scenario,
    folder: Path,
    watch: Watch,
    assignment: Assignment | None = None,
    judge: Judge | None = None,
) -> Report:
    """Train from the newest checkpoint, or from the start, to the end. Raises Stopped if the watcher says so.

    assignment: which node plays which client, on real nodes; in a simulation any node plays any client. judge: who tries
    models on test images; none: TensorFlow in this process.
    """
    channel = Channel(grid, scenario.round_timeout, watch, assignment or AnyNode())
    with rounds_lock(folder):
        this_run, state = restore(scenario, folder, channel, watch, judge)

        def rate(number: int) -> float | None:
            return schedule.rate(scenario, number, schedule.losses(state.curve))

        for outcome in rounds(this_run.federation, state, rate):
            state = advance(this_run, state, outcome)
        return finish(this_run, state)


def began_with(scenario: Scenario, folder: Path) -> Arrays:
    """The weights before a run's first round. One that goes on from another has that one's version beside its own, older than all
    of them (continuation.py)."""
    if not scenario.past:
        return of(scenario).initial(scenario.seed)
    oldest = next(iter(versions.listed(folder)), None)
    if oldest is None or int(oldest.name) > scenario.past:
        raise ValueError(f"{folder} has lost the version that it began with: begin it anew with --from")
    return versions.weights(oldest)


def restore(
    scenario: Scenario, folder: Path, channel: Channel, watch: Watch, judge: Judge | None = None
) -> tuple[Run, RunState]:
    """A run and its state: as its newest checkpoint has it, or before the first round."""
    data, on_nodes = load(scenario), not isinstance(channel.assignment, AnyNode)
    initial = began_with(scenario, folder)
    saved, damaged = checkpoint.newest(folder, initial)
    if saved is None and scenario.past:
        which = ", ".join(damaged) or "there is none"
        raise ValueError(
            f"{folder} went on from another run, and no checkpoint of it can be read ({which}): what the run before it kept "
            f"for methods is lost here; begin it anew with --from"
        )
    has_step = (on_nodes and not of(scenario).statistics) or scenario.engine == "litert"
    known = saved.inputs if saved else {}
    step = _step(scenario, folder, known.get(inputs.STEP)) if has_step else b""
    played_with = inputs.inputs(scenario, data, step)
    state = replace(saved or RunState(0, initial), inputs=played_with)
    inputs.check(folder, state.round, known, played_with)
    events = [] if state.round else list(data.notes)
    events += [f"checkpoint {name} was damaged and not used" for name in damaged]
    if known.get(inputs.STEP, played_with[inputs.STEP]) != played_with[inputs.STEP]:
        events.append(f"{run_folder.STEP} was made anew, and is not what rounds until {state.round} were trained with")
    if on_nodes and saved and 0 < saved.round < scenario.rounds:  # a simulation ends as if never interrupted
        events.append(f"the run was interrupted, and went on after round {saved.round}")
    best.keep(folder, state.curve, state.arrays)
    holdings = None if on_nodes else Holdings(scenario, data.train.y)
    federation = Federation(scenario, channel, step, holdings)
    tests = Tests(scenario, data, state.arrays, judge or default(scenario))
    before = tests.suite.scores(initial) if stages.staged(scenario) else None
    judged = tests.judged(initial) if before else ()
    data = replace(data, train=Examples.none())  # 47 MB of images that only clients look at
    return Run(federation, folder, watch, data, tests, before, judged), state.with_events(*events)


def _step(scenario: Scenario, folder: Path, known: str | None) -> bytes:
    """The training step's file, made once a run: for clients without TensorFlow. One that is not as it was made is made anew.

    known: its digest, as a checkpoint has it.
    """
    file = folder / run_folder.STEP
    if not file.exists() or known not in (None, inputs.step_digest(file.read_bytes())):
        with placed(file) as output:
            output.write(training_step(of(scenario), scenario.local.batch, strategies.chain(scenario).contrasts))
    return file.read_bytes()


def advance(run: Run, state: RunState, outcome: Round) -> RunState:
    """The state after a round: its model tested, kept as a version if a stage ends with it, and all of it written down."""
    row = run.tests.tested(outcome, state.history)
    if run.before and row.round in run.tests.ends[:-1]:  # after the last stage all are asked anyway
        start = time.perf_counter()
        shards, _ = evaluation.clients(run.federation, outcome.arrays, row.round)
        row = replace(row, clients_accuracy={one.client: one.accuracy for one in shards if one.accuracy is not None})
        spent = row.seconds.evaluate + time.perf_counter() - start
        row = replace(row, seconds=replace(row.seconds, evaluate=spent))
    reported = {client for one in state.history for client in one.unprepared}
    row = replace(row, unprepared=tuple(client for client in row.unprepared if client not in reported))
    row = replace(row, said=_news(row, state.history))
    history = (*state.history, row)
    state = RunState(row.round, outcome.arrays, outcome.strategy, outcome.shared, history, state.events, state.inputs)
    state = state.with_events(*record.events(row))
    if row.round in run.tests.ends:
        _keep(run, state)
    checkpoint.save(run.folder, state)
    best.keep(run.folder, state.curve, state.arrays)
    record.save_rounds(run.folder, history)
    run.watch.ended(row)
    return state


def _news(row: RoundRecord, history: Sequence[RoundRecord]) -> dict[int, str]:
    """What clients had to say, but for what each of them said last: it may say the same in every round."""
    last = {client: words for one in history for client, words in one.said.items()}
    return {client: words for client, words in row.said.items() if last.get(client) != words}


def _keep(run: Run, state: RunState) -> None:
    """The model at the end of a stage, as a version."""
    judged = state.history[-1].tasks_validation or run.tests.judged(state.arrays)
    about = stages.version(run.scenario, state.history, judged, run.judged)
    about = replace(about, weights_sha256=digest(state.arrays))
    versions.keep(run.folder, about, state.arrays, state.shared)


def _unmet(ends: Sequence[int], last: int) -> list[str]:
    """What to say of stages that a run which stopped early did not come to. ends: each one's last round; last: the run's."""
    begun = 1 + sum(end < last for end in ends)
    if begun >= len(ends):
        return []
    return [f"the schedule ended the run in stage {begun} of {len(ends)}; the later ones were not played"]


def finish(run: Run, state: RunState) -> Report:
    """After the last round: the confusion matrix, every client's own accuracy, the report."""
    if state.history and state.round not in run.tests.ends:  # the schedule stopped early
        last_row = replace(state.history[-1], **run.tests.scored(state.arrays))  # on all test images, as at any end
        state = replace(state, history=(*state.history[:-1], last_row))
        record.save_rounds(run.folder, state.history)
        _keep(run, state)
    state = state.with_events(*_unmet(run.tests.ends, state.round))
    start, turns = time.perf_counter(), Counter(client for row in state.history for client in row.clients)
    shards, failed = evaluation.clients(run.federation, state.arrays, state.round)
    events = [f"client {client} could not test the final model: {why}" for client, why in failed.items()]
    accuracies = {one.client: one.accuracy for one in shards if one.accuracy is not None}
    last = state.history[-1] if state.history else None
    seconds = [row.seconds for row in state.history]
    confusion = evaluation.confusion(run.tests.suite.judge, state.arrays, run.data.test)
    report = Report(
        settings=run.scenario,
        accuracy=last.accuracy if last else None,
        loss=last.loss if last else None,
        weights_sha256=digest(state.arrays),
        history=state.history,
        costs=Costs.of(run.scenario, state.history),
        shards=tuple(replace(one, rounds=turns[one.client]) for one in shards),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        continual=stages.continual(run.scenario, state.history, run.before, accuracies),
        events=(*state.events, *events),
        best={"federated": best.best_round(run.folder, state.curve)},
        seconds={
            "training": sum(one.train for one in seconds),
            "evaluation": sum(one.evaluate for one in seconds) + time.perf_counter() - start,
        },
        versions={name: version(name) for name in PACKAGES},
        folder=str(run.folder),
        labels=run.data.spec.labels,
    )
    record.save(run.folder, report)
    return report
