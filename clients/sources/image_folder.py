"""A device's own folder of digits, which grows: what is new since the last look is the next experience of its stream.

`experiences.json` in the node's memory tells for each image in which round it was first seen, so that a round that is done
again sees what it saw, and whether the folder's ink is dark, which is judged once. One image in six, by its name, is never
trained on: on these the device judges models.
"""

from __future__ import annotations

import json
import logging
import os
import re
import zlib
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from clients.sources.simulated import Shard
from core.config.scenario import Scenario
from core.data import SIDE, Examples, dataset
from core.data import folder as layout
from core.data.pictures import picture
from core.disk import contents, placed
from core.plan import strengths
from core.safe_json import json_object
from core.stream import Stream

LONGEST = 100_000_000  # bytes of experiences.json
LAST = 1_000_000  # the greatest number of a round
NAME = re.compile(r"[0-9]{1,3}/[^/\0]+\.png")
log = logging.getLogger("flwr")


@dataclass(frozen=True)
class Book:
    """experiences.json."""

    looked: int = 0  # the round of the last look
    came: dict[str, int] = field(default_factory=dict)  # {<label>/<file>.png: the round in which it was first seen}
    dark: bool | None = None  # is the folder's ink dark? None: not judged yet


def own(scenario: Scenario, client: int, folder: Path, book: Path, round: int) -> tuple[Shard, Examples]:
    """What this device holds in a round of a folder <label>/*.png, and its test images; what is odd in it goes to the log.

    book: where the rounds are written down. Raises ValueError if there is nothing to train on.
    """
    shard, held_out, notes = survey(scenario, client, folder, book, round)
    for sentence in notes:
        _warn(sentence)
    return shard, held_out


def survey(
    scenario: Scenario, client: int, folder: Path, book: Path, round: int
) -> tuple[Shard, Examples, tuple[str, ...]]:
    """The same as `own`, and sentences on what is odd in the folder, or left out."""
    known, classes = _looked(folder, book, round, dataset(scenario).classes), dataset(scenario).classes
    came = {name: first for name, first in known.came.items() if first <= round}
    there = {name: image for name in sorted(came) if (image := _picture(folder / name)) is not None}
    train = [name for name in there if zlib.crc32(os.fsencode(name)) % 6]
    unread = [
        name for name in layout.pictures(folder, classes) if name not in known.came and _picture(folder / name) is None
    ]
    notes = (*layout.left_out(folder, classes), *layout.unread(unread))
    if not train:
        found = f" ({'; '.join(notes)})" if notes else ""
        raise ValueError(
            f"{folder.name} holds no image to train on: they should be 0 … {classes - 1}/*.png in it{found}"
        )
    dark = _dark(scenario, known, np.stack(list(there.values())), book)
    rounds = np.array([came[name] for name in train])
    firsts = sorted(set(came.values()))  # of all that ever came: what is taken away leaves its experience empty
    parts = tuple(np.flatnonzero(rounds == first) for first in firsts)
    stream = Stream(parts, (0,) * len(parts), (1, *firsts[1:]))
    shard = Shard(client, _examples(there, train, dark), strengths(scenario.augment, scenario.seed, client), {}, stream)
    tested = [name for name in there if not zlib.crc32(name.encode()) % 6]
    return shard, _examples(there, tested, dark), (*notes, *layout.odd(there, dark))


def _looked(folder: Path, book: Path, round: int, classes: int) -> Book:
    """What came in which round, after this round's look; it is looked once a round."""
    known = read(book)
    if round > known.looked:
        new = [
            name
            for name in layout.pictures(folder, classes)
            if name not in known.came and _picture(folder / name) is not None
        ]
        known = replace(known, looked=round, came=known.came | dict.fromkeys(new, round))
        _write(book, known)
    return known


def read(book: Path) -> Book:
    """What is written down; nothing yet, if there is no such file. Raises ValueError, naming it, if it makes no sense."""
    try:
        found = Book(**json_object(contents(book, LONGEST)))
        whole = isinstance(found.came, dict) and all(
            NAME.fullmatch(name) and type(first) is int and 0 < first <= LAST for name, first in found.came.items()
        )
        if not whole or type(found.looked) is not int or not 0 <= found.looked <= LAST:
            raise ValueError("it holds no rounds of images")
        if found.dark is not None and type(found.dark) is not bool:
            raise ValueError(f"dark = {str(found.dark)[:40]} should be true or false")
        return found
    except FileNotFoundError:
        return Book()
    except (OSError, ValueError, TypeError) as error:  # TypeError: keys that no book has
        why = f"{book.name} cannot be read ({error})"
        raise ValueError(f"{why}; move it away, and all images count as new") from None


def _write(book: Path, known: Book) -> None:
    with placed(book) as file:
        file.write(json.dumps(asdict(known)).encode())


def _dark(scenario: Scenario, known: Book, drawn: np.ndarray, book: Path) -> bool:
    """Is the folder's ink dark? As the scenario says, or as it was judged when the first images came, once and for all."""
    judged = layout.dark_ink(drawn, scenario.ink)
    if scenario.ink != "auto":
        return judged
    if known.dark is None:
        _write(book, replace(known, dark=judged))
        return judged
    return known.dark


def _picture(file: Path) -> np.ndarray | None:
    """An image as it is drawn; none if it is gone, or not readable (half written, perhaps: the next round looks again)."""
    try:
        return _decoded(file, file.stat().st_mtime_ns)
    except (OSError, ValueError) as error:
        _warn(str(error))
        return None


@lru_cache(maxsize=30_000)  # a kilobyte each
def _decoded(file: Path, written: int) -> np.ndarray:
    """An image as it was written at this time."""
    return picture(file, SIDE)


@lru_cache(maxsize=1_000)
def _warn(sentence: str) -> None:
    """Into the log, once a process: a trainer looks at the same folder in every round."""
    log.warning("%s", sentence)


def _examples(images: dict[str, np.ndarray], names: list[str], dark: bool) -> Examples:
    labels = np.array([int(name.split("/")[0]) for name in names], np.int64)
    drawn = np.stack([images[name] for name in names]) if names else np.zeros((0, SIDE, SIDE), np.uint8)
    return Examples(layout.inked(drawn, dark), labels)
