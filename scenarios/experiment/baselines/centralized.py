"""Training on everybody's data in one place, all of it at once, in as many steps as the federation's clients take together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from clients.learner import learn
from clients.sources.simulated import Shard, shard, world
from core import schedule
from core.arrays import digest
from core.config.scenario import Scenario
from core.curves import Point
from core.data import Examples
from core.engines import default
from core.models import of
from fl import roster
from fl.holdings import Holdings
from fl.messages import Task
from scenarios.experiment.baselines import CROWD, Result, at_once, finished, lasting
from server import best, checkpoint, evaluation
from server.checkpoint import RunState
from server.record import RoundRecord


def centralized(scenario: Scenario, folder: Path) -> Iterator[Point]:
    """Train on the pooled data; yield the curve's points as they come, and leave the result in the folder."""
    shards = [shard(scenario.json(), client) for client in members(scenario)]
    pool, (data, _), engine = pooled(shards), world(scenario.json()), default(scenario)
    holdings, without_stream = Holdings(scenario, data.train.y), at_once(scenario)
    state = checkpoint.newest(folder)[0] or RunState(0, of(scenario).initial(scenario.seed))
    best.keep(folder, state.curve, state.arrays)
    yield from state.curve
    for number in range(state.round + 1, scenario.rounds + 1):
        rate = schedule.rate(without_stream, number, schedule.losses(state.curve))
        if rate is None:
            break
        count = sum(holdings.budget(client, number) for client in roster.choose(scenario, number))
        task = Task(lasting(without_stream, count, len(pool.train)), number, 0, rate, state.arrays)
        update = learn(pool, task, {}, engine)[0] if count else None
        arrays = update.arrays if update else state.arrays
        test = evaluation.evaluate(engine, arrays, data.test)
        validation = evaluation.evaluate(engine, arrays, data.validation).mean_loss if len(data.validation) else None
        row = RoundRecord(
            number,
            rate,
            seen=state.seen + (update.sums.examples if update else 0),
            accuracy=test.accuracy,
            loss=test.mean_loss,
            validation_loss=validation,
        )
        state = RunState(number, arrays, history=(*state.history, row))
        checkpoint.save(folder, state)
        best.keep(folder, state.curve, arrays)
        yield row.point
    last = state.curve[-1]
    best.write(folder / best.LAST, state.round, state.arrays)
    chosen = best.best_round(folder, state.curve)
    finished(folder, Result(last.accuracy, tuple(state.curve), chosen, last.loss, digest(state.arrays)))


def members(scenario: Scenario) -> Sequence[int]:
    """Whose data are pooled: everybody's. Of a crowd, all of whose images no memory may hold, those who take part in the run."""
    if scenario.clients <= CROWD:
        return range(scenario.clients)
    return sorted({client for number in range(1, scenario.rounds + 1) for client in roster.choose(scenario, number)})


def pooled(shards: list[Shard]) -> Shard:
    """All clients' data as one client's, each image augmented as strongly as its own client does."""
    strength = np.concatenate([np.tile(one.strength, (len(one.train), 1)) for one in shards])
    return Shard(0, Examples.join([one.train for one in shards]), strength, {})
