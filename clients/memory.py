"""A client's private state on its own disk: one file a round, written atomically, never sent.

Each client has a folder of its own: below a run's `clients/` in simulation, below the node's memory on a device.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from clients.sources import image_folder
from core import arrays
from core.disk import contents, numbered, placed
from core.methods.base import Memory

BEGAN = "began"  # holds the name of the run whose memory was brought along; nothing, if there was none
SCHEMA, NUMBER = 1, "schema"  # of a memory's file; those without the number have 1, too
LATER = 10**9  # than every round
KEPT = 3  # rounds kept: the newest, the one before, and the one that a damaged checkpoint goes back to


def home(base: Path, client: int, run: str = "") -> Path:
    """This client's folder; on a real node one for each run, by the run's name."""
    return base / _plain(run) / f"client-{client:05d}"


def before(home: Path, round: int) -> Memory:
    """The newest memory from a round before this one; empty if there is none.

    A damaged file (the disk's fault, or a power cut's) falls back to the one before it, with a warning. Raises ValueError if
    none of those there are can be read: to go on as if nothing had been remembered would be to forget in silence.
    """
    files = [file for number, file in numbered(home).items() if number < round]
    for file in reversed(files):
        try:
            return read(file)
        except (OSError, ValueError) as error:
            logging.getLogger(__name__).warning("memory %s cannot be read: %s", file, error)
    if files:
        raise ValueError(
            f"none of {', '.join(map(str, files))} can be read; move them away to begin with an empty memory"
        )
    return {}


def check(home: Path, first: int, last: int) -> None:
    """Raises ValueError, naming it, if what a client kept in rounds `first` to `last`, the newest of it, is missing or damaged."""
    newest = max((number for number in numbered(home) if number <= last), default=-1)
    if newest < first:
        raise ValueError(f"{home} has lost what the client kept in round {first}")
    read(numbered(home)[newest])


def carried(older: Sequence[Path], new: Path) -> bool:
    """Begin a run's memory, as of round 0, with a copy of what the newest of the runs before it left; only once.

    older, new: this client's folders in each. Returns whether there was anything. Raises ValueError if none of it can be read.
    """
    mark = new / BEGAN
    if mark.exists():
        return bool(went_on_from(mark))
    old = next((one for one in older if numbered(one) or (one / image_folder.BOOK).exists()), None)
    if old:
        save(new, 0, before(old, LATER))
        if (old / image_folder.BOOK).exists():
            image_folder.carry(old / image_folder.BOOK, new / image_folder.BOOK)
    with placed(mark) as file:  # last: what a power cut left undone is done again
        file.write(old.parent.name.encode() if old else b"")
    return old is not None


def went_on_from(mark: Path) -> str:
    """The run whose memory was brought along, by a client's file BEGAN; empty if there was none."""
    return contents(mark, 1000).decode(errors="replace")


def read(file: Path) -> Memory:
    """A round's memory. Raises ValueError, naming the file, if it is damaged or its arrays are no memory's."""
    memory: dict[str, dict[int, dict[str, np.ndarray]]] = {}
    entries = arrays.read(file, sealed=True)
    if (schema := int(entries.pop(NUMBER, np.array(SCHEMA)).flat[0])) != SCHEMA:
        raise ValueError(
            f"{file} has schema {schema}, this program reads {SCHEMA}: bring this device's code up to date"
        )
    for key, array in entries.items():
        match = re.fullmatch("([^/]+)/(0|[1-9][0-9]{0,8})/([^/]+)", key)
        if not match:
            raise ValueError(f"{file} holds {key[:100]!r}, where METHOD/STAGE/NAME should be")
        method, stage, name = match.groups()
        memory.setdefault(method, {}).setdefault(int(stage), {})[name] = array
    if not memory:  # nothing to remember leaves no file
        raise ValueError(f"{file} holds no memory")
    return memory


def save(home: Path, round: int, memory: Memory) -> None:
    """Write a round's memory, beside and then renamed; a repeated round gives the same file."""
    flat = {f"{m}/{s}/{n}": a for m, stages in memory.items() for s, names in stages.items() for n, a in names.items()}
    if not flat:
        return
    with placed(home / f"round-{round:04d}.npz") as file:
        np.savez(file, **arrays.seal({NUMBER: np.array(SCHEMA), **flat}))  # type: ignore[arg-type]
    for old in list(numbered(home).values())[:-KEPT]:
        old.unlink()


def size(memory: Memory) -> int:
    """Bytes of all arrays that it holds."""
    return sum(a.nbytes for slots in memory.values() for slot in slots.values() for a in slot.values())


def begin(home: Path, round: int) -> str:
    """Mark the round as begun. Returns the worker that began it before and did not finish, or an empty text.

    What later rounds left is taken away: a restored run does them again.
    """
    mark, earlier = _mark(home, round), b""
    home.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        earlier = contents(mark, 1000)
    for later in [file for number, file in numbered(home).items() if number >= round]:
        later.unlink()
    mark.write_text(f"{socket.gethostname()}:{os.getpid()}")
    return earlier.decode(errors="replace")


def unmarked(clients: Path) -> None:
    """Of all clients below this folder: what a stopped run had begun was nobody's loss."""
    for mark in clients.glob("*/round-*.begun"):
        mark.unlink()


def end(home: Path, round: int) -> None:
    """The round is done: take the mark away, and the folder too if nothing is kept in it."""
    _mark(home, round).unlink(missing_ok=True)
    with suppress(OSError):  # something is kept in it
        home.rmdir()


def _plain(run: str) -> str:
    """A name from a server, as a folder's: it must not lead elsewhere."""
    if not all(letter.isalnum() or letter in "-_" for letter in run):
        raise ValueError(f"run {run!r} is no plain name")
    return run


def _mark(home: Path, round: int) -> Path:
    return home / f"round-{round:04d}.begun"
