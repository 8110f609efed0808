"""What a client keeps for a strategy, in step with the server's: only replies that count move it.

A reply that is lost moves what the client keeps, but not the server's. So a client keeps its arrays as they were before its last
round too, and the server says in which round a reply of its last counted: that tells which of the two are meant.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from core.arrays import Arrays, in_order, numbered
from core.methods import by_client
from core.methods.base import Memory, Shared, Slot

NEVER = -1  # the round of a client that never counted


# ── on the client ──


def slot(memory: Memory, name: str) -> Slot:
    """What it keeps under this name. There is one slot, whatever the stage in which it was written."""
    return next(iter(memory.get(name, {}).values()), {})


def arrays(slot: Slot, counted: int) -> Arrays:
    """Those of the round that last counted; none, if none did or they are lost."""
    rounds = [int(n) for n in slot.get("rounds", ())]
    if counted == NEVER or counted not in rounds:
        return []
    return in_order(("own", "before")[rounds.index(counted)], slot)


def written(round: int, counted: int, before: Arrays, after: Arrays) -> Slot:
    """What a client keeps after a round: its arrays as they are then, and as of the round that had last counted."""
    return {
        "rounds": np.array([round, counted], np.int64),
        **numbered("own", after),
        **numbered("before", before),
    }


# ── on the server ──


def counted(shared: Shared, name: str, client: int) -> int:
    """In which round a reply of this client's last counted; NEVER, if none did."""
    return by_client.number(shared, f"{name}/counted", client, NEVER)


def noted(shared: Shared, name: str, replies: Iterable[tuple[int, int]]) -> Shared:
    """These replies counted: (client, round) each."""
    return {**shared, **by_client.written(shared, f"{name}/counted", dict(replies))}
