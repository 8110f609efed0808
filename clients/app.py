"""Flower's ClientApp: unpack, call, pack. One process plays any client the message names."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients import growing, memory
from clients.learner import learn, met
from clients.shard import Shard, shard, test
from core.conditions import under
from core.data import CLASSES, ELSEWHERE, Examples
from core.engines import judge
from core.methods.base import Engine
from core.scenario import ENGINES, unknown
from fl import wire

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Learn from the weights received; answer with new ones."""
    try:
        return _train(message, _task(message, context), context)
    except BaseException as error:  # SystemExit or KeyboardInterrupt would end the worker for good
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


@app.query("who")
def who(message: Message, context: Context) -> Message:
    """Which client this node plays, by its own configuration."""
    return Message(wire.introduction(int(context.node_config["client"])), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Judge the weights received on this client's own test images, as it meets them now; say what it holds."""
    try:
        return _evaluate(message, _task(message, context), context)
    except BaseException as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


def _task(message: Message, context: Context) -> wire.Task:
    """What the message asks of this node. A real one plays the client that its owner configured, with its owner's data."""
    task, config = wire.task(message.content), context.node_config
    if "client" in config and int(config["client"]) != task.client:
        raise ValueError(f"this node plays client {config['client']}, not {task.client}")
    if "data" in config and not Path(str(config["data"])).is_dir():
        os.environ[ELSEWHERE] = str(config["data"])
    return task


def _held(task: wire.Task, context: Context) -> tuple[Shard, Callable[[], Examples]]:
    """What this client trains on, and how to get what it judges on: its owner's folder, else its part of the scenario's data."""
    folder = Path(str(context.node_config.get("data", "")))
    if "data" in context.node_config and folder.is_dir():
        book = memory.home(task.client, task.run) / "experiences.json"
        mine, tests = growing.own(task.scenario, task.client, folder, book, task.round)
        return mine, lambda: tests
    scenario = task.scenario.json()
    return shard(scenario, task.client), lambda: test(scenario, task.client)


def _train(message: Message, task: wire.Task, context: Context) -> Message:
    engine = _engine(task, context)
    earlier = memory.begin(task.client, task.round, task.run)
    mine, _ = _held(task, context)
    held = memory.before(task.client, task.round, task.run)
    mu = task.extras.get("proximal-mu", 0.0)
    done = learn(mine, task.scenario, task.round, task.arrays, task.rate, held, mu=mu, told=task.told, engine=engine)
    memory.save(task.client, task.round, done.memory, task.run)
    memory.end(task.client, task.round, task.run)
    update = wire.Update(
        task.client, done.arrays, done.examples, done.sums, earlier=earlier, task=done.task,
        memory=memory.size(done.memory), answer=done.answer,
    )  # fmt: skip
    return Message(wire.answer(update), reply_to=message)


def _evaluate(message: Message, task: wire.Task, context: Context) -> Message:
    mine, tests = _held(task, context)
    own = tests()
    seen = under(met(task.scenario, mine, task.round), own.x, task.scenario.seed, task.client, "test")
    sums = judge(_engine(task, context).answers(task.arrays, seen), own.y)
    labels = np.bincount(mine.train.y, minlength=CLASSES).tolist()
    update = wire.Update(task.client, [], len(mine.train), sums, labels, list(mine.looks.values()))
    return Message(wire.answer(update), reply_to=message)


def _engine(task: wire.Task, context: Context) -> Engine:
    """Who carries out the steps: what the scenario or this node's owner says; LiteRT where there is no TensorFlow."""
    wanted = str(context.node_config.get("engine", task.scenario.engine))
    if wanted not in ENGINES:
        raise unknown("engine", wanted, ENGINES)
    if wanted == "litert" or not _there("tensorflow"):
        from core.engines.litert import engine

        if not task.step:
            raise ValueError("there is no TensorFlow here, and the server has sent no training step (engine = litert)")
        return engine(task.step, task.digest)
    from core.engines import tensorflow

    tensorflow.one_thread()
    return tensorflow


@cache
def _there(module: str) -> bool:
    return find_spec(module) is not None
