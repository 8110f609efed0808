"""A client's round, decided in full before its first step: plain arrays that any engine carries out.

All randomness of a round is spent here, by address. Weight-space methods are a *pull* (a quadratic, so its gradient is
a·w + b, and pulls add up); data-space methods are *rehearsal* (more rows, with weights and teachers).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from core.arrays import Arrays, squared_length
from core.config.part import Part
from core.config.scenario import Scenario
from core.data import Examples, dataset
from core.models import of
from core.scores import Sums
from core.seeds import rng
from core.softmax import SOFTMAXES, Calibration
from core.views.augment import augment


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
    def decay(cls, weights: Arrays, l2: float) -> Pull:
        """l2·|w|² for kernels, nothing for biases (Model.l2)."""
        slopes = [np.float32(2 * l2 if w.ndim > 1 else 0) * np.ones((), np.float32) for w in weights]
        return cls(slopes, cls.none(weights).b)

    @classmethod
    def towards(cls, target: Arrays, strength: float) -> Pull:
        """strength/2·|w − target|²: FedProx, with the received weights as target (Li et al. 2020, arXiv:1812.06127)."""
        s = np.float32(strength)
        return cls([s * np.ones((), np.float32) for _ in target], [-s * w for w in target])

    def stable(self, momentum: float, rate: float) -> Pull:
        """The same where no step carries a weight past where it is held, a ≤ (1 − momentum) / rate; elsewhere both are scaled down
        to that: what several methods want together may be more than each may want alone."""
        most = np.float32((1 - momentum) / max(rate, 1e-12)) * np.float32(1 + 1e-6)
        if all((a <= most).all() for a in self.a):
            return self
        shares = [np.minimum(np.float32(1), most / np.maximum(a, np.float32(1e-12))) for a in self.a]
        return Pull(*([x * share for x, share in zip(each, shares, strict=True)] for each in (self.a, self.b)))

    def __add__(self, other: Pull) -> Pull:
        add = [[x + y for x, y in zip(*pair, strict=True)] for pair in ((self.a, other.a), (self.b, other.b))]
        return Pull(*add)


@dataclass(frozen=True)
class Rehearsal:
    """What is looked at again, `share` of every batch: rows, and what each of them teaches (see Plan)."""

    examples: Examples
    hard: np.ndarray  # f32 [k]
    soft: np.ndarray  # f32 [k, classes], or [k, 1]: the same for all classes
    logits: np.ndarray  # f32, of the same shape
    share: float = 0.5

    @classmethod
    def none(cls) -> Rehearsal:
        """Nothing."""
        return replace(cls.labels(Examples.none()), share=0.0)

    @classmethod
    def labels(cls, examples: Examples, share: float = 0.5) -> Rehearsal:
        """Examples that teach their labels."""
        n = len(examples)
        flat = np.zeros((n, 1), np.float32)
        return cls(examples, np.ones(n, np.float32), flat, flat, share)


@dataclass(frozen=True)
class Distillation:
    """What own examples, as they are seen, teach beside their labels: ½ Σ_c soft_c (z_c − logits_c)² / classes for each."""

    soft: np.ndarray  # f32 [n, classes], or [n, 1]: the same for all classes
    logits: np.ndarray  # f32, of the same shape

    @classmethod
    def nothing(cls, count: int) -> Distillation:
        """Their labels only."""
        return cls(*(np.zeros((count, 1), np.float32) for _ in "sl"))

    def __add__(self, other: Distillation) -> Distillation:
        """Two teachers pull like one: with both their weights, towards the weighted mean of what they say."""
        soft = self.soft + other.soft
        logits = (self.soft * self.logits + other.soft * other.logits) / np.where(soft > 0, soft, 1)
        return Distillation(soft, logits.astype(np.float32))


@dataclass(frozen=True)
class Contrast:
    """What the features of a plan's images are held to: weight · log(1 + exp(⟨φ/|φ|, apart⟩)) for each, φ being its features."""

    apart: np.ndarray  # f32 [m, features]: where they should not point
    weight: float


@dataclass(frozen=True)
class Lesson:
    """What a client is about to learn, from which weights, and by which addresses it draws."""

    stage: int  # the client's own experience, in the order it meets them
    start: Arrays  # the weights it starts from: the received global ones, but for layers that stay with a client
    examples: Examples  # none, if the client has nothing of this stage's task
    strength: np.ndarray  # f32 [n, augmentations]: how strongly each example is augmented, 0 … 1
    client: int
    round: int
    rate: float
    scenario: Scenario
    payloads: Mapping[str, Arrays] = field(default_factory=dict)  # what the server adds for a method (`download`)
    typical: np.ndarray | float = 1.0  # f32 [augmentations]: how strongly rehearsed examples are augmented
    earlier: Mapping[int, Examples] = field(default_factory=dict)  # of the stages that a method asks for (`revisits`)


@dataclass(frozen=True)
class Plan:
    """A client's round: what to look at, what each look teaches, and what holds the weights.

    The loss of a step is the mean over its batch of hard·CE(scale·z + shift, label) + ½ Σ_c soft_c (z_c − logits_c)² / classes,
    z being the model's logits, and of the row's contrast, if there is one. With rows to guard, the step's gradient is bent where
    it would raise their loss (A-GEM), and with a reference where it goes against it.
    """

    images: np.ndarray  # uint8 [m, 28, 28]: own experience, augmented, then what is rehearsed
    order: np.ndarray  # int32 [steps, batch]: rows of images
    labels: np.ndarray  # int32 [m]
    hard: np.ndarray  # f32 [m]: weight of the cross-entropy with the label
    scale: np.ndarray  # f32 [classes]: multiplies the logits inside the cross-entropy (FedRS)
    shift: np.ndarray  # f32 [m, classes]: added to the logits inside the cross-entropy, after `scale`
    soft: np.ndarray  # f32 [m, classes]: weight of matching `logits`
    logits: np.ndarray  # f32 [m, classes]: a teacher's answers (LwF, DER); they count where soft is not 0
    dropout_mask: np.ndarray  # f32 [steps, batch, hidden] that multiplies the hidden units; [steps, 1, 1] of ones: none
    pull: Pull
    rate: np.ndarray  # f32 [steps]
    momentum: float
    clip: float  # the greatest length of the gradient of a step's loss, all weights together; the pull comes after; 0: any
    guard: np.ndarray  # int32 [steps, k]: rows whose loss no step may raise; k = 0: none
    path: bool = False  # also sum each weight's part in lowering the loss (SI)
    # A gradient that no step may go against, of the weights' shapes; empty: none
    reference: Arrays = field(default_factory=list)
    contrast: Contrast | None = None  # added to each row's loss (MOON)
    fixed_norm: bool = False  # batch norms go by the statistics that came, and leave them (FixBN)


@dataclass(frozen=True)
class Learned:
    """What came of a plan."""

    weights: Arrays
    sums: Sums  # over all rows seen
    path: Arrays  # Σ over steps of −gradient · movement, of the weights' shapes; empty unless the plan asks
    # {method: what came of what it trained beside (`auxiliary`)}
    auxiliary: Mapping[str, Learned] = field(default_factory=dict)


def joined(tables: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """Tables of rows, each f32 [n, classes] or one column for all of them, under each other: f32 [rows, classes]."""
    return np.concatenate([np.broadcast_to(table, (len(table), classes)) for table in tables])


def distance(old: Arrays, new: Arrays, size: float | None = None) -> float:
    """|new − old| / |old|, over all weights. size: |old|², where it is known."""
    moved = sum(float(np.vdot(d, d)) for d in (b - a for a, b in zip(old, new, strict=True)))
    return math.sqrt(moved / max(squared_length(old) if size is None else size, 1e-30))


def steps(examples: int, batch: int, epochs: float) -> int:
    """Full batches in `epochs` passes over `examples`, at least one. Passes are laid end to end, so no batch is short."""
    return max(1, round(examples * epochs / batch))


def budget(scenario: Scenario, own: int, remembered: int = 0) -> int:
    """Steps of a client in a round: those that its own examples of its present stage ask for, whatever its methods do.

    A method that rehearses puts what it remembers in place of own examples, a share of every batch, and takes no step more;
    so all methods, and the baselines, take the same number of steps and of gradient examples (`local.batch` a step).
    (FedSSI's surrogate and Ditto's personal model are trained beside, for as many steps again.)
    A client with nothing of its own in this stage takes none; with idle = rehearse it passes over what it remembers, which
    is more than the budget.
    """
    local = scenario.local
    count = own or (remembered if scenario.idle == "rehearse" else 0)
    return steps(count, local.batch, local.epochs) if count else 0


def passes(examples: int, length: int, generator: np.random.Generator) -> np.ndarray:
    """`length` rows of 0 … examples-1: permutations end to end, so no row comes twice before all have come once."""
    if not length:
        return np.zeros(0, np.int64)
    turns = -(-length // examples)
    return np.concatenate([generator.permutation(examples) for _ in range(turns)])[:length]


def draw(
    lesson: Lesson,
    pull: Pull,
    rehearsal: Rehearsal,
    guard: Examples | None = None,
    distil: Callable[[Examples], Distillation] | None = None,
    calibrate: Callable[[np.ndarray], Calibration] = Calibration.none,
) -> Plan:
    """Decide a lesson: own examples in a fresh order and view, rehearsed ones among them, all weights and masks.

    distil: what own examples teach beside their labels, given the views in which they are seen. calibrate: what the
    cross-entropy compares, given how many images of each class the client learns from (int [classes]).
    How many steps they fill is the client's `budget`; without any the plan has no step.
    """
    scenario, local = lesson.scenario, lesson.scenario.local
    at, classes = (lesson.client, lesson.round), dataset(scenario).classes
    count = budget(scenario, len(lesson.examples), len(rehearsal.examples))
    past_size = rehearsed_size(lesson, rehearsal) if count else 0
    own_size = local.batch - past_size if len(lesson.examples) else 0
    rows = passes(len(lesson.examples), count * own_size, rng(scenario.seed, "batches", *at))
    rehearsed_rows = passes(len(rehearsal.examples), count * past_size, rng(scenario.seed, "rehearse", *at))
    own, rehearsed = lesson.examples.take(rows), rehearsal.examples.take(rehearsed_rows)
    views = _views(lesson, own.x, rows, rehearsed.x)
    labels, is_own = np.concatenate([own.y, rehearsed.y]).astype(np.int32), np.arange(len(views)) < len(rows)
    distillation = (distil or (lambda seen: Distillation.nothing(len(seen))))(Examples(views[: len(rows)], own.y))
    counts = np.stack([np.bincount(one.y, minlength=classes) for one in (lesson.examples, rehearsal.examples)])
    calibration = calibrate(counts.sum(0))
    plan = Plan(
        images=views,
        order=np.concatenate([_in_turn(0, count, own_size), _in_turn(len(rows), count, past_size)], 1),
        labels=labels,
        hard=np.concatenate([np.ones(len(rows), np.float32), rehearsal.hard[rehearsed_rows]]),
        scale=calibration.scale,
        shift=scenario.softmax.build("softmax", SOFTMAXES, labels, is_own, counts) + calibration.shift,
        soft=joined([distillation.soft, rehearsal.soft[rehearsed_rows]], classes),
        logits=joined([distillation.logits, rehearsal.logits[rehearsed_rows]], classes),
        dropout_mask=_dropout_mask(scenario, count, at),
        pull=pull,
        rate=np.full(count, lesson.rate, np.float32),
        momentum=local.momentum,
        clip=local.clip,
        guard=np.zeros((count, 0), np.int32),
        fixed_norm=scenario.model.fixes_norm(lesson.round),
    )
    return _guarded(plan, lesson, guard) if guard is not None and len(guard) else plan


def _in_turn(first: int, steps: int, size: int) -> np.ndarray:
    """Rows from this one on, this many a step, each once: int32 [steps, size]."""
    return first + np.arange(steps * size, dtype=np.int32).reshape(steps, size)


def _views(lesson: Lesson, own: np.ndarray, rows: np.ndarray, rehearsed: np.ndarray) -> np.ndarray:
    """A fresh view of each image, own ones (those of these rows of the lesson) first: uint8 [n, 28, 28]."""
    parts, seed, at = lesson.scenario.augment, lesson.scenario.seed, (lesson.client, lesson.round)
    views = augment(own, parts, lesson.strength[rows], rng(seed, "augment", *at))
    return np.concatenate([views, _stored_views(lesson, rehearsed, "revise")]) if len(rehearsed) else views


def _stored_views(lesson: Lesson, images: np.ndarray, address: str) -> np.ndarray:
    """A fresh view of each of these stored images."""
    parts = lesson.scenario.augment
    strength = np.broadcast_to(lesson.typical, (len(images), len(parts)))
    return augment(images, parts, strength, rng(lesson.scenario.seed, address, lesson.client, lesson.round))


def rehearsed_size(lesson: Lesson, rehearsal: Rehearsal) -> int:
    """How many rows of a batch are rehearsed: one at least, if any are wanted and the batch has room for one."""
    batch = lesson.scenario.local.batch
    if not len(rehearsal.examples):
        return 0
    wanted = max(1, round(batch * rehearsal.share)) if rehearsal.share else 0
    return min(wanted, batch - 1) if len(lesson.examples) else batch


def _guarded(plan: Plan, lesson: Lesson, guard: Examples) -> Plan:
    """Add the rows to guard: for each step a batch of them, drawn afresh, each in a fresh view."""
    generator = rng(lesson.scenario.seed, "guard", lesson.client, lesson.round)
    count, size = len(plan.order), min(len(guard), plan.order.shape[1] or 1)
    drawn = [generator.permutation(len(guard))[:size] for _ in range(count)]
    guarded = guard.take(np.concatenate([np.zeros(0, np.int64), *drawn]))

    def padded(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array, np.zeros((len(guarded), *array.shape[1:]), np.float32)])

    return replace(
        plan,
        images=np.concatenate([plan.images, _stored_views(lesson, guarded.x, "guarded")]),
        labels=np.concatenate([plan.labels, guarded.y.astype(np.int32)]),
        hard=padded(plan.hard),
        shift=padded(plan.shift),
        soft=padded(plan.soft),
        logits=padded(plan.logits),
        guard=len(plan.images) + np.arange(count * size, dtype=np.int32).reshape(count, size),
    )


def _dropout_mask(scenario: Scenario, count: int, at: Sequence[int]) -> np.ndarray:
    """Inverted dropout (Srivastava et al. 2014): 0 with the given probability, else 1 / (1 - probability)."""
    share = scenario.model.dropout
    if not share:
        return np.ones((count, 1, 1), np.float32)
    shape = (count, scenario.local.batch, of(scenario).hidden)
    kept = rng(scenario.seed, "dropout", *at).random(shape, np.float32) >= share
    return kept.astype(np.float32) / np.float32(1 - share)


def strengths(parts: Sequence[Part], seed: int, client: int) -> np.ndarray:
    """How strongly this client augments, f32 [augmentations], each 0.5 … 1 of the scenario's full range."""
    return rng(seed, "strength", client).uniform(0.5, 1, len(parts)).astype(np.float32)
