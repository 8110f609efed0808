"""A device's own folder of digits, which grows: what is new since the last look is the next experience of its stream.

`experiences.json` in the node's memory tells for each image in which round it was first seen, so that a round that is done
again sees what it saw. One image in six, by its name, is never trained on: on these the device judges models.
"""

from __future__ import annotations

import json
import logging
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from clients.shard import Shard
from core.data import CLASSES, SIDE, Examples, picture
from core.disk import placed
from core.plan import strengths
from core.scenario import Scenario
from core.stream import Stream


def own(scenario: Scenario, client: int, folder: Path, book: Path, round: int) -> tuple[Shard, Examples]:
    """What this device holds in a round of a folder <label>/*.png, and its test images.

    book: where the rounds are written down. Raises ValueError if there is nothing to train on.
    """
    came = _came(folder, book, round)
    there = {name: image for name in sorted(came) if (image := _picture(folder / name)) is not None}
    train = {name: image for name, image in there.items() if zlib.crc32(name.encode()) % 6}
    if not train:
        raise ValueError(f"{folder.name} holds no image to train on: they should be 0 … {CLASSES - 1}/*.png in it")
    rounds = np.array([came[name] for name in train])
    firsts = sorted(set(came.values()))  # of all that ever came: what is taken away leaves its experience empty
    parts = tuple(np.flatnonzero(rounds == first) for first in firsts)
    stream = Stream(parts, (0,) * len(parts), (1, *firsts[1:]))
    shard = Shard(client, _examples(train), strengths(scenario.augment, scenario.seed, client), {}, stream)
    return shard, _examples({name: image for name, image in there.items() if name not in train})


def _came(folder: Path, book: Path, round: int) -> dict[str, int]:
    """The round in which each image was first seen, of all up to this round; looked for once a round."""
    told: dict[str, Any] = {"looked": 0, "came": {}}
    if book.exists():
        try:
            told = json.loads(book.read_text())
        except ValueError:
            raise ValueError(f"{book.name} cannot be read; move it away, and all images count as new") from None
    if round > told["looked"]:
        there = (f"{file.parent.name}/{file.name}" for file in folder.glob("[0-9]/*.png"))
        told["came"] |= {
            name: round for name in there if name not in told["came"] and _picture(folder / name) is not None
        }
        told["looked"] = round
        with placed(book) as file:
            file.write(json.dumps(told).encode())
    return {name: first for name, first in told["came"].items() if first <= round}


def _picture(file: Path) -> np.ndarray | None:
    """An image; none if it is gone, or not readable (half written, perhaps: it is looked at again in the next round)."""
    try:
        return _decoded(file, file.stat().st_mtime_ns)
    except (OSError, ValueError) as error:
        logging.getLogger(__name__).warning("%s", error)
        return None


@lru_cache(maxsize=30_000)  # a kilobyte each
def _decoded(file: Path, written: int) -> np.ndarray:
    """An image as it was written at this time."""
    return picture(file)


def _examples(images: dict[str, np.ndarray]) -> Examples:
    labels = np.array([int(name.split("/")[0]) for name in images], np.int64)
    return Examples(np.stack(list(images.values())) if images else np.zeros((0, SIDE, SIDE), np.uint8), labels)
