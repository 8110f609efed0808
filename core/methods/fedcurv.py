"""FedCurv: clients share their Fisher information, so each is held where the others' weights matter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from core.arrays import Arrays, in_order, numbered, squared_length
from core.engines.base import Engine
from core.methods.base import Finetune, Memory, Payloads, Received, Shared, earlier_slots, own_slot, shares, with_slots
from core.methods.ewc import anchored, check, information
from core.models import ModelSpec
from core.plan import Learned, Lesson, Pull, distance

LARGEST = 1e6  # of a weight's Fisher information, over all stages: a generous limit, which keeps sums finite
TINY = 1e-12  # what is less holds nothing


class FedCurv(Finetune):
    """λ · Σ over others, and over one's own earlier stages, of F (w − w*)² (Shoham et al. 2019, arXiv:1910.07796)

    So a client sends more than weights: how much its images bear on each of them.

    The server adds up what the last round's clients sent: ΣF and ΣF·w* over all their stages. A client takes its own
    current stage out of the sum again.
    """

    name = "fedcurv"

    def __init__(
        self,
        model: ModelSpec,
        *,
        strength: float = 100.0,  # λ, at least 0
        samples: int = 200,  # images for the Fisher information, at least 1
    ) -> None:
        super().__init__(model)
        check(self.name, strength, samples)
        self.strength, self.samples = strength, samples

    def pull(self, memory: Memory, lesson: Lesson) -> Pull:
        payload = lesson.payloads.get(self.name)
        if not payload or not self.strength:
            return Pull.none(lesson.start)
        *sums, counted = payload
        fisher, product = _fisher_and_product(sums)
        slot = own_slot(memory, self.name, lesson.stage)
        if slot and counted.any():
            fisher = [np.maximum(f - g, 0) for f, g in zip(fisher, in_order("f", slot), strict=True)]
            product = [p - q for p, q in zip(product, in_order("p", slot), strict=True)]
        anchor = [p / np.maximum(f, TINY) for p, f in zip(product, fisher, strict=True)]
        return anchored(fisher, anchor, 2 * self.strength, lesson)

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        if not len(lesson.examples):
            return memory
        fisher = information(lesson, learned.weights, engine, self.samples)
        product = [f * w for f, w in zip(fisher, learned.weights, strict=True)]
        slots = earlier_slots(memory, self.name, lesson.stage)
        return with_slots(memory, self.name, slots | {lesson.stage: numbered("f", fisher) | numbered("p", product)})

    def upload(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Payloads:
        slots = list(memory.get(self.name, {}).values())
        if not slots:
            return {}
        return {self.name: [*_sum([in_order("f", s) for s in slots]), *_sum([in_order("p", s) for s in slots])]}

    def shapes(self, weights: Arrays) -> Mapping[str, Sequence[tuple[int, ...]]]:
        return {self.name: 2 * [w.shape for w in weights]}

    def accept(self, payloads: Payloads, received: Received) -> Payloads:
        """The sums, if they are of squares, and hold others to weights that a client can have had."""
        if self.name not in payloads:
            return {}
        weights, most = received.request.arrays, received.request.scenario.max_update_ratio
        fisher, product = _fisher_and_product(payloads[self.name])
        if any((f < 0).any() or (f > LARGEST).any() for f in fisher):
            raise ValueError(f"its Fisher information is not 0 … {LARGEST:g}")
        widest = (1 + most) * math.sqrt(squared_length(weights))
        if any((np.abs(p) > 1.001 * widest * f + TINY**2).any() for f, p in zip(fisher, product, strict=True)):
            raise ValueError(f"it holds others to single weights above {widest:.3g}, or where it has no information")
        # Where there is information, the weights that the others are held to; elsewhere they are held to nothing.
        anchor = [
            np.where(f > TINY, p / np.maximum(f, TINY), w) for f, p, w in zip(fisher, product, weights, strict=True)
        ]
        if (far := distance(weights, anchor)) > most:
            raise ValueError(f"it holds others to weights {far:.3g} times their length away, more than {most:g}")
        return {self.name: [*fisher, *product]}

    def balance(self, uploads: Mapping[int, Payloads], ratio: float) -> dict[int, Payloads]:
        """What a client knows weighs at most `ratio` times the cohort's median (the lower of two): else one holds all others."""
        fisher = {c: _fisher_and_product(sent[self.name])[0] for c, sent in uploads.items() if self.name in sent}
        total = {client: float(sum(f.sum(dtype=np.float64) for f in one)) for client, one in fisher.items()}
        share = shares(total, ratio)
        lighter = {c: {**uploads[c], self.name: [a * share[c] for a in uploads[c][self.name]]} for c in share}
        return {**uploads, **lighter}

    def server_update(self, shared: Shared, uploads: Mapping[int, Payloads], arrays: Arrays) -> tuple[Shared, Arrays]:
        sent = {client: payloads[self.name] for client, payloads in uploads.items() if self.name in payloads}
        if not sent:
            return shared, arrays
        total = numbered(f"{self.name}/", _sum(list(sent.values())))
        return {**shared, **total, f"{self.name}/clients": np.array(sorted(sent), np.int64)}, arrays

    def download(self, shared: Shared, client: int) -> Payloads:
        if f"{self.name}/clients" not in shared:
            return {}
        counted = np.array([client in shared[f"{self.name}/clients"]], np.float32)
        return {self.name: [*in_order(f"{self.name}/", shared), counted]}


def _fisher_and_product(payload: Sequence[np.ndarray]) -> tuple[Arrays, Arrays]:
    """A payload's Fisher information, and its products with the weights."""
    return list(payload[: len(payload) // 2]), list(payload[len(payload) // 2 :])


def _sum(lists: Sequence[Arrays]) -> Arrays:
    """Array by array."""
    return [np.sum(np.stack(arrays), 0) for arrays in zip(*lists, strict=True)]
