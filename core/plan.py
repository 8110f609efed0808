"""A client's round, decided in full before its first step: plain arrays that any engine carries out.

All randomness of a round is spent here, by address. Weight-space methods are a *pull* (a quadratic, so its gradient is
a·w + b, and pulls add up); data-space methods are *rehearsal* (more rows, with weights and teachers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.augment import augment
from core.data import CLASSES, HIDDEN, Examples
from core.scenario import Part, Scenario
from core.seeds import rng

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Pull:
    """What holds the weights: the gradient a·w + b, two arrays a weight (each of its shape, or a scalar for all of it)."""

    a: Arrays
    b: Arrays

    @classmethod
    def none(cls, weights: Arrays) -> Pull:
        """Nothing holds them."""
        return cls(*([np.zeros((), np.float32) for _ in weights] for _ in "ab"))

    @classmethod
    def towards(cls, target: Arrays, strength: float) -> Pull:
        """strength/2·|w − target|²: FedProx, with the received weights as target (Li et al. 2020, arXiv:1812.06127)."""
        s = np.float32(strength)
        return cls([s * np.ones((), np.float32) for _ in target], [-s * w for w in target])

    def __add__(self, other: Pull) -> Pull:
        add = [[x + y for x, y in zip(*pair, strict=True)] for pair in ((self.a, other.a), (self.b, other.b))]
        return Pull(*add)


@dataclass(frozen=True)
class Rehearsal:
    """What is looked at again, `share` of every batch: rows, and what each of them teaches (see Plan)."""

    examples: Examples
    hard: np.ndarray  # f32 [k]
    soft: np.ndarray  # f32 [k]
    logits: np.ndarray  # f32 [k, 10]
    share: float = 0.5

    @classmethod
    def none(cls) -> Rehearsal:
        """Nothing."""
        empty, none = Examples(np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.int64)), np.zeros(0, np.float32)
        return cls(empty, none, none, np.zeros((0, CLASSES), np.float32), 0.0)


@dataclass(frozen=True)
class Lesson:
    """What a client is about to learn, from which weights, and by which addresses it draws."""

    stage: int
    start: Arrays  # the received global weights
    examples: Examples
    strength: np.ndarray  # f32 [n, augmentations]: how strongly each example is augmented, 0 … 1
    client: int
    round: int
    rate: float
    scenario: Scenario
    mu: float = 0.0  # FedProx, if the server asks for it
    epochs: float | None = None  # passes over the examples, if not the scenario's own


@dataclass(frozen=True)
class Plan:
    """A client's round: what to look at, what each look teaches, and what holds the weights.

    The loss of a step is the mean over its batch of hard·CE(label) + soft·½|z − logits|² / 10, z being the model's logits.
    """

    images: np.ndarray  # uint8 [m, 28, 28]: own experience, augmented, then what is rehearsed
    order: np.ndarray  # int32 [steps, batch]: rows of images
    labels: np.ndarray  # int32 [m]
    hard: np.ndarray  # f32 [m]: weight of the cross-entropy with the label
    soft: np.ndarray  # f32 [m]: weight of matching `logits`
    logits: np.ndarray  # f32 [m, 10]: a teacher's answers (DER); zeros where soft is 0
    silenced: np.ndarray  # f32 [steps, batch, 128], or [steps, 1, 1] of ones: dropout, what multiplies the hidden units
    pull: Pull
    rate: np.ndarray  # f32 [steps]
    momentum: float


def steps(examples: int, batch: int, epochs: float) -> int:
    """Full batches in `epochs` passes over `examples`, at least one. Passes are laid end to end, so no batch is short."""
    return max(1, round(examples * epochs / batch))


def passes(examples: int, length: int, generator: np.random.Generator) -> np.ndarray:
    """`length` rows of 0 … examples-1: permutations end to end, so no row comes twice before all have come once."""
    turns = -(-length // examples)
    return np.concatenate([generator.permutation(examples) for _ in range(turns)])[:length]


def draw(lesson: Lesson, pull: Pull, rehearsal: Rehearsal) -> Plan:
    """Decide a lesson: own examples in a fresh order and view, rehearsed ones among them, all weights and masks."""
    scenario, local = lesson.scenario, lesson.scenario.local
    at = (lesson.client, lesson.round)
    extra = min(round(local.batch * rehearsal.share), local.batch - 1) if len(rehearsal.examples) else 0
    own = local.batch - extra
    count = steps(len(lesson.examples), own, lesson.epochs or local.epochs)

    rows = passes(len(lesson.examples), count * own, rng(scenario.seed, "batches", *at))
    views = augment(
        lesson.examples.x[rows], scenario.augment, lesson.strength[rows], rng(scenario.seed, "augment", *at)
    )
    order = np.arange(count * own, dtype=np.int32).reshape(count, own)
    plan = Plan(
        images=views,
        order=order,
        labels=lesson.examples.y[rows].astype(np.int32),
        hard=np.ones(len(rows), np.float32),
        soft=np.zeros(len(rows), np.float32),
        logits=np.zeros((len(rows), CLASSES), np.float32),
        silenced=_silenced(scenario, count, at),
        pull=pull,
        rate=np.full(count, lesson.rate, np.float32),
        momentum=local.momentum,
    )
    return _with_rehearsal(plan, rehearsal, extra, rng(scenario.seed, "rehearse", *at)) if extra else plan


def _with_rehearsal(plan: Plan, rehearsal: Rehearsal, extra: int, generator: np.random.Generator) -> Plan:
    """Add `extra` rehearsed rows to every batch."""
    again = passes(len(rehearsal.examples), len(plan.order) * extra, generator).reshape(-1, extra)
    return replace(
        plan,
        images=np.concatenate([plan.images, rehearsal.examples.x]),
        order=np.concatenate([plan.order, len(plan.images) + again], 1).astype(np.int32),
        labels=np.concatenate([plan.labels, rehearsal.examples.y.astype(np.int32)]),
        hard=np.concatenate([plan.hard, rehearsal.hard]),
        soft=np.concatenate([plan.soft, rehearsal.soft]),
        logits=np.concatenate([plan.logits, rehearsal.logits]),
    )


def _silenced(scenario: Scenario, count: int, at: Sequence[int]) -> np.ndarray:
    """Inverted dropout (Srivastava et al. 2014): 0 with the given probability, else 1 / (1 - probability)."""
    share = scenario.model.dropout
    if not share:
        return np.ones((count, 1, 1), np.float32)
    kept = rng(scenario.seed, "dropout", *at).random((count, scenario.local.batch, HIDDEN), np.float32) >= share
    return kept.astype(np.float32) / np.float32(1 - share)


def strengths(parts: Sequence[Part], seed: int, client: int) -> np.ndarray:
    """How strongly this client augments, f32 [augmentations], each 0.5 … 1 of the scenario's full range."""
    return rng(seed, "strength", client).uniform(0.5, 1, len(parts)).astype(np.float32)
