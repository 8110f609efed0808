"""A client's round: no Flower, no disk."""

from __future__ import annotations

from typing import Any

import numpy as np

from clients.shard import Shard
from core.methods import METHODS, Chain
from core.methods.base import Memory
from core.plan import Arrays, Lesson, Pull, draw
from core.scenario import Scenario
from core.seeds import rng
from core.stream import STREAMS


def learn(
    shard: Shard, scenario: Scenario, round: int, start: Arrays, rate: float, memory: Memory, **options: Any
) -> tuple[Arrays, Any, Memory]:
    """Learn one round from the weights received. Returns new weights, sums over the examples seen, new memory.

    options: `mu` (FedProx) and `epochs` (passes, if not the scenario's own).
    """
    from core.engines import tensorflow as engine
    from core.model import decay

    stream = scenario.stream.build("stream", STREAMS, shard.train.y, rng(scenario.seed, "stream", shard.client))
    stage = stream.stage(round)
    rows = stream.parts[stage]
    strength = np.broadcast_to(shard.strength, (len(shard.train), shard.strength.shape[-1]))[rows]
    lesson = Lesson(
        stream.tasks[stage], start, shard.train.take(rows), strength, shard.client, round, rate, scenario, **options
    )
    method = Chain([part.build("methods", METHODS) for part in scenario.methods])
    pull = method.pull(memory, lesson) + Pull(decay(scenario.model), Pull.none(start).b)
    pull = pull + Pull.towards(start, lesson.mu) if lesson.mu else pull
    learned, sums = engine.train(start, draw(lesson, pull, method.rehearse(memory, lesson)))
    return learned, sums, method.remember(memory, lesson, learned)
