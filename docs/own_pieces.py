"""Pieces of your own, outside the package: `python -m scenarios.run quick --plugin docs/own_pieces.py --set partition=halves`.

A plugin is a module that enters what it has in the registries, by a name that is not taken. A piece's docstring is what `--list`
says of it; its keyword-only parameters are what `--set` can set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.arrays import Arrays
from core.config.scenario import Scenario
from core.data import DATASETS, Dataset, DatasetSpec, Examples
from core.data.spec import Source
from core.methods import METHODS, Finetune
from core.methods.base import Memory
from core.models import MODELS, ModelSpec
from core.models.layers import Conv, Dense, Flatten, Pool
from core.plan import Lesson, Pull
from core.seeds import rng as at
from fl.partition import DEALT, PARTITIONERS
from fl.strategies import STRATEGIES
from fl.strategies.base import Contribution, State, within

# ── a partition: who holds which examples ──


def halves(
    labels: np.ndarray, clients: int, rng: np.random.Generator, minimum: int, *, share: float = 0.5
) -> list[np.ndarray]:
    """The first `share` of clients (0.5) hold the lower half of the labels, the others the rest"""
    first = min(max(1, round(share * clients)), clients - 1)
    low = labels <= np.median(np.unique(labels))
    groups = [(low, first), (~low, clients - first)]
    return [
        np.sort(part) for mine, count in groups for part in np.array_split(rng.permutation(np.flatnonzero(mine)), count)
    ]


PARTITIONERS["halves"] = DEALT["halves"] = halves  # DEALT: it gives every example to exactly one client


# ── a strategy: how the server makes one model of many ──


@dataclass(frozen=True)
class Careful:
    """The server goes only a part of the way from its old weights to the mean of the clients' new ones."""

    share: float

    def client(self) -> Sequence[Finetune]:
        return ()  # what clients do is as usual

    def start(self, arrays: Arrays) -> State:
        return {}  # nothing is carried from round to round

    def aggregate(
        self, state: State, arrays: Arrays, contributions: Sequence[Contribution], round: int
    ) -> tuple[State, Arrays]:
        weights = np.array([one.weight for one in contributions], np.float64)
        mean = [
            np.tensordot(weights / weights.sum(), np.stack(many), 1)
            for many in zip(*(one.arrays for one in contributions), strict=True)
        ]
        return state, [(w + self.share * (m - w)).astype(w.dtype) for w, m in zip(arrays, mean, strict=True)]

    def finish(self, state: State, arrays: Arrays) -> Arrays:
        return arrays


def careful(scenario: Scenario, *, share: float = 0.8) -> Careful:
    """FedAvg whose server goes only `share` (0.8) of the way"""
    return Careful(within("share", share, 0.01, 1))


STRATEGIES["careful"] = careful


# ── a continual method: how a client keeps what it knew ──


class Tethered(Finetune):
    """In every stage but the first, weights are held to the received ones: strength/2·|w − w₀|²"""

    name = "tethered"

    def __init__(self, model: ModelSpec, *, strength: float = 0.1) -> None:
        super().__init__(model)
        self.strength = strength

    def pull(self, memory: Memory, lesson: Lesson) -> Pull:
        return Pull.towards(lesson.start, self.strength) if lesson.stage else Pull.none(lesson.start)


METHODS["tethered"] = Tethered


# ── a model: a tuple of layers; every engine, method and export follows from it ──


def small(image: tuple[int, int], classes: int) -> ModelSpec:
    """One convolution with a pool, and two dense layers"""
    layers = (
        Conv("conv", 8),
        Pool("pool"),
        Flatten(),
        Dense("hidden", 32),
        Dense("logits", classes, relu=False),
    )
    return ModelSpec("small", image, classes, layers)


MODELS["small"] = small


# ── a data set: what its images and labels are, and where they come from ──

STRIPES = DatasetSpec("stripes", 3, ("level", "upright", "slanted"))


def stripes(folder: Path | None = None) -> Source:
    """Stripes of random width, phase and ink, in three directions."""

    def some(name: str, count: int) -> Examples:
        rng = at(0, "stripes", name)
        y = np.arange(count) % STRIPES.classes
        rows, columns = np.mgrid[:28, :28]
        along = np.stack([rows, columns, (rows + columns) / 2])[y]
        width, phase, ink = (
            rng.uniform(low, high, (count, 1, 1)) for low, high in ((1.0, 2.5), (0.0, 6.3), (0.4, 1.0))
        )
        wave = np.sin(along / width + phase) * ink
        return Examples((255 * wave.clip(0, 1)).astype(np.uint8), y.astype(np.int64))

    return Source(STRIPES, some("train", 6000), some("test", 1500))


DATASETS["stripes"] = Dataset(STRIPES, stripes, {})
