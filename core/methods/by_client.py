"""A whole number for each of many clients, as the server keeps it for a method: i64 [clients, 2], (client, number), in order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from core.methods.base import Shared

NONE = np.zeros((0, 2), np.int64)


def number(shared: Shared, key: str, client: int, otherwise: int) -> int:
    """This client's; `otherwise`, if it has none. It is asked once a client and round: by bisection, not through a dictionary."""
    table = shared.get(key, NONE)
    row = int(np.searchsorted(table[:, 0], client))
    return int(table[row, 1]) if row < len(table) and table[row, 0] == client else otherwise


def written(shared: Shared, key: str, numbers: Mapping[int, int]) -> dict[str, np.ndarray]:
    """The entry of `shared` in which these clients have these numbers, and others those that they had."""
    clients, theirs = np.array(sorted(numbers.items()), np.int64).reshape(-1, 2).T
    old = shared.get(key, NONE)
    kept = old[~np.isin(old[:, 0], clients)]
    table = np.concatenate([kept, np.stack([clients, theirs], 1)])
    return {key: table[np.argsort(table[:, 0], kind="stable")]}
