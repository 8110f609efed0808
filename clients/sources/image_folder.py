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
from core.data import Examples, dataset, taught
from core.data import folder as layout
from core.data.pictures import picture
from core.disk import contents, placed
from core.images import SIDE
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
    # {<label>/<file>.png: the round in which it was first seen}; ≤ 0: before this run
    came: dict[str, int] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)  # {the same: the round in which it was first missing}
    dark: bool | None = None  # is the folder's ink dark? None: not judged yet


def own(scenario: Scenario, client: int, folder: Path, path: Path, round: int) -> tuple[Shard, Examples]:
    """What this device holds in a round of a folder <label>/*.png, and its test images; what is odd in it goes to the log.

    path: of experiences.json, where the rounds are written down. Raises ValueError if there is nothing to train on.
    """
    shard, held_out, notes = survey(scenario, client, folder, path, round)
    for sentence in notes:
        _warn(sentence)
    return shard, held_out


def survey(
    scenario: Scenario, client: int, folder: Path, path: Path, round: int
) -> tuple[Shard, Examples, tuple[str, ...]]:
    """The same as `own`, and sentences on what is odd in the folder, or left out."""
    book, classes = _looked(folder, path, round, dataset(scenario).classes), dataset(scenario).classes
    present = {name: first for name, first in book.came.items() if first <= round and name not in book.gone}
    wanted = taught(scenario)
    came = {name: first for name, first in present.items() if _label(name) in wanted}
    images = {name: image for name in sorted(came) if (image := _picture(folder / name)) is not None}
    train = [name for name in images if zlib.crc32(os.fsencode(name)) % 6]
    unread = [
        name for name in layout.pictures(folder, classes) if name not in book.came and _picture(folder / name) is None
    ]
    notes = (*layout.left_out(folder, classes), *layout.unread(unread))
    if others := len(present) - len(came):
        notes += (
            f"{others:,} images of its folder are of other labels than digits = {list(scenario.digits)}: left out",
        )
    if not train:
        remarks = f" ({'; '.join(notes)})" if notes else ""
        raise ValueError(
            f"{folder.name} holds no image to train on: they should be 0 … {classes - 1}/*.png in it{remarks}"
        )
    dark = _dark(scenario, book, layout.not_kept(images), path)
    rounds = np.array([came[name] for name in train])
    # Of all that ever came: what is taken away leaves its experience empty. Labels that nobody is taught make no experience.
    firsts = sorted({first for name, first in book.came.items() if first <= round and _label(name) in wanted})
    parts = tuple(np.flatnonzero(rounds == first) for first in firsts)
    stream = Stream(parts, (0,) * len(parts), (min(1, firsts[0]), *firsts[1:]))
    strength = strengths(scenario.augment, scenario.seed, client)
    shard = Shard(client, _examples(images, train, dark), strength, {}, stream, first=0)
    tested = [name for name in images if not zlib.crc32(os.fsencode(name)) % 6]
    return shard, _examples(images, tested, dark), (*notes, *layout.odd(images, dark))


def _looked(folder: Path, path: Path, round: int, classes: int) -> Book:
    """What came in which round, after this round's look; it is looked once a round."""
    book = read(path)
    if round > book.looked:
        new = [
            name
            for name in layout.pictures(folder, classes)
            if name not in book.came and _picture(folder / name) is not None
        ]
        missing = [name for name in book.came if not os.path.exists(folder / name)]  # never raises
        gone = {name: book.gone.get(name, round) for name in missing}
        book = replace(book, looked=round, came=book.came | dict.fromkeys(new, round), gone=gone)
        _write(path, book)
    return book


def read(path: Path) -> Book:
    """What is written down; nothing yet, if there is no such file. Raises ValueError, naming it, if it makes no sense."""
    try:
        book = Book(**json_object(contents(path, LONGEST)))
        valid = (
            isinstance(book.came, dict)
            and isinstance(book.gone, dict)
            and all(
                NAME.fullmatch(name) and type(first) is int and -LAST <= first <= LAST
                for times in (book.came, book.gone)
                for name, first in times.items()
            )
        )
        if not valid or type(book.looked) is not int or not 0 <= book.looked <= LAST:
            raise ValueError("it holds no rounds of images")
        if book.dark is not None and type(book.dark) is not bool:
            raise ValueError(f"dark = {str(book.dark)[:40]} should be true or false")
        return book
    except FileNotFoundError:
        return Book()
    except (OSError, ValueError, TypeError) as error:  # TypeError: keys that no book has
        why = f"{path.name} cannot be read ({error})"
        raise ValueError(f"{why}; move it away, and all images count as new") from None


def changes(path: Path, round: int) -> str:
    """What else than new images had changed at a round's look: a sentence without a subject; empty if nothing."""
    book = read(path)
    gone = [name for name, first in book.gone.items() if first == round]
    came = {name.split("/")[1] for name, first in book.came.items() if first == round}
    moved = sum(name.split("/")[1] in came for name in gone)
    lost = len(gone) - moved
    remaining = len(book.came) - len(book.gone)
    clauses = [f"has lost {lost:,} image{'s' * (lost > 1)} of its folder ({remaining:,} are left)"] if lost else []
    clauses += [f"has given {moved:,} image{'s' * (moved > 1)} another label"] if moved else []
    return " and ".join(clauses)


def carry(old: Path, new: Path) -> None:
    """Begin a run's book with that of the run before it: images that came then lie before its first round, and are not new.

    Raises ValueError if the old one makes no sense.
    """
    book = read(old)
    earlier = {name: max(first - book.looked, -LAST) for name, first in book.came.items()}
    _write(new, replace(book, looked=0, came=earlier, gone=dict.fromkeys(book.gone, -1)))


def _write(path: Path, book: Book) -> None:
    with placed(path) as file:
        file.write(json.dumps(asdict(book)).encode())


def _dark(scenario: Scenario, book: Book, images: np.ndarray, path: Path) -> bool:
    """Is the folder's ink dark? As the scenario says, or as it was judged when the first images came, once and for all.

    images: those that were not kept here, whose ink is known.
    """
    judged = layout.dark_ink(images, scenario.ink)
    if scenario.ink != "auto":
        return judged
    if book.dark is None and len(images):
        _write(path, replace(book, dark=judged))
    return judged if book.dark is None else book.dark


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


def _label(name: str) -> int:
    return int(name.split("/")[0])


def _examples(images: dict[str, np.ndarray], names: list[str], dark: bool) -> Examples:
    labels = np.array([_label(name) for name in names], np.int64)
    drawn = {name: images[name] for name in names}
    return Examples(layout.inked(drawn, dark) if names else np.zeros((0, SIDE, SIDE), np.uint8), labels)
