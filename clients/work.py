"""What a client does when it is asked: from a message's records to the records of its answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import RecordDict

from clients import memory
from clients.battery import battery
from clients.learner import learn, met
from clients.sources import image_folder
from clients.sources.simulated import Shard, forget, shard, test
from core.config.scenario import ENGINES, unknown
from core.data import CLASSES, ELSEWHERE, Examples
from core.methods.base import Engine
from core.scores import score
from core.views.conditions import under
from fl import wire
from fl.messages import Task, Update

Config = Mapping[str, Any]  # a node's own, by its owner; empty in simulation


def train(content: RecordDict, config: Config) -> RecordDict:
    """Learn from the weights received; the new ones, and what else the server wants to know."""
    task = _task(content, config)
    engine = _engine(task, config)
    earlier = memory.begin(task.client, task.round, task.run)
    mine, _ = _held(task, config)
    before = memory.before(task.client, task.round, task.run)
    mu = task.extras.get("proximal-mu", 0.0)
    done = learn(
        mine, task.scenario, task.round, task.arrays, task.rate, before, mu=mu, payloads=task.payloads, engine=engine
    )
    memory.save(task.client, task.round, done.memory, task.run)
    memory.end(task.client, task.round, task.run)
    update = Update(
        task.client, done.arrays, done.own, done.sums, earlier=earlier, task=done.task, rehearsed=done.rehearsed,
        memory=memory.size(done.memory), battery=battery() if "client" in config else -1.0, payloads=done.payloads,
        round=task.round,
    )  # fmt: skip
    return wire.reply(update)


def evaluate(content: RecordDict, config: Config) -> RecordDict:
    """Judge the weights received on this client's own test images, as it meets them now; say what it holds."""
    task = _task(content, config)
    mine, tests = _held(task, config)
    own = tests()
    seen = under(met(task.scenario, mine, task.round), own.x, task.scenario.seed, task.client, "test")
    sums = score(_engine(task, config).logits(task.arrays, seen), own.y)
    labels = np.bincount(mine.train.y, minlength=CLASSES).tolist()
    looks = list(mine.looks.values())
    return wire.reply(Update(task.client, [], len(mine.train), sums, labels, looks, round=task.round))


WORK: dict[str, Callable[[RecordDict, Config], RecordDict]] = {"train": train, "evaluate": evaluate}


_run = ""  # the last message's; in simulation it has no name


def _task(content: RecordDict, config: Config) -> Task:
    """What the message asks of this node. A real one plays the client that its owner configured, with its owner's data."""
    global _run
    task = wire.task(content)
    if task.run != _run:
        forget()
        _run = task.run
    if "client" in config and int(config["client"]) != task.client:
        raise ValueError(f"this node plays client {config['client']}, not {task.client}")
    if "data" in config and not Path(str(config["data"])).is_dir():
        os.environ[ELSEWHERE] = str(config["data"])
    return task


def _held(task: Task, config: Config) -> tuple[Shard, Callable[[], Examples]]:
    """What this client trains on, and how to get what it judges on: its owner's folder, else its part of the scenario's data."""
    folder = Path(str(config.get("data", "")))
    if "data" in config and folder.is_dir():
        book = memory.home(task.client, task.run) / "experiences.json"
        mine, tests = image_folder.own(task.scenario, task.client, folder, book, task.round)
        return mine, lambda: tests
    scenario = task.scenario.json()
    return shard(scenario, task.client), lambda: test(scenario, task.client)


def _engine(task: Task, config: Config) -> Engine:
    """Who carries out the steps: what the scenario or this node's owner says; LiteRT where there is no TensorFlow."""
    wanted = str(config.get("engine", task.scenario.engine))
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
