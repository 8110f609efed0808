"""The rate the server sends in each round, as a pure function of the validation losses so far: resuming changes nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence


def constant(rate: float, round: int, rounds: int, losses: Sequence[float]) -> float | None:
    """the same rate in every round"""
    return rate


def cosine(rate: float, round: int, rounds: int, losses: Sequence[float], *, floor: float = 0.02) -> float | None:
    """falls along half a cosine from the full rate to floor (0.02) of it (Loshchilov and Hutter 2017, arXiv:1608.03983)"""
    if not 0 <= floor <= 1:
        raise ValueError(f"floor = {floor} of cosine should be 0 … 1")
    way = (round - 1) / max(1, rounds - 1)
    return rate * (floor + (1 - floor) * (1 + math.cos(math.pi * way)) / 2)


def plateau(
    rate: float, round: int, rounds: int, losses: Sequence[float], *, halve: int = 3, stop: int = 5
) -> float | None:
    """halved after `halve` (3) rounds without a better validation loss, stops after `stop` (5)"""
    if halve < 1 or stop < 1:
        raise ValueError(f"halve = {halve} and stop = {stop} of plateau should be at least 1")
    best, waited = math.inf, 0
    for loss in losses:
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited >= stop:
            return None
        if waited and waited % halve == 0:
            rate /= 2
    return rate


SCHEDULES = {"constant": constant, "cosine": cosine, "plateau": plateau}
