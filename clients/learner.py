"""A client's round: no Flower, no disk."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from clients.sources.simulated import Shard
from core.config.scenario import Scenario
from core.data import Examples
from core.engines.base import Engine
from core.methods.base import Finetune, Memory
from core.plan import Lesson, Plan, Pull, Rehearsal, draw, rehearsed_size
from core.scores import score
from core.stream import Stream, TaskTest, course, joined, lay
from core.views.conditions import under
from fl import roster
from fl.messages import Task, Update
from fl.strategies import chain


def learn(shard: Shard, task: Task, memory: Memory, engine: Engine) -> tuple[Update, Memory]:
    """Learn one round from the weights received: what goes back to the server, and what stays with the client."""
    scenario, round = roster.paced(task.scenario, task.client, task.round), task.round
    method = chain(scenario)
    start = method.begin(memory, task.arrays)
    stream = _stream(scenario, shard)
    stage = stream.stage(round)
    rows, examples = stream.parts[stage], _stage_examples(scenario, shard, stream, stage)
    strength = np.broadcast_to(shard.strength, (len(shard.train), shard.strength.shape[-1]))[rows]
    past = scenario.past if shard.first is None else shard.first
    lesson = Lesson(
        stage=past + stage, start=start, examples=examples, strength=strength, client=shard.client, round=round,
        rate=task.rate, scenario=scenario, payloads=task.payloads, typical=np.atleast_2d(shard.strength).mean(0),
    )  # fmt: skip
    # A device has met all that its folder holds; a simulated client has not met the stages before it joined.
    first = 0 if shard.stream else stream.met(round, since=joined(scenario, shard.client)).start
    revisited = range(max(first, method.revisits(lesson) - past), stage)
    lesson = replace(lesson, earlier={past + s: _stage_examples(scenario, shard, stream, s) for s in revisited})
    plan, rehearsed = _planned(method, memory, lesson, engine)
    learned = engine.train(start, plan)
    stepped = len(plan.order) > 0
    if stepped:
        extra = method.auxiliary(memory, lesson, plan)
        learned = replace(learned, auxiliary={name: engine.train(*one) for name, one in extra.items()})
    memory = method.remember(memory, lesson, learned, engine)
    update = Update(
        client=task.client,
        arrays=method.publish(task.arrays, learned.weights) if stepped else [],
        own_examples=len(examples),
        sums=learned.sums if stepped else score(engine.logits(start, examples.x), examples.y),
        task=stream.tasks[stage],
        payloads=method.upload(memory, lesson, learned, engine),
        rehearsed=rehearsed if stepped else 0,
        round=round,
    )
    return update, memory


def _stage_examples(scenario: Scenario, shard: Shard, stream: Stream, stage: int) -> Examples:
    """A client's images of a stage, under the stage's condition."""
    examples, condition = shard.train.take(stream.parts[stage]), _condition(scenario, shard, stream.tasks[stage])
    return Examples(under(condition, examples.x, scenario.seed, shard.client, stage), examples.y)


def _planned(method: Finetune, memory: Memory, lesson: Lesson, engine: Engine) -> tuple[Plan, int]:
    """The lesson decided in full, and how many images it rehearses; no step, if a method wants none."""
    if not method.trains(lesson):
        nothing = Rehearsal.none()
        return draw(replace(lesson, examples=nothing.examples), Pull.none(lesson.start), nothing), 0
    rehearsal = method.rehearse(memory, lesson, engine)
    pull = method.pull(memory, lesson) + Pull.decay(lesson.start, lesson.scenario.model.l2)
    pull = pull.stable(lesson.scenario.local.momentum, lesson.rate)
    distil = partial(method.distil, memory, lesson, engine)
    plan = draw(lesson, pull, rehearsal, method.guard(memory, lesson), distil, method.calibrate)
    contrast, reference = method.contrast(plan, memory, lesson, engine), method.reference(memory, lesson)
    rehearsed = len(rehearsal.examples) if rehearsed_size(lesson, rehearsal) else 0
    return replace(plan, path=method.path, contrast=contrast, reference=reference), rehearsed


def _stream(scenario: Scenario, shard: Shard) -> Stream:
    """Its own way through its own data, or the one that the scenario lays."""
    return shard.stream or lay(scenario, shard.train.y, shard.client)


def met(scenario: Scenario, shard: Shard, round: int) -> str:
    """Under which condition a client meets its images in this round."""
    stream = _stream(scenario, shard)
    return _condition(scenario, shard, stream.tasks[stream.stage(round)])


def _condition(scenario: Scenario, shard: Shard, task: int) -> str:
    """Under which condition a client meets a task's images. A device's own are as the device met them."""
    return TaskTest.condition if shard.stream else course(scenario).tests[task].condition
