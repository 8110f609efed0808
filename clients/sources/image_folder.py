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

BOOK = "experiences.json"  # in a client's memory
LONGEST = 100_000_000  # bytes of experiences.json
LAST = 1_000_000  # the greatest number of a round
NAME = re.compile(r"[0-9]{1,3}/[^/\0]+\.png")
log = logging.getLogger("flwr")


@dataclass(frozen=True)
class Book:
    """experiences.json."""

    looked: int = 0  # the round of the last look
    came: dict[str, int] = field(
        default_factory=dict
    )  # {<label>/<file>.png: the round in which it was first seen}; ≤ 0: before this run
    gone: dict[str, int] = field(
        default_factory=dict
    )  # the same of those that are there no more: when that was first seen
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
    came = {name: first for name, first in known.came.items() if first <= round and name not in known.gone}
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
    # Of all that ever came: what is taken away leaves its experience empty.
    firsts = sorted({first for first in known.came.values() if first <= round})
    parts = tuple(np.flatnonzero(rounds == first) for first in firsts)
    stream = Stream(parts, (0,) * len(parts), (min(1, firsts[0]), *firsts[1:]))
    strength = strengths(scenario.augment, scenario.seed, client)
    shard = Shard(client, _examples(there, train, dark), strength, {}, stream, first=0)
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
        missing = [name for name in known.came if not os.path.exists(folder / name)]  # never raises
        gone = {name: known.gone.get(name, round) for name in missing}
        known = replace(known, looked=round, came=known.came | dict.fromkeys(new, round), gone=gone)
        _write(book, known)
    return known


def read(book: Path) -> Book:
    """What is written down; nothing yet, if there is no such file. Raises ValueError, naming it, if it makes no sense."""
    try:
        found = Book(**json_object(contents(book, LONGEST)))
        whole = (
            isinstance(found.came, dict)
            and isinstance(found.gone, dict)
            and all(
                NAME.fullmatch(name) and type(first) is int and -LAST <= first <= LAST
                for times in (found.came, found.gone)
                for name, first in times.items()
            )
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


def changes(book: Path, round: int) -> str:
    """What was found in a round's look to have changed, beside what came: a sentence without a subject; empty if nothing."""
    known = read(book)
    gone = [name for name, first in known.gone.items() if first == round]
    came = {name.split("/")[1] for name, first in known.came.items() if first == round}
    moved = sum(name.split("/")[1] in came for name in gone)
    lost = len(gone) - moved
    left = len(known.came) - len(known.gone)
    found = [f"has lost {lost:,} image{'s' * (lost > 1)} of its folder ({left:,} are left)"] if lost else []
    found += [f"has given {moved:,} image{'s' * (moved > 1)} another label"] if moved else []
    return " and ".join(found)


def carry(old: Path, new: Path) -> None:
    """Begin a run's book with that of the run before it: what came then lies before its first round, and is no news.

    Raises ValueError if the old one makes no sense.
    """
    known = read(old)
    earlier = {name: max(first - known.looked, -LAST) for name, first in known.came.items()}
    _write(new, replace(known, looked=0, came=earlier, gone=dict.fromkeys(known.gone, -1)))


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
