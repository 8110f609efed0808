"""How much the server believes of a reply: enough that no admitted client can end a run, own it, or move it without bound.

What can be known is checked (in simulation, how many examples a client has); what cannot is bounded: counts by the cohort's
median, an update's length by the model's, the server's own step by the same. What stands out is named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median, median_low

import numpy as np
from flwr.app import RecordDict

from core.arrays import Arrays
from core.methods.base import Finetune, Payloads, Received, Request
from core.models import ModelSpec, of
from core.plan import budget, distance
from fl import roster, wire
from fl.checks import Limits
from fl.holdings import Holdings
from fl.messages import Update

ENOUGH = 4  # updates before one can stand out from the others
ODD_SPREADS = 6.0  # how many times their usual spread an update's direction must be from the others'


@dataclass(frozen=True)
class Checked:
    """A reply that passed every check of its own."""

    update: Update
    drift: float  # how far its weights moved, over their length
    bytes: int  # of all arrays in it


@dataclass(frozen=True)
class Believed:
    """What of a round's replies counts. Mappings are by client, in order."""

    updates: Mapping[int, Update]
    drift: Mapping[int, float]  # how far its weights moved, over their length
    counts: Mapping[int, float]  # its examples, as far as they are believed
    steps: Mapping[int, int]  # that it took, as far as its examples are believed
    payloads: Mapping[int, Payloads]  # what methods accept of what it sent beside its weights
    refused: Mapping[int, str]  # the others, and why

    @property
    def learned(self) -> dict[int, Arrays]:
        """The new weights of those who took a step."""
        return {client: update.arrays for client, update in self.updates.items() if update.arrays}


def believe(
    replies: Mapping[int, Checked], request: Request, method: Finetune, holdings: Holdings | None = None
) -> Believed:
    """Cap the counts of replies that passed their own checks (`read`), and let methods look at what came for them.

    method: all that a client does beside plain training; holdings: what clients of a simulation have, None on devices, where
    nobody knows.
    """
    updates, refused = {client: one.update for client, one in replies.items()}, dict[int, str]()
    scenario, on_devices = request.scenario, holdings is None
    reported = {client: float(update.examples) for client, update in updates.items()}
    believed_most = cap(updates, scenario.count_ratio) if on_devices else math.inf
    counts = {client: min(count, believed_most) for client, count in reported.items()}
    payloads = dict[int, Payloads]()
    for client, update in updates.items():
        try:
            payloads[client] = method.accept(update.payloads, received(update, request, believed_most, holdings))
        except ValueError as error:
            refused[client] = str(error)
    if on_devices:
        payloads = method.balance(payloads, scenario.count_ratio)
    updates = {client: update for client, update in updates.items() if client not in refused}
    drift = {client: replies[client].drift for client in updates}
    steps = {client: _steps(update, counts[client], scenario.local.batch) for client, update in updates.items()}
    return Believed(updates, drift, counts, steps, payloads, refused)


def _steps(update: Update, count: float, batch: int) -> int:
    """At the client's own pace, which `read` has checked, so many examples as are believed: at least 1."""
    return max(1, round(update.sums.examples / batch * count / max(1, update.examples)))


def received(
    update: Update, request: Request, max_examples: float = math.inf, holdings: Holdings | None = None
) -> Received:
    """What a method needs to know of a reply. max_examples: how many that a client is believed to have."""
    return Received(
        request=request,
        arrays=update.arrays,
        own_examples=update.own_examples,
        examples=update.examples,
        steps=update.sums.examples // request.scenario.local.batch,
        max_examples=max_examples,
        client=update.client,
        stage_examples=holdings.stage_examples(update.client, request.round) if holdings else None,
    )


def read(content: RecordDict, client: int, request: Request, method: Finetune, holdings: Holdings | None) -> Checked:
    """A reply, if it passes every check of its own. Raises ValueError, saying what is wrong."""
    scenario, arrays = request.scenario, request.arrays
    expected = wire.Expected(client, arrays, method.shapes(arrays), Limits.of(scenario), request.round)
    update = wire.update(content, expected)
    if holdings:
        counted(update, holdings, request.round)
    if not update.arrays:
        return Checked(update, 0.0, wire.size(content))
    if not method.asks_for_weights(request):
        raise ValueError("it sent weights in a round in which nobody trains")
    rows = scenario.local.batch * budget(
        roster.paced(scenario, client, request.round), update.own_examples, update.rehearsed
    )
    if not rows:
        raise ValueError("it learned without an example of its own; idle = rest says that it takes no step then")
    if update.sums.examples != rows:
        raise ValueError(f"it says {update.sums.examples:,} gradient examples; its examples take {rows:,}")
    model = of(scenario)
    # Else they are the server's own
    fresh = any(not np.array_equal(update.arrays[i], arrays[i]) for i in model.statistics)
    if fresh and not scenario.model.fixes_norm(request.round):
        model.check_statistics(update.arrays, scenario.local.batch)
    ratio = distance(model.trainable(arrays), model.trainable(update.arrays), request.squared_length)
    if ratio > scenario.max_update_ratio:
        limit = f"max_update_ratio = {scenario.max_update_ratio:g} (--set max_update_ratio=… allows more)"
        raise ValueError(f"its weights moved {ratio:.3g} times their length, more than {limit}")
    return Checked(update, ratio, wire.size(content))


def counted(update: Update, holdings: Holdings, round: int) -> None:
    """Raises ValueError if a client of a simulation says other counts than the partition and its memory's budget give."""
    own, most = holdings.own_examples(update.client, round), holdings.rehearsed(update.client, round)
    if update.own_examples != own:
        raise ValueError(f"it says {update.own_examples:,} examples of its own; the partition gives it {own:,}")
    if update.rehearsed > most:
        raise ValueError(f"it says {update.rehearsed:,} rehearsed examples; it can have kept {most:,}")


def cap(updates: Mapping[int, Update], ratio: float) -> float:
    """The most examples that a client is believed to have: `ratio` times the median (the lower of two middles) of those that
    learned; of all that have examples, where nobody takes a step."""
    counts = [update.examples for update in updates.values() if update.arrays]
    cohort = counts or [update.examples for update in updates.values() if update.examples]
    return ratio * median_low(cohort) if cohort else 0.0


def bounded(old: Arrays, new: Arrays, max_update_ratio: float, model: ModelSpec) -> tuple[Arrays, float]:
    """The server's step from old to new weights, cut to the length that one client's may have; and how long it was.

    A model's statistics are no step, and not cut.
    """
    ratio = distance(model.trainable(old), model.trainable(new))
    if ratio <= max_update_ratio:
        return new, ratio
    share = np.float32(max_update_ratio / ratio)
    return model.with_statistics([a + share * (b - a) for a, b in zip(old, new, strict=True)], new), ratio


def directions(old: Arrays, updates: Mapping[int, Arrays], drift: Mapping[int, float]) -> dict[int, float]:
    """The cosine between each client's update and the sum of the others'; of fewer than two clients there is none.

    drift: how long each update is, in any unit. In the sum none is longer than the median one: else whoever sent the others' mean,
    turned round and many times as long, would make all of them point away from the sum, and so stand out from nobody.
    """
    if len(updates) < 2:
        return {}
    usual = median(drift[client] for client in updates)
    shares = {client: np.float32(min(1.0, usual / max(drift[client], 1e-30))) for client in updates}
    total = [np.zeros_like(a) for a in old]
    for client, new in updates.items():
        for t, a, b in zip(total, old, new, strict=True):
            t += (b - a) * shares[client]
    return {client: _cosine(old, new, total, shares[client]) for client, new in updates.items()}


def _cosine(old: Arrays, new: Arrays, total: Arrays, share: np.float32) -> float:
    """The cosine between one update and the sum of the others', `total` being the sum of all, in which this one has its `share`. An
    array at a time: a copy of every update at once takes longer than all of the arithmetic."""
    inner = own_squared = others_squared = 0.0
    for a, b, t in zip(old, new, total, strict=True):
        own = (b - a).ravel() * share
        others = t.ravel() - own
        inner, own_squared, others_squared = (
            inner + float(own @ others),
            own_squared + float(own @ own),
            others_squared + float(others @ others),
        )
    return inner / max(math.sqrt(own_squared * others_squared), 1e-30)


def standing_out(cosines: Mapping[int, float]) -> dict[int, str]:
    """Who points away from the others, and how far: below 0, and far below what is usual in this cohort.

    With one label a client honest updates contradict each other too; so it is the distance from the median, in units of the
    median distance (Hampel 1974), that tells.
    """
    if len(cosines) < ENOUGH:
        return {}
    middle = median(cosines.values())
    spread = max(1.4826 * median(abs(c - middle) for c in cosines.values()), 0.02)
    odd = {client: c for client, c in cosines.items() if c < min(0.0, middle - ODD_SPREADS * spread)}
    return {
        client: f"its update points away from the others' (cosine {c:.2f}; median {middle:.2f})"
        for client, c in odd.items()
    }
