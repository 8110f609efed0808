"""This client's data: in simulation a slice of the data set by address, seen through the client's own looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.config.scenario import Scenario
from core.data import Data, Examples, dataset, load, taught
from core.plan import strengths
from core.seeds import rng
from core.stream import Stream
from core.views.looks import LOOKS, look
from fl.partition import noisy, partition

TESTED = 500  # test images a client judges a model on


@dataclass(frozen=True)
class Shard:
    """What one client holds."""

    client: int
    train: Examples  # looks applied; labels as noisy as the scenario says
    strength: np.ndarray  # f32 [augmentations]: how strongly it augments, 0.5 … 1
    looks: dict[str, float]  # the amount of each look
    stream: Stream | None = None  # its way through its own data, if the scenario does not lay it
    first: int | None = None  # the number of its first experience, all runs counted; None: `past` of the scenario


def world(scenario: str, files: Path | None = None) -> tuple[Data, Sequence[np.ndarray]]:
    """The data set and every client's rows of it. scenario: its JSON; files: where it lies, if not in its usual place."""
    return _world(scenario, files)


@lru_cache(maxsize=2)
def _world(scenario: str, files: Path | None) -> tuple[Data, Sequence[np.ndarray]]:
    s = Scenario.of(scenario)
    data = load(s, files)
    return data, partition(s.partition, data.train.y, s.clients, s.minimum, s.seed)


def shard(scenario: str, client: int, files: Path | None = None) -> Shard:
    """One client's data. scenario, files: as for `world`."""
    return _shard(scenario, client, files)


@lru_cache(maxsize=64)
def _shard(scenario: str, client: int, files: Path | None) -> Shard:
    s = Scenario.of(scenario)
    data, rows = world(scenario, files)
    examples = data.train.take(rows[client])
    labels = noisy(examples.y, s.noise, rng(s.seed, "noise", client), taught(s)) if s.noise else examples.y
    return Shard(
        client,
        Examples(_through_looks(s, client, examples.x), labels),
        strengths(s.augment, s.seed, client),
        amounts(s, client),
    )


def own_test(scenario: str, client: int, files: Path | None = None) -> Examples:
    """Test images as this client meets them: through its looks, in its own mix of labels."""
    return _own_test(scenario, client, files)


@lru_cache(maxsize=128)
def _own_test(scenario: str, client: int, files: Path | None) -> Examples:
    s = Scenario.of(scenario)
    (data, rows), classes = world(scenario, files), dataset(s).classes
    share = np.bincount(data.train.y[rows[client]], minlength=classes) / len(rows[client])
    generator = rng(s.seed, "own test", client)
    picked = []
    for label in range(classes):
        candidates = np.flatnonzero(data.test.y == label)
        picked.append(generator.permutation(candidates)[: int(np.ceil(share[label] * min(TESTED, len(data.test))))])
    examples = data.test.take(np.sort(np.concatenate(picked)))
    return Examples(_through_looks(s, client, examples.x), examples.y)


def forget() -> None:
    """Let go of all images: a process that outlives a run must not go on with what its owner may have replaced."""
    for cached in (_world, _shard, _own_test):
        cached.cache_clear()


def positions(scenario: Scenario, client: int) -> np.ndarray:
    """Where in each look's range this client is, 0 … 1 by address."""
    return rng(scenario.seed, "look", client).random(len(scenario.looks))


def amounts(scenario: Scenario, client: int) -> dict[str, float]:
    """The amount of each of this client's looks, in the look's own unit."""
    by_look = {}
    for part, position in zip(scenario.looks, positions(scenario, client), strict=True):
        settings = part.settings("looks", LOOKS)
        by_look[part.name] = float(settings["low"] + position * (settings["high"] - settings["low"]))
    return by_look


def _through_looks(scenario: Scenario, client: int, images: np.ndarray) -> np.ndarray:
    return look(images, scenario.looks, list(positions(scenario, client)))
