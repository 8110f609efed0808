"""SCAFFOLD: control variates correct the drift of clients whose data differ (Karimireddy et al. 2020, arXiv:1910.06378).

Client i adds c − cᵢ to each gradient, c being the server's control variate and cᵢ its own; after K steps of size η from x to
yᵢ its own becomes cᵢ⁺ = cᵢ − c + (x − yᵢ) / (Kη) (option II), and it uploads the difference. The server adds the mean of these
differences over *all* N clients to c. Under heavy-ball momentum μ a constant gradient g moves the weights by η·g·E with
E = Σₖ (1 − μᵏ) / (1 − μ), so E takes the place of K.

However weights are averaged, the rounds end where the cᵢ, and so the clients' gradients, have the sum 0: in the optimum of the
paper's loss, in which all clients count alike, whoever has more examples.

A reply that is lost moves a client's control variate, but not the server's: fl/strategies/counting.py keeps them in step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from core.arrays import Arrays, in_order, numbered, squared_length
from core.config.scenario import Scenario
from core.engines.base import Engine
from core.methods import by_client
from core.methods.base import Finetune, Memory, Payloads, Received, Shared, shares
from core.models import ModelSpec, of
from core.plan import Learned, Lesson, Pull
from fl.strategies import counting
from fl.strategies.flower import Flower, fedavg

ROUNDING = 1e-3  # relative; clients compute in float32


def scaffold(scenario: Scenario) -> Flower:
    """FedAvg whose clients correct their drift by control variates, in whose optimum all count alike (Karimireddy et al. 2020,
    arXiv:1910.06378)"""
    if scenario.local.clip:
        raise ValueError(
            f"strategy = scaffold needs local.clip = 0, not {scenario.local.clip:g}: a gradient that is cut no longer says "
            f"how steep a client's loss is, from which its control variate is made"
        )
    return replace(fedavg(scenario), methods=(ControlVariates(of(scenario), scenario.clients),))


def reach(steps: int, rate: float, momentum: float) -> float:
    """η·E: how far so many steps of this size carry the weights, for each unit of a constant gradient; 0 at a rate of 0."""
    return rate * sum((1 - momentum**k) / (1 - momentum) for k in range(1, steps + 1))


def direction(model: ModelSpec, start: Arrays, end: Arrays, distance: float) -> Arrays:
    """The mean gradient along which a client went from start to end, distance being its `reach`; 0 for statistics, which no
    gradient moves."""
    end = model.with_statistics(end, start)
    return [(x - y) / np.float32(distance) for x, y in zip(start, end, strict=True)]


class ControlVariates(Finetune):
    """What SCAFFOLD does on a client, and keeps on the server"""

    name = "scaffold"
    in_step = counts_all = True

    def __init__(self, model: ModelSpec, clients: int) -> None:
        super().__init__(model)
        self.clients = clients

    # ── on the client ──

    def pull(self, memory: Memory, lesson: Lesson) -> Pull:
        server, own = self._variates(memory, lesson)
        return Pull(Pull.none(lesson.start).a, [c - c_i for c, c_i in zip(server, own, strict=True)])

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        if not _reach(lesson, learned):
            return memory
        before, after = self._variates(memory, lesson)[1], self._new_variate(memory, lesson, learned)
        slot = counting.written(counting.stamp(lesson.scenario, lesson.round), self._counted(lesson), before, after)
        return {**memory, self.name: {lesson.stage: slot}}

    def upload(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Payloads:
        if not _reach(lesson, learned):
            return {}
        slot = counting.slot(memory, self.name)
        pairs = zip(in_order("own", slot), in_order("before", slot), strict=True)
        reach_and_round = np.array([_reach(lesson, learned), lesson.round], np.float32)
        return {self.name: [*(after - before for after, before in pairs), reach_and_round]}

    def _variates(self, memory: Memory, lesson: Lesson) -> tuple[Arrays, Arrays]:
        """The server's control variate, and the client's own as of the round that last counted; zeros at first."""
        zeros = [np.zeros_like(w) for w in lesson.start]
        sent, slot = lesson.payloads.get(self.name), counting.slot(memory, self.name)
        own = counting.arrays(slot, self._counted(lesson)) or zeros
        if sent and len(sent[-1]) > 2 and counting.newest(slot, self._counted(lesson)):
            own = [b + sent[-1][2] * (a - b) for a, b in zip(own, in_order("before", slot), strict=True)]
        return list(sent[:-1]) if sent else zeros, own

    def _counted(self, lesson: Lesson) -> int:
        """The stamp of the round in which a reply of this client last counted."""
        sent = lesson.payloads.get(self.name)
        return counting.from_floats(sent[-1][:2]) if sent else counting.NEVER

    def _new_variate(self, memory: Memory, lesson: Lesson, learned: Learned) -> Arrays:
        """The client's new control variate."""
        server, own = self._variates(memory, lesson)
        gradient = direction(self.model, lesson.start, learned.weights, _reach(lesson, learned))
        return [c_i - c + d for c_i, c, d in zip(own, server, gradient, strict=True)]

    # ── on the server ──

    def shapes(self, weights: Arrays) -> Mapping[str, Sequence[tuple[int, ...]]]:
        return {self.name: [*(w.shape for w in weights), (2,)]}

    def accept(self, payloads: Payloads, received: Received) -> Payloads:
        """The difference, if it follows from the client's own weights."""
        request = received.request
        wanted = reach(received.steps, request.rate, request.scenario.local.momentum)
        if self.name not in payloads or not received.arrays or not wanted:
            return {}
        *change, (distance, round_) = payloads[self.name]
        if round_ != request.round or not abs(distance - wanted) <= ROUNDING * wanted:
            raise ValueError(f"its control variate is of {distance:.4g} in round {round_:g}, not of {wanted:.4g}")
        server = self._server(request.shared) or [np.zeros_like(w) for w in request.arrays]
        gradient = direction(self.model, request.arrays, received.arrays, wanted)
        expected = [d - c for d, c in zip(gradient, server, strict=True)]
        deviation = _length([a - b for a, b in zip(change, expected, strict=True)])
        if not deviation <= ROUNDING * (_length(expected) + _length(server)) + 1e-6:
            raise ValueError("its control variate does not follow from its weights")
        return {self.name: [*change, np.array([counting.stamp(request.scenario, request.round)], np.int64)]}

    def balance(self, uploads: Mapping[int, Payloads], ratio: float) -> dict[int, Payloads]:
        """No change is longer than `ratio` times the cohort's median (the lower of two): one client shall not lead all others.

        The client is told what share of its change counted (`download`), so that its variate moves as the server's does.
        """
        sent = {client: payloads[self.name] for client, payloads in uploads.items() if self.name in payloads}
        share = shares({client: _length(change) for client, (*change, _) in sent.items()}, ratio)
        shorter = {
            c: {self.name: [*(d * share[c] for d in sent[c][:-1]), np.array([*sent[c][-1], _bits(share[c])])]}
            for c in share
        }
        return {c: {**payloads, **shorter.get(c, {})} for c, payloads in uploads.items()}

    def server_update(self, shared: Shared, uploads: Mapping[int, Payloads], arrays: Arrays) -> tuple[Shared, Arrays]:
        sent = {client: payloads[self.name] for client, payloads in uploads.items() if self.name in payloads}
        if not sent:
            return shared, arrays
        server = self._server(shared) or [np.zeros_like(w) for w in arrays]
        total = [np.sum(np.stack(each), 0) for each in zip(*(payload[:-1] for payload in sent.values()), strict=True)]
        server = [(c + d / np.float32(self.clients)).astype(np.float32) for c, d in zip(server, total, strict=True)]
        counted = ((client, int(stamp[0])) for client, (*_, stamp) in sent.items())
        shared = counting.noted({**shared, **numbered(f"{self.name}/", server)}, self.name, counted)
        cut = {client: int(stamp[1]) if len(stamp) > 1 else WHOLE for client, (*_, stamp) in sent.items()}
        if self._share in shared or set(cut.values()) != {WHOLE}:
            shared = {**shared, **by_client.written(shared, self._share, cut)}
        return shared, arrays

    def download(self, shared: Shared, client: int) -> Payloads:
        if not (server := self._server(shared)):
            return {}
        counted = counting.as_floats(counting.counted(shared, self.name, client))
        if self._share in shared:
            share = np.array([by_client.number(shared, self._share, client, WHOLE)], np.int32).view(np.float32)
            counted = np.concatenate([counted, share])
        return {self.name: [*server, counted]}

    @property
    def _share(self) -> str:
        """Where the server keeps what share of each client's last change counted (`_bits`)."""
        return f"{self.name}/share"

    def _server(self, shared: Shared) -> Arrays:
        """The server's control variate; none before anybody has counted."""
        return in_order(f"{self.name}/", shared)


def _reach(lesson: Lesson, learned: Learned) -> float:
    local = lesson.scenario.local
    return reach(learned.sums.examples // local.batch, lesson.rate, local.momentum)


def _bits(share: np.float32) -> int:
    """A share of a change as a whole number: the bits of its float32, which `by_client` keeps as they are."""
    return int(share.view(np.int32))


WHOLE = _bits(np.float32(1))  # of a change that counted as it was sent


def _length(arrays: Arrays) -> float:
    return math.sqrt(squared_length(arrays))
