"""A client's round: no Flower, no disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from clients.sources.simulated import Shard
from core.config.scenario import Scenario
from core.data import Examples
from core.methods import chain
from core.methods.base import Engine, Memory, Payloads
from core.plan import Arrays, Lesson, Pull, Rehearsal, draw
from core.scores import Sums, score
from core.stream import Stream, course, lay
from core.views.conditions import under


@dataclass(frozen=True)
class Result:
    """What a client's round came to."""

    arrays: Arrays  # the new weights; none, if the client took no step
    own: int  # images of its own that it learned from
    rehearsed: int  # images that it remembers and learned from again
    sums: Sums  # over all rows seen
    memory: Memory  # stays with the client
    payloads: Payloads  # what methods send beside the weights
    task: int  # what it was learning


def learn(
    shard: Shard,
    scenario: Scenario,
    round: int,
    start: Arrays,
    rate: float,
    memory: Memory,
    mu: float = 0.0,
    epochs: float | None = None,
    payloads: Mapping[str, Arrays] | None = None,
    engine: Engine | None = None,
) -> Result:
    """Learn one round from the weights received.

    mu: FedProx; epochs: passes, if not the scenario's own; payloads: what the server adds for methods; engine: who carries it
    out, TensorFlow if nobody is named.
    """
    engine = engine or _stock()
    stream = _stream(scenario, shard)
    stage = stream.stage(round)
    rows, task = stream.parts[stage], stream.tasks[stage]
    mine = shard.train.take(rows)
    mine = Examples(under(course(scenario).tests[task].condition, mine.x, scenario.seed, shard.client, stage), mine.y)
    strength = np.broadcast_to(shard.strength, (len(shard.train), shard.strength.shape[-1]))[rows]
    typical = np.atleast_2d(shard.strength).mean(0)
    lesson = Lesson(
        scenario.past + stage, start, mine, strength, shard.client, round, rate, scenario, mu, epochs, payloads or {}, typical
    )  # fmt: skip
    method = chain(scenario)
    if method.trains(lesson):
        rehearsal = method.rehearse(memory, lesson, engine)
        pull = method.pull(memory, lesson) + Pull.decay(start, scenario.model.l2)
        pull = pull + Pull.towards(start, lesson.mu) if lesson.mu else pull
        taught = method.distil(memory, lesson, engine)
        plan = draw(lesson, pull, rehearsal, method.guard(memory, lesson), method.path, taught)
    else:
        rehearsal = Rehearsal.none()
        plan = draw(replace(lesson, examples=rehearsal.examples), Pull.none(start), rehearsal)  # no step
    learned = engine.train(start, plan)
    stepped = len(plan.order) > 0
    memory = method.remember(memory, lesson, learned, engine)
    uploaded = method.upload(memory, lesson, learned, engine)
    sums = learned.sums if stepped else score(engine.logits(start, mine.x), mine.y)
    return Result(
        learned.weights if stepped else [], len(mine), len(rehearsal.examples) if stepped else 0, sums, memory, uploaded, task,
    )  # fmt: skip


def _stream(scenario: Scenario, shard: Shard) -> Stream:
    """Its own way through its own data, or the one that the scenario lays."""
    return shard.stream or lay(scenario, shard.train.y, shard.client)


def _stock() -> Engine:
    from core.engines import tensorflow

    return tensorflow


def met(scenario: Scenario, shard: Shard, round: int) -> str:
    """Under which condition a client meets its images in this round."""
    stream = _stream(scenario, shard)
    return course(scenario).tests[stream.tasks[stream.stage(round)]].condition
