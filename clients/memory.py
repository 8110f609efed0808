"""A client's private state on its own disk: one file a round, written atomically, never sent.

`CLIENTS_HOME` names the folder (a run's own `clients/` in simulation); each client has a folder of its own in it.
"""

from __future__ import annotations

import logging
import os
import socket
import zipfile
import zlib
from pathlib import Path

import numpy as np

from core.disk import placed
from core.methods.base import Memory

KEPT = 3  # rounds kept: the newest, the one before, and the one that a damaged checkpoint goes back to


def home(client: int, run: str = "") -> Path:
    """This client's folder; on a real node one for each run, by the run's name."""
    return Path(os.environ.get("CLIENTS_HOME", "clients-home")) / _plain(run) / f"client-{client:05d}"


def before(client: int, round: int, run: str = "") -> Memory:
    """The newest memory from a round before this one; empty if there is none.

    A damaged file (the disk's fault, or a power cut's) falls back to the one before it, with a warning. Raises ValueError if
    none of those there are can be read: to go on as if nothing had been remembered would be to forget in silence.
    """
    files = [file for file in sorted(home(client, run).glob("round-*.npz")) if _round(file) < round]
    for file in reversed(files):
        try:
            return _read(file)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            logging.getLogger(__name__).warning("memory %s cannot be read: %s", file, error)
    if files:
        raise ValueError(
            f"none of {', '.join(map(str, files))} can be read; move them away to begin with an empty memory"
        )
    return {}


def _read(file: Path) -> Memory:
    held: dict[str, dict[int, dict[str, np.ndarray]]] = {}
    with np.load(file, allow_pickle=False) as arrays:
        for key in arrays.files:
            method, stage, name = key.split("/")
            held.setdefault(method, {}).setdefault(int(stage), {})[name] = arrays[key]
    return held


def save(client: int, round: int, memory: Memory, run: str = "") -> None:
    """Write a round's memory, beside and then renamed; a repeated round gives the same file."""
    flat = {f"{m}/{s}/{n}": a for m, stages in memory.items() for s, names in stages.items() for n, a in names.items()}
    if not flat:
        return
    folder = home(client, run)
    with placed(folder / f"round-{round:04d}.npz") as file:
        np.savez(file, **flat)  # type: ignore[arg-type]
    for old in sorted(folder.glob("round-*.npz"))[:-KEPT]:
        old.unlink()


def size(memory: Memory) -> int:
    """Bytes of all arrays that it holds."""
    return sum(a.nbytes for slots in memory.values() for slot in slots.values() for a in slot.values())


def begin(client: int, round: int, run: str = "") -> str:
    """Mark the round as begun. Returns the worker that began it before and did not finish, or an empty text.

    What later rounds left is taken away: a restored run does them again.
    """
    mark = _mark(client, round, run)
    mark.parent.mkdir(parents=True, exist_ok=True)
    earlier = mark.read_text() if mark.exists() else ""
    for later in [file for file in mark.parent.glob("round-*.npz") if _round(file) >= round]:
        later.unlink()
    mark.write_text(f"{socket.gethostname()}:{os.getpid()}")
    return earlier


def end(client: int, round: int, run: str = "") -> None:
    """The round is done: take the mark away, and the folder too if nothing is kept in it."""
    mark = _mark(client, round, run)
    mark.unlink(missing_ok=True)
    if not any(mark.parent.iterdir()):
        mark.parent.rmdir()


def _plain(run: str) -> str:
    """A name from a server, as a folder's: it must not lead elsewhere."""
    if not all(letter.isalnum() or letter in "-_" for letter in run):
        raise ValueError(f"run {run!r} is no plain name")
    return run


def _mark(client: int, round: int, run: str) -> Path:
    return home(client, run) / f"round-{round:04d}.begun"


def _round(file: Path) -> int:
    return int(file.stem.split("-")[1])
