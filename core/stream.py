"""Which of its examples a client meets when: experiences, in the order this client meets them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Stream:
    """One client's experiences, in its own order."""

    parts: tuple[np.ndarray, ...]  # each: sorted row numbers of the client's shard; together they tile it
    tasks: tuple[int, ...]  # the global task of each part
    starts: tuple[int, ...]  # the first round of each part; the first is 1, ascending

    def stage(self, round: int) -> int:
        """The experience a client is in at this round."""
        return max(0, bisect_right(self.starts, round) - 1)


def whole(labels: np.ndarray, rng: np.random.Generator) -> Stream:
    """everything at once: one experience"""
    return Stream((np.arange(len(labels)),), (0,), (1,))


STREAMS = {"whole": whole}
