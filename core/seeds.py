"""Randomness by address, never by order of calls."""

from __future__ import annotations

import hashlib

import numpy as np


def rng(seed: int, *path: str | int) -> np.random.Generator:
    """Give the generator that lives at this address, for example `rng(seed, "batches", client, round)`.

    The same address gives the same numbers in any process, in any order, after any interruption; two different
    addresses are independent (the seed is the SHA-256 of the whole path).
    """
    digest = hashlib.sha256(repr((int(seed), *path)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
