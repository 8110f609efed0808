"""Exemplars: the few images that a client keeps of each stage, within a budget that is never exceeded.

A slot holds x uint8 [k, 28, 28], y uint8 [k] (uint16 of more than 256 classes), key f32 [k] (small is kept first), and
what a method adds for each image.
Which images stay follows from the keys alone, so a round that is repeated, or a stage met in one round or in five, leaves
the same memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from core.arrays import Arrays
from core.config.parse import unknown
from core.data import Examples
from core.engines.base import Engine
from core.images import SIDE
from core.methods.base import Slot, earlier_slots
from core.plan import Lesson
from core.seeds import rng

IMAGE = SIDE * SIDE + 4  # bytes of an image and its key
SELECT = ("balanced", "reservoir", "herding")


class Buffer:
    """A budget and a rule. A limit of 0 is none; where both are 0, nothing is kept.

    reservoir: a fair sample of all images met (Vitter 1985, by random keys). balanced: the same within each class, classes
    as equal as what is there allows (Chrysakis and Moens 2020). herding: within each class those whose mean feature is
    nearest the class's (iCaRL, Rebuffi et al. 2017, arXiv:1611.07725).
    """

    def __init__(self, images: int, kilobytes: float, select: str, classes: int) -> None:
        if select not in SELECT:
            raise unknown("select", select, SELECT)
        if images < 0 or not 0 <= kilobytes < math.inf:
            raise ValueError(f"images = {images} and kilobytes = {kilobytes:g} should be 0 or more, and finite")
        self.images, self.bytes, self.select = images, 1000 * kilobytes, select
        self.label = label_type(classes)

    def fit(self, lesson: Lesson, weights: Arrays, engine: Engine) -> Slot:
        """All images of a lesson as a slot, before the budget."""
        x, y = lesson.examples.x, lesson.examples.y.astype(self.label)
        key = rng(lesson.scenario.seed, "exemplars", lesson.client, lesson.stage).random(len(y), np.float32)
        if self.select == "herding" and len(y):
            key = herded(engine.features(weights, x), y)
        return {"x": x, "y": y, "key": key}

    def within(self, slots: Mapping[int, Slot]) -> dict[int, Slot]:
        """The slots cut to the budget."""
        count = self.room(slots)
        stage = np.concatenate([np.full(len(s["y"]), i) for i, s in slots.items()] or [np.zeros(0)])
        y = np.concatenate([s["y"] for s in slots.values()] or [np.zeros(0, np.uint8)])
        key = np.concatenate([s["key"] for s in slots.values()] or [np.zeros(0, np.float32)])
        order = np.argsort(key, kind="stable")
        if self.select != "reservoir":  # first one of each class, then a second of each …
            rank = np.zeros(len(y), np.int64)
            for label in np.unique(y):
                rows = order[y[order] == label]
                rank[rows] = np.arange(len(rows))
            order = np.lexsort((key, rank))
        stays = np.zeros(len(y), bool)
        stays[order[:count]] = True
        cut: dict[int, Slot] = {}
        for i, slot in slots.items():
            rows = np.flatnonzero(stays[stage == i])
            rows = rows[np.argsort(slot["key"][rows], kind="stable")]
            cut[i] = {name: array[rows] for name, array in slot.items()}
        return cut

    def room(self, slots: Mapping[int, Slot]) -> int:
        """How many images the budget allows: by number, by bytes (all that a slot holds), or the stricter of both."""
        slot = next(iter(slots.values()), {})
        each = sum(math.prod(array.shape[1:]) * array.dtype.itemsize for array in slot.values())
        return self._fits(each) if slots else self.images

    def most(self, beside: int) -> int:
        """The same for images that each have so many bytes beside them: the most that this budget ever holds."""
        return self._fits(IMAGE + self.label.itemsize + beside)

    def _fits(self, each: int) -> int:
        limits = [self.images] if self.images else []
        return min([*limits, int(self.bytes // each)] if self.bytes else limits, default=0)


def label_type(classes: int) -> np.dtype:
    """The smallest unsigned number that holds a label."""
    return np.min_scalar_type(classes - 1)


def herded(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """f32 [n]: within each class, the order in which herding takes the images, 0, 1, 2 … (only the first 1,000 are ranked)."""
    key = np.full(len(labels), 1e6, np.float32)
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        directions = unit[rows]
        mean, total, unranked = directions.mean(0), np.zeros(directions.shape[1], np.float32), np.ones(len(rows), bool)
        to_mean, to_total = directions @ mean, np.zeros(len(rows), np.float32)
        for turn in range(min(len(rows), 1000)):
            # |mean - (total + f)/(turn + 1)|² up to what is the same for all, |f| being 1
            score = np.where(unranked, (turn + 1) * to_mean - to_total, -np.inf)
            best = int(np.argmax(score))
            key[rows[best]], unranked[best] = turn, False
            total += directions[best]
            to_total = directions @ total
    return key


def examples(slots: Mapping[int, Slot]) -> Examples:
    """The images of slots, in order."""
    return Examples.join([Examples.none(), *(Examples(s["x"], s["y"].astype(np.int64)) for s in slots.values())])


def stored(
    memory: Mapping[str, Mapping[int, Slot]], method: str, lesson: Lesson, buffer: Buffer | None = None
) -> dict[int, Slot]:
    """A method's slots of earlier stages that hold images, within its budget if it has one: a run before may have had more."""
    slots = earlier_slots(memory, method, lesson.stage)
    return {s: slot for s, slot in (buffer.within(slots) if buffer else slots).items() if len(slot["y"])}
