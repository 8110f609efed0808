"""A device's own folder of digits, which grows: what is new since the last look is the next experience of its stream.

`experiences.json` in the node's memory tells for each image in which round it was first seen, so that a round that is done
again sees what it saw. One image in six, by its name, is never trained on: on these the device judges models.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import numpy as np

from clients.shard import Shard
from core.data import CLASSES, Examples, picture
from core.plan import strengths
from core.scenario import Scenario
from core.stream import Stream


def own(scenario: Scenario, client: int, folder: Path, book: Path, round: int) -> tuple[Shard, Examples]:
    """What this device holds in a round of a folder <label>/*.png, and its test images.

    book: where the rounds are written down. Raises ValueError if there is nothing to train on.
    """
    there = sorted(f"{f.parent.name}/{f.name}" for f in folder.glob("[0-9]/*.png"))
    train = [name for name in there if zlib.crc32(name.encode()) % 6]
    came = _came(train, book, round)
    mine = [name for name in train if came[name] <= round]
    if not mine:
        raise ValueError(f"{folder} holds no image to train on: they should be {folder}/0 … {CLASSES - 1}/*.png")
    rounds = np.array([came[name] for name in mine])
    firsts = np.unique(rounds)
    parts = tuple(np.flatnonzero(rounds == first) for first in firsts)
    stream = Stream(parts, (0,) * len(parts), (1, *(int(first) for first in firsts[1:])))
    shard = Shard(client, _read(folder, mine), strengths(scenario.augment, scenario.seed, client), {}, stream)
    return shard, _read(folder, [name for name in there if not zlib.crc32(name.encode()) % 6])


def _came(names: list[str], book: Path, round: int) -> dict[str, int]:
    """The round in which each image was first seen. A round that was told of before finds nothing new."""
    known: dict[str, int] = json.loads(book.read_text()) if book.exists() else {}
    if round > max(known.values(), default=0):
        known |= {name: round for name in names if name not in known}
        book.parent.mkdir(parents=True, exist_ok=True)
        temporary = book.with_suffix(".writing")
        temporary.write_text(json.dumps(known))
        os.replace(temporary, book)
    return {name: known.get(name, round + 1) for name in names}


def _read(folder: Path, names: list[str]) -> Examples:
    images = [picture(folder / name) for name in names]
    return Examples(np.stack(images) if images else np.zeros((0, 28, 28), np.uint8),
                    np.array([int(name.split("/")[0]) for name in names], np.int64))  # fmt: skip
