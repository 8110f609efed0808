"""Federated averaging with no framework at all, in two processes that live as long as the run.

The parent sends the weights (numpy) through each pipe, then clients' numbers, always two ahead, so that no worker waits; a
worker answers with each client's weights; the parent averages. Two steps: `floor`, a fast loop of TensorFlow's own operations
(tests/bench/floor.py); and `our`, the real client's `learn`, which shows what the federation around it costs. Run by
`measure.child`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np

from core.config.scenario import Scenario
from scenarios.environment import prepare
from tests.bench.measure import Tell

PROCESSES = 2
AHEAD = 2  # clients a worker has been given and not answered for
Arrays = list[np.ndarray]
Step = Callable[[Arrays, int, int], Arrays]  # (weights, client, round) → new weights


def bare(tell: Tell, folder: Path, scenario: str, step: str) -> None:
    """All rounds; tells each one's seconds, from the first message sent to the weights averaged."""
    prepare(folder)
    from fl import roster
    from tests.models import initial

    wanted, context = Scenario.of(scenario), multiprocessing.get_context("spawn")
    pipes = []
    for _ in range(PROCESSES):
        mine, theirs = context.Pipe()
        context.Process(target=_work, args=(theirs, scenario, step), daemon=True).start()
        pipes.append(mine)
    weights = initial(wanted.seed)
    for number in range(1, wanted.rounds + 1):
        start = time.perf_counter()
        weights = _round(pipes, weights, roster.choose(wanted, number), number)
        tell({"event": "round", "round": number, "seconds": time.perf_counter() - start})


def _round(pipes: list[Connection], weights: Arrays, clients: list[int], number: int) -> Arrays:
    waiting, left = iter(clients), len(clients)
    for pipe in pipes:
        pipe.send((weights, number))
    for pipe in pipes * AHEAD:
        _next(pipe, waiting)
    total, count = [np.zeros_like(w) for w in weights], 0
    while left:
        for pipe in wait(pipes):
            learned, examples = pipe.recv()
            _next(pipe, waiting)
            for sum_, w in zip(total, learned, strict=True):
                sum_ += examples * w
            count, left = count + examples, left - 1
    return [sum_ / np.float32(count) for sum_ in total]


def _next(pipe: Connection, waiting: Iterator[int]) -> None:
    if (client := next(waiting, None)) is not None:
        pipe.send(client)


def _work(pipe: Connection, scenario: str, step: str) -> None:
    from clients.sources.simulated import world

    wanted, rows = Scenario.of(scenario), world(scenario)[1]
    learn = {"floor": yardstick, "our": our}[step](wanted)
    with contextlib.suppress(EOFError):  # the parent is done
        weights: Arrays = []
        number = 0
        while True:
            if isinstance(message := pipe.recv(), int):
                pipe.send((learn(weights, message, number), len(rows[message])))
            else:
                weights, number = message


def our(scenario: Scenario) -> Step:
    """What a client of ours does between unpacking a message and packing its answer."""
    from clients.learner import learn
    from clients.sources.simulated import shard
    from fl.messages import Task
    from tests.models import engine

    text, rate = scenario.json(), scenario.local.rate

    def step(weights: Arrays, client: int, number: int) -> Arrays:
        update, _ = learn(shard(text, client), Task(scenario, number, client, rate, weights), {}, engine)
        return update.arrays

    return step


def yardstick(scenario: Scenario) -> Step:
    """The floor's epoch (tests/bench/floor.py)."""
    from clients.sources.simulated import world
    from core.seeds import rng
    from tests.bench import floor
    from tests.models import spec

    data, rows = world(scenario.json())
    count, batch = len(rows[0]), scenario.local.batch
    train = floor.epoch(data.train.x, data.train.y, spec().shapes, scenario.local.rate, batch, count)

    def step(weights: Arrays, client: int, number: int) -> Arrays:
        return train(weights, rng(scenario.seed, "batches", client, number).permutation(rows[client]))

    return step
