"""How much the server believes of an answer: enough that no admitted client can end a run, own it, or move it without bound.

What can be known is checked (in simulation, how many examples a client has); what cannot is bounded: counts by the cohort's
median, an update's length by the model's, the server's own step by the same. What stands out is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median, median_low
from typing import Any

import numpy as np

from core.config.scenario import Scenario
from core.methods.base import Finetune
from core.plan import Arrays, distance
from fl import wire
from fl.checks import Limits
from fl.holdings import Holdings
from fl.messages import Update

ENOUGH = 4  # updates before one can stand out from the others
APART = 6.0  # how many times their usual spread an update's direction must be from the others'


def counted(update: Update, holdings: Holdings, round: int) -> None:
    """Raises ValueError if a client of a simulation says other counts than the partition and its memory's budget give."""
    own, most = holdings.own(update.client, round), holdings.rehearsed(update.client, round)
    if update.own != own:
        raise ValueError(f"it says {update.own:,} examples of its own; the partition gives it {own:,}")
    if update.rehearsed > most:
        raise ValueError(f"it says {update.rehearsed:,} rehearsed examples; it can have kept {most:,}")


def capped(updates: Mapping[int, Update], ratio: float) -> dict[int, float]:
    """What each client's count is believed to be: at most `ratio` times the median (the lower of two middles) of those that
    learned; of all that have examples, where nobody takes a step."""
    said = {client: update.examples for client, update in updates.items()}
    cohort = [said[c] for c, u in updates.items() if u.arrays] or [count for count in said.values() if count]
    most = ratio * median_low(cohort) if cohort else 0.0
    return {client: min(count, most) for client, count in said.items()}


def read(
    content: Any,
    client: int,
    arrays: Arrays,
    scenario: Scenario,
    method: Finetune,
    holdings: Holdings | None,
    round: int,
) -> tuple[Update, float]:
    """An answer that passed every check of its own, and how far its weights are. Raises ValueError, saying what is wrong."""
    update = wire.update(content, client, arrays, method.shapes(arrays), Limits.of(scenario), round)
    if holdings:
        counted(update, holdings, round)
    far = distance(arrays, update.arrays) if update.arrays else 0.0
    if far > scenario.max_update_ratio:
        limit = f"max_update_ratio = {scenario.max_update_ratio:g} (--set max_update_ratio=… allows more)"
        raise ValueError(f"its weights moved {far:.3g} times their length, more than {limit}")
    return update, far


def bounded(old: Arrays, new: Arrays, max_update_ratio: float) -> tuple[Arrays, float]:
    """The server's step from old to new weights, cut to the length that one client's may have; and how long it was."""
    far = distance(old, new)
    if far <= max_update_ratio:
        return new, far
    share = np.float32(max_update_ratio / far)
    return [a + share * (b - a) for a, b in zip(old, new, strict=True)], far


def directions(old: Arrays, updates: Mapping[int, Arrays]) -> dict[int, float]:
    """The cosine between each client's update and the mean of the others'; of fewer than two clients there is none."""
    if len(updates) < 2:
        return {}
    moved = {c: np.concatenate([(b - a).ravel() for a, b in zip(old, new, strict=True)]) for c, new in updates.items()}
    total = np.sum(list(moved.values()), 0)
    return {client: _cosine(own, total - own) for client, own in moved.items()}


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-30))


def standing_out(cosines: Mapping[int, float]) -> dict[int, str]:
    """Who points away from the others, and how far: below 0, and far below what is usual in this cohort.

    With one label a client honest updates contradict each other too; so it is the distance from the median, in units of the
    median distance (Hampel 1974), that tells.
    """
    if len(cosines) < ENOUGH:
        return {}
    middle = median(cosines.values())
    spread = max(1.4826 * median(abs(c - middle) for c in cosines.values()), 0.02)
    odd = {client: c for client, c in cosines.items() if c < min(0.0, middle - APART * spread)}
    return {
        client: f"its update points away from the others' (cosine {c:.2f}; median {middle:.2f})"
        for client, c in odd.items()
    }
