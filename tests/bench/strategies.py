"""What a client's round costs with each strategy beside FedAvg's, on both engines: `python -m tests.bench.strategies`.

One client of `mild` with 600 images, in its second round, with what its first left on both sides; a round is a client's whole
`learn`, warm. In every repeat a strategy's round comes right behind one of FedAvg's. Bars are of TensorFlow's. A strategy without a
half on the client costs what FedAvg costs: it is measured only if it is named.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

from rich.console import Console
from rich.table import Table

from clients.learner import learn
from clients.sources.simulated import shard
from core.config.part import Part
from core.engines import Engine, default, get, step, training_step
from core.methods.base import Request
from core.models import of
from fl import strategies
from fl.messages import Task
from fl.strategies import STRATEGIES
from scenarios.presets.standard import MILD
from server.trust import received

IMAGES, RATE = 600, 0.03
BARS = {"scaffold": 1.1, "moon": 2.2}  # times a round of FedAvg's
SCENARIO = replace(MILD, train=10 * IMAGES, clients=10, cohort=10, partition=Part("iid"))


def main() -> int:
    """Print a line for each strategy; 1 if one is above its bar."""
    p = argparse.ArgumentParser(prog="python -m tests.bench.strategies", description=__doc__)
    p.add_argument("--repeats", type=int, default=7)
    plain = [name for name in STRATEGIES if name != "fedbn"]  # which needs a model with norms
    halves = [name for name in plain if strategies.build(replace(SCENARIO, strategy=Part(name))).client()]
    p.add_argument("--only", nargs="*", choices=STRATEGIES, default=halves, metavar="STRATEGY", help="these strategies")
    args = p.parse_args()
    table = Table(title=f"a client's warm round over FedAvg's, median of {args.repeats}", title_justify="left")
    for column in ("strategy", "tensorflow", "litert", "bar"):
        table.add_column(column, justify="left" if column == "strategy" else "right")
    slow = []
    for name in args.only:
        times = [measured(name, engine, args.repeats) for engine in ("tensorflow", "litert")]
        bar = BARS.get(name)
        slow += [name] if bar and times[0] > bar else []
        table.add_row(name, *(f"{ratio:.2f}" for ratio in times), f"{bar:g}" if bar else "")
    Console(highlight=False).print(table)
    return 1 if slow else 0


def measured(strategy: str, engine: str, repeats: int) -> float:
    """How many times as long as FedAvg's its round takes."""
    both = [second_round(name, engine) for name in ("fedavg", strategy)]
    ratios = []
    for number in range(repeats + 1):
        base, other = (seconds(work) for work in both)
        ratios += [other / base] if number else []  # the first traces and loads
    return median(ratios)


def second_round(strategy: str, kind: str) -> Callable[[], object]:
    """A client's second round, ready to be done: what it keeps and is sent is what comes of its first."""
    scenario = replace(SCENARIO, strategy=Part(strategy))
    mine, start, chain = shard(scenario.json(), 0), of(scenario).initial(0), strategies.chain(scenario)
    engine = _litert(chain.contrasts) if kind == "litert" else default(scenario)
    update, memory = learn(mine, Task(scenario, 1, 0, RATE, start), {}, engine)
    reply = received(update, Request(scenario, 1, RATE, start, {}), float(update.examples))
    shared, _ = chain.server_update({}, {0: chain.accept(update.payloads, reply)}, start)
    task = Task(scenario, 2, 0, RATE, start, chain.download(shared, 0))
    return lambda: learn(mine, task, memory, engine)


def seconds(work: Callable[[], object]) -> float:
    """That it takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _litert(contrasts: bool) -> Engine:
    file = training_step(of(SCENARIO), SCENARIO.local.batch, contrasts)
    return get("litert", of(SCENARIO), file, step.digest(file))


if __name__ == "__main__":
    sys.exit(main())
