"""What a client does when it is asked: from a message's records to the records of its answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
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
from clients.sources.simulated import Shard, forget, own_test, shard
from core import plugins
from core.config.parse import unknown
from core.config.scenario import ENGINES
from core.data import Examples, dataset
from core.engines import Engine, get
from core.models import of
from core.scores import score
from core.views.conditions import under
from fl import wire
from fl.messages import Task, Update
from fl.strategies import chain

plugins.load()  # on a device nobody else does

Config = Mapping[str, Any]  # a node's own, by its owner; empty in simulation


def train(content: RecordDict, config: Config) -> RecordDict:
    """Learn from the weights received; the new ones, and what else the server wants to know."""
    task = _task(content, config)
    start, processor_start = time.perf_counter(), time.process_time()
    engine, home = _engine(task, config), _home(task, config)
    prepared = _prepared(task, config, home)
    earlier = memory.begin(home, task.round)
    shard, _, changes = _data(task, config)
    update, new_memory = learn(shard, task, memory.before(home, task.round), engine)
    memory.save(home, task.round, new_memory)
    memory.end(home, task.round)
    level = battery() if "client" in config else -1.0
    update = replace(update, earlier=earlier, memory=memory.size(new_memory), battery=level)
    update = replace(update, unprepared=bool(new_memory) and not prepared, note=changes)
    return wire.reply(
        replace(update, seconds=time.perf_counter() - start, processor=time.process_time() - processor_start)
    )


def evaluate(content: RecordDict, config: Config) -> RecordDict:
    """Try the weights received, and its own model if it has one, on this client's own test images, as it meets them now; say
    what it holds."""
    task = _task(content, config)
    home, engine = _home(task, config), _engine(task, config)
    _prepared(task, config, home)
    own_shard, load_test, _ = _data(task, config)
    test = load_test()
    images = under(met(task.scenario, own_shard, task.round), test.x, task.scenario.seed, task.client, "test")
    sums, method, personal = score(engine.logits(task.arrays, images), test.y), chain(task.scenario), None
    if method.personal:  # with what it remembers of the rounds up to this one
        served = method.serve(memory.before(home, task.round + 1), task.arrays)
        personal = score(engine.logits(served, images), test.y)
    labels = np.bincount(own_shard.train.y, minlength=dataset(task.scenario).classes).tolist()
    looks = list(own_shard.looks.values())
    update = Update(task.client, [], len(own_shard.train), sums, labels, looks, round=task.round, personal=personal)
    return wire.reply(update)


WORK: dict[str, Callable[[RecordDict, Config], RecordDict]] = {"train": train, "evaluate": evaluate}


_run = ""  # the last message's; in simulation it has no name


def _task(content: RecordDict, config: Config) -> Task:
    """What the message asks of this node. A real one plays the client that its owner configured, with its owner's data; one of
    a simulation (Flower's own gives it a `partition-id`) plays whomever the message names."""
    global _run
    task = wire.task(content)
    if task.run != _run:
        forget()
        _run = task.run
    if "client" in config and int(config["client"]) != task.client:
        raise ValueError(f"this node plays client {config['client']}, not {task.client}")
    return task


def _home(task: Task, config: Config) -> Path:
    """The client's own folder: below the one that the backend names, or the node's environment."""
    base = Path(str(config.get("memory") or os.environ.get("CLIENTS_HOME", "clients-home")))
    return memory.home(base, task.client, task.run)


def _prepared(task: Task, config: Config, home: Path) -> bool:
    """Bring along what this client kept of the runs that this one goes on from, if it does. False: it kept nothing."""
    older = [_home(replace(task, run=run), config) for run in task.before]
    return not older or memory.carried(older, home)


def _data(task: Task, config: Config) -> tuple[Shard, Callable[[], Examples], str]:
    """What this client trains on, how to get its test images, and what changed in its folder. The data are its owner's, else its
    part of the scenario's."""
    files = Path(str(config["data"])) if "data" in config else None
    if files and files.is_dir():
        book = _home(task, config) / image_folder.BOOK
        own_shard, test = image_folder.own(task.scenario, task.client, files, book, task.round)
        return own_shard, lambda: test, image_folder.changes(book, task.round)
    scenario = task.scenario.json()
    return shard(scenario, task.client, files), lambda: own_test(scenario, task.client, files), ""


def _engine(task: Task, config: Config) -> Engine:
    """Who carries out the steps: what the scenario or this node's owner says; LiteRT where there is no TensorFlow."""
    wanted = str(config.get("engine", task.scenario.engine))
    if wanted not in ENGINES:
        raise unknown("engine", wanted, ENGINES)
    if wanted == "litert" or not _installed("tensorflow"):
        if of(task.scenario).statistics:
            raise ValueError(
                "there is no model.norm = batch without TensorFlow (engine = litert); choose model.norm = group"
            )
        if not task.step:
            raise ValueError("there is no TensorFlow here, and the server has sent no training step (engine = litert)")
        return get("litert", of(task.scenario), task.step, task.digest)
    return get("tensorflow", of(task.scenario))


@cache
def _installed(module: str) -> bool:
    return find_spec(module) is not None
