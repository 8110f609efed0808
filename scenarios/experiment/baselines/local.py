"""Training each client alone, on nothing but its own data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from clients.learner import learn
from clients.sources.simulated import own_test, shard, world
from core import schedule
from core.config.scenario import Scenario
from core.curves import Point
from core.engines import default
from core.models import of
from fl import roster
from fl.holdings import Holdings
from fl.messages import Task
from scenarios.experiment.baselines import Alone, Result, at_once, finished, lasting
from server import best, evaluation
from server.record import BestRound


def local(scenario: Scenario, folder: Path) -> Iterator[int]:
    """Train each client alone, in just the rounds in which the federation would ask it, as many steps as it would be given there;
    yield each one's number as it is done.

    Each client's last weights, and those of its best round by the server's validation images, stay in clients/N.
    """
    turns = [roster.choose(scenario, number) for number in range(1, scenario.rounds + 1)]
    holdings = Holdings(scenario, world(scenario.json())[0].train.y)
    homes, seen = [folder / "clients" / str(client) for client in range(scenario.clients)], 0
    for client, home in enumerate(homes):
        home.mkdir(parents=True, exist_ok=True)
        seen += _alone(
            scenario, client, [number for number, cohort in enumerate(turns, 1) if client in cohort], home, holdings
        )
        yield client
    last, chosen = _tested(scenario, [home / best.LAST for home in homes]), None
    if scenario.validation:  # where no loss was ever finite, no round is best, and the last has to do
        files = [home / (best.BEST if (home / best.BEST).exists() else best.LAST) for home in homes]
        chosen = _tested(scenario, files)
    low, high = min(last.accuracies), max(last.accuracies)
    point = Point(last.accuracy, scenario.rounds, seen=seen, low=low, high=high)
    best_round = BestRound(chosen.accuracy) if chosen else None
    finished(folder, Result(last.accuracy, (point,), best_round, last_alone=last, best_alone=chosen))


def _alone(scenario: Scenario, client: int, turns: Sequence[int], home: Path, holdings: Holdings) -> int:
    """One client's training without the others; how many gradient examples it took."""
    (data, _), own_shard, without_stream = world(scenario.json()), shard(scenario.json(), client), at_once(scenario)
    arrays, engine = of(scenario).initial(scenario.seed), default(scenario)
    seen, curve = 0, list[Point]()
    (home / best.BEST).unlink(missing_ok=True)  # of an attempt that was cut off
    for number in turns:
        # A plateau is the federation's to see: alone, the rate stays as the schedule starts it.
        rate = schedule.rate(without_stream, number, [])
        assert rate is not None  # no schedule stops before its first loss
        if count := holdings.budget(client, number):
            task = Task(lasting(without_stream, count, len(own_shard.train)), number, client, rate, arrays)
            update, _ = learn(own_shard, task, {}, engine)
            arrays, seen = update.arrays, seen + update.sums.examples
        loss = evaluation.evaluate(engine, arrays, data.validation).mean_loss if len(data.validation) else None
        curve.append(Point(float("nan"), number, validation_loss=loss))
        best.keep(home, curve, arrays)
    best.write(home / best.LAST, turns[-1] if turns else 0, arrays)
    return seen


def _tested(scenario: Scenario, files: Sequence[Path]) -> Alone:
    """How each client's weights read all test images, and its own."""
    (data, _), engine = world(scenario.json()), default(scenario)
    everywhere, own_accuracies, rounds = list[float](), list[float | None](), list[int]()
    for client, file in enumerate(files):  # one after another: a thousand clients' weights are 0.9 GB
        round, arrays = best.weights(file)
        everywhere.append(evaluation.evaluate(engine, arrays, data.test).accuracy)
        on_own = evaluation.evaluate(engine, arrays, own_test(scenario.json(), client))
        own_accuracies.append(on_own.accuracy if on_own.examples else None)
        rounds.append(round)
    return Alone(tuple(everywhere), tuple(own_accuracies), tuple(rounds))
