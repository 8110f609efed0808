"""FedCM: every step goes along the federation's direction too (Xu et al. 2021, arXiv:2106.10874).

Client i ends a round of K steps of size η at yᵢ. The mean over clients of (x − yᵢ) / (Kη), weighed as their weights are, is the
direction D that the federation went in: up to 1 / (1 − momentum) gradients long, for it has earlier directions in it. In the next
round D·momentum is added to each gradient. So a client that holds few classes is led by what all of them ask for, and keeps nothing
between rounds: it may be drawn once and never again.
The paper writes α·g + (1 − α)·Δ: ours is its step with η α in place of η, D = Δ/α and momentum = 1 − α. Under heavy-ball momentum
on the client, η·E takes the place of Kη (`scaffold.reach`).

Where few clients are drawn, one round's direction is that of its cohort. So D is the mean over the last `rounds` rounds, which
generalized heavy-ball momentum adds to FedCM (GHBM, Zaccone et al. 2025, arXiv:2311.18578); 1 is FedCM. Before there are so
many, it is the mean of those that there are, where GHBM's code adds nothing yet. Each round's direction is divided by its own η, so
that what is added falls with the rate.

Clients upload nothing for it: the server makes D of their weights. It sends D beside the global weights: as much again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from core.arrays import Arrays, in_order, numbered
from core.config.scenario import Scenario
from core.methods.base import Finetune, Memory, Payloads, Received, Shared, shares
from core.models import ModelSpec, of
from core.plan import Lesson, Pull
from fl.strategies.base import within
from fl.strategies.flower import Flower, fedavg
from fl.strategies.scaffold import direction, reach

ROUNDS = 100  # at most: the server keeps as many models


class FederationMomentum(Finetune):
    """Each gradient has the federation's direction of the last rounds added to it"""

    name = "fedcm"
    carried = False  # a new run's data may ask for another direction

    def __init__(self, model: ModelSpec, momentum: float, rounds: int, weight_exponent: float) -> None:
        super().__init__(model)
        self.momentum, self.rounds, self.weight_exponent = momentum, rounds, weight_exponent

    # ── on the client ──

    def pull(self, memory: Memory, lesson: Lesson) -> Pull:
        no_pull, direction = Pull.none(lesson.start), lesson.payloads.get(self.name)
        return Pull(no_pull.a, [np.float32(self.momentum) * d for d in direction]) if direction else no_pull

    # ── on the server ──

    def accept(self, payloads: Payloads, received: Received) -> Payloads:
        """The direction that the client went in, and its number of examples: no client sends either, the server has both."""
        request = received.request
        distance = reach(received.steps, request.rate, request.scenario.local.momentum)
        if not received.arrays or not distance:
            return {}
        gradient = direction(self.model, request.arrays, received.arrays, distance)
        return {self.name: [*gradient, np.array(received.examples, np.float32)]}

    def balance(self, uploads: Mapping[int, Payloads], ratio: float) -> dict[int, Payloads]:
        sent = {client: payloads[self.name] for client, payloads in uploads.items() if self.name in payloads}
        share = shares({client: float(count) for client, (*_, count) in sent.items()}, ratio)
        lighter = {c: {self.name: [*sent[c][:-1], sent[c][-1] * np.float32(share[c])]} for c in share}
        return {c: {**payloads, **lighter.get(c, {})} for c, payloads in uploads.items()}

    def server_update(self, shared: Shared, uploads: Mapping[int, Payloads], arrays: Arrays) -> tuple[Shared, Arrays]:
        sent = [payloads[self.name] for payloads in uploads.values() if self.name in payloads]
        if not sent:
            return shared, arrays
        weights = [float(count) ** self.weight_exponent for *_, count in sent]
        new = [
            np.average(np.stack(each), 0, weights).astype(np.float32)
            for each in zip(*(s[:-1] for s in sent), strict=True)
        ]
        directions = [new, *self._directions(shared)][: self.rounds]
        return {
            **shared,
            **{key: w for i, one in enumerate(directions) for key, w in numbered(_key(i), one).items()},
        }, arrays

    def download(self, shared: Shared, client: int) -> Payloads:
        directions = self._directions(shared)
        return {self.name: [np.mean(np.stack(each), 0) for each in zip(*directions, strict=True)]} if directions else {}

    def _directions(self, shared: Shared) -> list[Arrays]:
        """The directions of the last rounds, the newest first; none before anybody took a step."""
        return [one for i in range(self.rounds) if (one := in_order(_key(i), shared))]


def _key(i: int) -> str:
    return f"{FederationMomentum.name}/{i}/"


def fedcm(
    scenario: Scenario,
    *,
    momentum: float = 0.8,  # how much of the federation's direction is added to a gradient; 0 is FedAvg; range [0, 1)
    rounds: int = 4,  # the last ones, whose directions are averaged; 1 is the paper's; range [1, 100]
) -> Flower:
    """FedAvg whose clients add to each gradient the direction in which the federation went (FedCM, Xu et al. 2021,
    arXiv:2106.10874), in the last rounds (GHBM, Zaccone et al. 2025, arXiv:2311.18578)"""
    within("momentum", momentum, 0, 0.9999), within("rounds", rounds, 1, ROUNDS)
    method = FederationMomentum(of(scenario), momentum, rounds, scenario.weight_exponent)
    return replace(fedavg(scenario), methods=(method,))
