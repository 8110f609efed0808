"""How many examples each client of a simulation has, so that the server need not believe what an answer says of it.

On devices nobody but their owner knows: there the server caps what it believes (server/trust.py).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from core.config.scenario import Scenario
from core.data import taught
from core.plan import budget
from core.seeds import rng
from core.stream import Stream, joined, lay
from fl.partition import noisy, partition
from fl.strategies import chain


class Holdings:
    """The counts of every client, by the scenario's own partition and streams of these training labels, int [n]."""

    def __init__(self, scenario: Scenario, labels: np.ndarray) -> None:
        self.scenario, self.labels, self.method = scenario, labels, chain(scenario)
        self.rows = partition(scenario.partition, labels, scenario.clients, scenario.minimum, scenario.seed)
        self._stream = lru_cache(maxsize=1000)(self._lay)

    def _lay(self, client: int) -> Stream:
        labels, s = self.labels[self.rows[client]], self.scenario
        return lay(s, noisy(labels, s.noise, rng(s.seed, "noise", client), taught(s)) if s.noise else labels, client)

    def own_examples(self, client: int, round: int) -> int:
        """What it learns from in a round: its examples of the stage that it is in."""
        stream = self._stream(client)
        return len(stream.parts[stream.stage(round)])

    def stage_examples(self, client: int, round: int) -> tuple[int, ...]:
        """How many examples it has of each stage that it has met by a round, in its own order, the present one last; none of
        stages before it joined."""
        stream = self._stream(client)
        stages = stream.met(round, since=joined(self.scenario, client))
        return tuple(len(stream.parts[stage]) if stage in stages else 0 for stage in range(stages.stop))

    def budget(self, client: int, round: int) -> int:
        """The steps that it takes in a round, whatever its method (core.plan.budget)."""
        return budget(self.scenario, self.own_examples(client, round))

    def rehearsed(self, client: int, round: int) -> int:
        """The most that it can have remembered by then of its earlier stages; of an earlier run's, nobody here knows how many
        they were."""
        stream = self._stream(client)
        earlier = sum(len(part) for part in stream.parts[: stream.stage(round)])
        return self.method.rehearses(self.scenario.max_examples if self.scenario.past else earlier)
