"""What a run is compared with: the same data without federation, `centralized` (pooled) and `local` (each client alone), and
for streams `joint` (clients that keep everything); as `python -m scenarios.experiment.baselines`.

The first two take the same model, looks, augmentations, rates and number of gradient examples as the federation: a baseline *is*
a client's own `learn`, given all data, or no one else's. A federation of one is the centralized baseline, bit for bit.
Results are cached by everything that can change them, so that runs which differ only in strategy share them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import code_digest
from core.config.scenario import Part, Scenario
from core.disk import hold
from core.safe_json import read_object

if TYPE_CHECKING:
    from server.rounds import Watch

Facts = dict[str, Any]
KINDS = ("centralized", "local", "joint")
# Whole rooms: whoever adds or moves a file there need not remember that results of the old code are still lying about.
CODE = (
    "core", "fl", "clients", "server", "scenarios/experiment/baselines.py", "scenarios/environment.py", "scenarios/backends",
)  # fmt: skip


def cache_folder(scenario: Scenario, kind: str, runs: Path) -> Path:
    """Where this baseline's result and checkpoints are, named by the settings and the code that make it."""
    total = hashlib.sha256(plain(scenario, kind).json().encode() + code_digest.digest(*CODE).encode())
    return runs / ".baselines" / f"{kind}-{total.hexdigest()[:16]}"


def plain(scenario: Scenario, kind: str) -> Scenario:
    """What of a scenario a baseline depends on: not its name or round_timeout; without federation no strategy or stream either."""
    fixed = Scenario("baseline")
    if kind == "joint":
        unused = {
            name: getattr(fixed, name) for name in ("name", "engine", "softmax", "probe", "gate", "round_timeout")
        }
        return replace(scenario, methods=(Part("joint"),), **unused)
    return replace(
        scenario,
        name=fixed.name,
        engine=fixed.engine,
        strategy=fixed.strategy,
        weight_exponent=fixed.weight_exponent,
        methods=fixed.methods,
        stream=fixed.stream,
        order=fixed.order,
        lag=fixed.lag,
        join=(),
        leave=(),
        softmax=fixed.softmax,
        probe=fixed.probe,
        gate=fixed.gate,
        round_timeout=fixed.round_timeout,
    )


def result(folder: Path) -> Facts | None:
    """The finished baseline's facts, if it is finished; one that cannot be read is made again."""
    try:
        return read_object(folder / "result.json", "accuracy", "curve")
    except (FileNotFoundError, ValueError):
        return None


def progress(folder: Path) -> int:
    """Rounds done so far."""
    try:
        return int((folder / "done").read_text())
    except (OSError, ValueError):  # not begun, or in the middle of being written
        return 0


def centralized(scenario: Scenario, folder: Path) -> Iterator[Facts]:
    """Train on the pooled data; yield the curve's points as they come, with `result.json` at the end."""
    import numpy as np

    from clients.learner import learn
    from clients.sources.simulated import Shard, shard, world
    from core import schedule
    from core.data import Examples
    from core.model import initial
    from core.plan import steps
    from fl import roster
    from server import best, checkpoint, evaluation
    from server.record import digest

    text, batch = scenario.json(), scenario.local.batch
    shards = [shard(text, client) for client in range(scenario.clients)]
    strength = np.concatenate([np.tile(one.strength, (len(one.train), 1)) for one in shards])
    pool = Shard(0, Examples.join([one.train for one in shards]), strength, {})
    data, _ = world(text)
    state = checkpoint.newest(folder)[0] or checkpoint.State(0, initial(scenario.seed, scenario.model.kind))
    arrays, curve = state.arrays, list(state.history)
    best.keep(folder, curve, arrays)
    yield from curve
    for number in range(state.round + 1, scenario.rounds + 1):
        losses = [point["validation_loss"] for point in curve]
        rate = schedule.rate(scenario, number, losses)
        if rate is None:
            break
        budget = sum(steps(len(shards[c].train), batch, scenario.local.epochs) for c in roster.choose(scenario, number))
        done = learn(pool, scenario, number, arrays, rate, {}, epochs=budget * batch / len(pool.train))
        arrays = done.arrays
        test = evaluation.evaluate(arrays, data.test)
        validation = evaluation.evaluate(arrays, data.validation).mean_loss if len(data.validation) else None
        seen = (curve[-1]["seen"] if curve else 0) + done.sums.examples
        curve.append(
            {
                "round": number,
                "seen": seen,
                "accuracy": test.accuracy,
                "loss": test.mean_loss,
                "validation_loss": validation,
            }
        )
        checkpoint.save(folder, checkpoint.State(number, arrays, {}, curve))
        best.keep(folder, curve, arrays)
        yield curve[-1]
    last = {"accuracy": curve[-1]["accuracy"], "loss": curve[-1]["loss"], "weights_sha256": digest(arrays)}
    best.write(folder / best.LAST, curve[-1]["round"], arrays)
    _write(folder, last | {"curve": curve, "best": best.facts(folder, curve)})


def local(scenario: Scenario, folder: Path) -> Iterator[Facts]:
    """Train each client alone, in just the rounds in which the federation would ask it.

    Each client's last weights, and those of its best round by the server's validation images, stay in clients/N.
    """
    from clients.sources.simulated import world
    from fl import roster
    from server import best

    data, _ = world(scenario.json())
    turns = [roster.choose(scenario, number) for number in range(1, scenario.rounds + 1)]
    ended, chosen, seen = [], [], 0
    for client in range(scenario.clients):
        home = folder / "clients" / str(client)
        home.mkdir(parents=True, exist_ok=True)
        seen += _alone(scenario, client, [number for number, cohort in enumerate(turns, 1) if client in cohort], home)
        ended.append(_judged(scenario, client, home / best.LAST))
        if len(data.validation):  # where no loss was ever finite, no round is best, and the last has to do
            chosen.append(_judged(scenario, client, home / (best.BEST if (home / best.BEST).exists() else best.LAST)))
        yield {"client": client, "accuracy": ended[-1]["accuracy"], "own": ended[-1]["own"]}
    last = _together(ended)
    low, high = min(last["accuracies"]), max(last["accuracies"])
    point = {"round": scenario.rounds, "seen": seen, "accuracy": last["accuracy"], "low": low, "high": high}
    _write(folder, last | {"curve": [point], "best": _together(chosen) if chosen else None})


def _alone(scenario: Scenario, client: int, turns: list[int], home: Path) -> int:
    """One client's training without the others; how many gradient examples it took."""
    from clients.learner import learn
    from clients.sources.simulated import shard, world
    from core import schedule
    from core.model import initial
    from core.scores import Sums
    from server import best, evaluation

    data, _ = world(scenario.json())
    arrays, total, curve = initial(scenario.seed, scenario.model.kind), Sums(), list[Facts]()
    (home / best.BEST).unlink(missing_ok=True)  # of an attempt that was cut off
    for number in turns:
        # A plateau is the federation's to see: alone, the rate stays as the schedule starts it.
        rate = schedule.rate(scenario, number, [])
        assert rate is not None  # no schedule stops before its first loss
        done = learn(shard(scenario.json(), client), scenario, number, arrays, rate, {})
        arrays, total = done.arrays, total + done.sums
        loss = evaluation.evaluate(arrays, data.validation).mean_loss if len(data.validation) else None
        curve.append({"round": number, "validation_loss": loss})
        best.keep(home, curve, arrays)
    best.write(home / best.LAST, turns[-1] if turns else 0, arrays)
    return total.examples


def _judged(scenario: Scenario, client: int, weights: Path) -> Facts:
    """How a client's own model reads all test images, and its own digits."""
    from clients.sources.simulated import test, world
    from server import best, evaluation

    round_, arrays = best.weights(weights)
    everywhere = evaluation.evaluate(arrays, world(scenario.json())[0].test).accuracy
    return {
        "accuracy": everywhere,
        "own": evaluation.evaluate(arrays, test(scenario.json(), client)).accuracy,
        "round": round_,
    }


def _together(judged: list[Facts]) -> Facts:
    """Means over the clients, and each one's accuracies and round."""
    everywhere, own = [one["accuracy"] for one in judged], [one["own"] for one in judged]
    means = {"accuracy": sum(everywhere) / len(everywhere), "own": sum(own) / len(own)}
    return means | {"accuracies": everywhere, "own_accuracies": own, "rounds": [one["round"] for one in judged]}


def joint(scenario: Scenario, folder: Path, watch: Watch) -> None:
    """The federation itself, stage by stage, but every client keeps all it met: the upper bound of continual methods."""
    from scenarios.backends import local as here
    from scenarios.environment import prepare
    from server import best, checkpoint, run

    here.run(run.build(scenario, folder, watch), scenario, 1, prepare(folder))
    state, _ = checkpoint.newest(folder)
    if (folder / "report.json").exists() and state:
        best.write(folder / best.LAST, state.round, state.arrays)
        facts = read_object(folder / "report.json")
        last = {"accuracy": facts["accuracy"], "loss": facts["loss"], "weights_sha256": facts["weights_sha256"]}
        curve = [{key: row[key] for key in ("seen", *best.KEYS)} for row in facts["history"]]
        matrix = facts["continual"]["matrix"]
        _write(folder, last | {"curve": curve, "matrix": matrix, "best": facts["best"]["federated"]})


class Beside:
    """Watches a baseline for the run that wants it: tells how far it is, stops when that run is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.parent = folder, os.getppid()

    def stopped(self) -> bool:
        """Is the run that wanted it gone?"""
        return os.getppid() != self.parent

    def replied(self, round: int, done: int, of: int) -> None:
        """Nobody counts single replies."""

    def ended(self, facts: Mapping[str, Any]) -> None:
        """So many rounds, or clients, are done."""
        (self.folder / "done").write_text(str(facts.get("round", facts.get("client", 0) + 1)))
        print(json.dumps({key: facts[key] for key in ("round", "client", "accuracy") if key in facts}), flush=True)


def _write(folder: Path, facts: Facts) -> None:
    from server.record import write

    write(folder / "result.json", json.dumps(facts) + "\n")


def main() -> int:
    """Run one baseline of the scenario in a JSON file; a run starts this beside itself."""
    from scenarios.environment import prepare

    parser = argparse.ArgumentParser(prog="python -m scenarios.experiment.baselines", description=main.__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("scenario", type=Path, help="a run's scenario.json")
    parser.add_argument("folder", type=Path, help="the folder for its result and checkpoints (see `cache_folder`)")
    args = parser.parse_args()
    prepare()
    from core.engines import tensorflow as engine

    engine.one_thread()
    scenario, folder = plain(Scenario.of(args.scenario.read_text()), args.kind), args.folder
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder, wait=True):  # another run may want the same one at the same time
        return _made(args.kind, scenario, folder, Beside(folder))


def _made(kind: str, scenario: Scenario, folder: Path, watch: Beside) -> int:
    """Make it, unless it is there; the exit code."""
    if result(folder):
        return 0
    if kind == "joint":
        joint(scenario, folder, watch)
        return 0 if result(folder) else 1
    for fact in {"centralized": centralized, "local": local}[kind](scenario, folder):
        watch.ended(fact)
        if watch.stopped():
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
