"""The floor: federated averaging with no framework at all, in two processes that live as long as the run.

The parent sends the weights (numpy) through each pipe, then clients' numbers, always two ahead, so that no worker waits; a
worker answers with each client's weights; the parent averages. Two steps: `plain`, a graph loop of TensorFlow's own
operations and autodiff over images that stay in memory as floats; and `our`, the real client's `learn`, which shows what
Flower and Ray cost. Run by `measure.child`.
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
    learn = {"plain": plain, "our": our}[step](wanted)
    with contextlib.suppress(EOFError):  # the parent is done
        weights: Arrays = []
        number = 0
        while True:
            if isinstance(told := pipe.recv(), int):
                pipe.send((learn(weights, told, number), len(rows[told])))
            else:
                weights, number = told


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


def plain(scenario: Scenario) -> Step:
    """TensorFlow's own operations, weights as loop variables: what one would write without looking for speed."""
    import tensorflow as tf

    from clients.sources.simulated import world
    from core.plan import passes, steps
    from core.seeds import rng

    data, rows = world(scenario.json())
    images = tf.constant(data.train.x[..., None].astype(np.float32) / 255)
    labels = tf.constant(data.train.y)

    @tf.function(autograph=False)
    def run(weights: list[tf.Tensor], order: tf.Tensor) -> list[tf.Tensor]:
        def one(i, weights):  # type: ignore[no-untyped-def]
            x, y = tf.gather(images, order[i]), tf.gather(labels, order[i])
            with tf.GradientTape() as tape:
                tape.watch(weights)
                z = _logits(tf, weights, x)
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z))
            slopes = tape.gradient(loss, weights)
            return i + 1, [w - scenario.local.rate * g for w, g in zip(weights, slopes, strict=True)]

        zero, count = tf.constant(0), tf.shape(order)[0]
        return tf.while_loop(lambda i, _: i < count, one, (zero, weights), parallel_iterations=1)[1]

    def step(weights: Arrays, client: int, number: int) -> Arrays:
        mine, batch = rows[client], scenario.local.batch
        count = steps(len(mine), batch, scenario.local.epochs)
        drawn = mine[passes(len(mine), count * batch, rng(scenario.seed, "batches", client, number))]
        return [w.numpy() for w in run(weights, drawn.astype(np.int32).reshape(count, batch))]

    return step


def _logits(tf, weights, x):  # type: ignore[no-untyped-def]
    k1, b1, k2, b2, k3, b3, k4, b4 = weights
    x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(x, k1, 1, "VALID") + b1), 2, 2, "VALID")
    x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(x, k2, 1, "VALID") + b2), 2, 2, "VALID")
    return tf.nn.relu(tf.reshape(x, [-1, 1600]) @ k3 + b3) @ k4 + b4
