"""What a client keeps for a strategy, in step with the server's: only replies that count move it.

A reply that is lost moves what the client keeps, but not the server's. So a client keeps its arrays as they were before its last
round too, and the server says in which round a reply of its last counted: that tells which of the two are meant. Rounds have
numbers that no other run of those that went on from one another has (`stamp`), as a client brings its memory along.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from core.arrays import Arrays, in_order, numbered
from core.config.scenario import Scenario
from core.methods import by_client
from core.methods.base import Memory, Shared, Slot

NEVER = -1  # the round of a client that never counted
ROUNDS = 1_000_001  # more than a run has


def stamp(scenario: Scenario, round: int) -> int:
    """A round's number among those of all runs before this one: it has at least one stage more behind it than each of those."""
    return scenario.past * ROUNDS + round


def as_floats(stamp: int) -> np.ndarray:
    """A stamp as it goes to a client, f32 [2]: one float32 does not hold every whole number above 2²⁴."""
    return np.array(divmod(stamp, ROUNDS), np.float32)


def from_floats(pair: np.ndarray) -> int:
    """The stamp again."""
    past, round = (int(one) for one in pair)
    return past * ROUNDS + round


# ── on the client ──


def slot(memory: Memory, name: str) -> Slot:
    """What it keeps under this name. There is one slot, whatever the stage in which it was written."""
    return next(iter(memory.get(name, {}).values()), {})


def arrays(slot: Slot, counted: int) -> Arrays:
    """Those of the round that last counted, by its stamp; none, if none did or they are lost."""
    rounds = [int(n) for n in slot.get("rounds", ())]
    if counted == NEVER or counted not in rounds:
        return []
    return in_order(("own", "before")[rounds.index(counted)], slot)


def newest(slot: Slot, counted: int) -> bool:
    """Is the round that last counted, by its stamp, the newest that it keeps?"""
    return [int(n) for n in slot.get("rounds", ())][:1] == [counted]


def written(round: int, counted: int, before: Arrays, after: Arrays) -> Slot:
    """What a client keeps after a round: its arrays as they are then, and as of the round that had last counted; both by stamp."""
    return {
        "rounds": np.array([round, counted], np.int64),
        **numbered("own", after),
        **numbered("before", before),
    }


# ── on the server ──


def counted(shared: Shared, name: str, client: int) -> int:
    """The stamp of the round in which a reply of this client's last counted; NEVER, if none did."""
    return by_client.number(shared, f"{name}/counted", client, NEVER)


def noted(shared: Shared, name: str, replies: Iterable[tuple[int, int]]) -> Shared:
    """These replies counted: (client, stamp of the round) each."""
    return {**shared, **by_client.written(shared, f"{name}/counted", dict(replies))}
