"""The rate the server sends in each round, as a pure function of the validation losses so far: resuming changes nothing."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from core.config.part import Registry
from core.config.scenario import Scenario
from core.curves import Measured, finite
from core.stream import ends


def constant(rate: float, round: int, ends: Sequence[int], losses: Sequence[float]) -> float | None:
    """The same rate in every round"""
    return rate


def cosine(
    rate: float,
    round: int,
    ends: Sequence[int],
    losses: Sequence[float],
    *,
    floor: float = 0.02,  # what is left of the rate at the end; range [0, 1]
) -> float | None:
    """Falls along half a cosine from the full rate to floor (0.02) of it (Loshchilov and Hutter 2017, arXiv:1608.03983)"""
    if not 0 <= floor <= 1:
        raise ValueError(f"floor = {floor} of cosine should be 0 … 1")
    return rate * _fall(round, ends[-1], floor)


def restarts(
    rate: float,
    round: int,
    ends: Sequence[int],
    losses: Sequence[float],
    *,
    floor: float = 0.02,  # what is left of the rate at the end; range [0, 1]
) -> float | None:
    """A cosine from the full rate to floor (0.02) of it in every stage of the stream, for each task its own
    (SGDR, Loshchilov and Hutter 2017, arXiv:1608.03983)"""
    if not 0 <= floor <= 1:
        raise ValueError(f"floor = {floor} of restarts should be 0 … 1")
    stage = bisect_left(ends, round)
    earlier_rounds = ends[stage - 1] if stage else 0
    return rate * _fall(round - earlier_rounds, ends[stage] - earlier_rounds, floor)


def _fall(round: int, rounds: int, floor: float) -> float:
    """From 1 in the first round to floor in the last."""
    progress = (round - 1) / max(1, rounds - 1)
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2


def plateau(
    rate: float,
    round: int,
    ends: Sequence[int],
    losses: Sequence[float],
    *,
    halve: int = 3,  # rounds without a better loss, then half the rate; at least 1
    stop: int = 5,  # rounds without one, then the end; at least 1
) -> float | None:
    """Halved after `halve` (3) rounds without a better validation loss, stops after `stop` (5)"""
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


SCHEDULES: Registry = {"constant": constant, "cosine": cosine, "restarts": restarts, "plateau": plateau}


def losses(curve: Sequence[Measured]) -> list[float]:
    """The validation losses of the rounds so far; infinite where there is none, or none that is finite."""
    return [loss if finite(loss := point.validation_loss) else math.inf for point in curve]


def rate(scenario: Scenario, round: int, losses: Sequence[float]) -> float | None:
    """The rate of a scenario's round, after rounds with these validation losses; None: stop."""
    context = (scenario.local.rate, round, ends(scenario), losses)
    return scenario.schedule.build("schedule", SCHEDULES, *context)
