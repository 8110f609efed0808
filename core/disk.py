"""Files that are whole or not there (written beside their place, flushed to the disk, then renamed); files that are read without
waiting or filling the memory; folders that one holds."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

STALE = 3600.0  # seconds after which nobody is still writing


# What a machine runs out of, or breaks: space, files that are open, memory, the disk itself.
MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def of_machine(error: BaseException) -> BaseException | None:
    """The machine's failure behind an error, if that is what it is, and of nothing that was asked of it. In a simulation it is
    nobody's: the run ends, and goes on when there is room again."""
    for one in (error, error.__cause__, getattr(error, "cause", None)):  # the last is how Ray brings it
        if isinstance(one, MemoryError) or (isinstance(one, OSError) and one.errno in MACHINE):
            return one
    return None


@contextmanager
def placed(path: Path, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """A file to write, which takes its place when it is done; after an error or a power cut the old one is still there.

    mode: who may read and write it, from its first byte on (less what the system's umask takes). Folders are made. Two threads
    or processes may write the same place: the later one's stays. What a power cut left of earlier writing is taken away after
    an hour.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(".*.writing"):
        with suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > STALE:
                removed(leftover)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.writing")
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)  # a full disk should not be left fuller
        raise


def emptied(folder: Path) -> Path:
    """This folder, made if it is missing, its owner's only, with nothing in it: for temporary files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder.absolute()


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A plain file, to read. Raises ValueError if it is something else, at once: a pipe would wait for whoever writes to it."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is not a plain file")
        yield file


def contents(path: Path, most: int) -> bytes:
    """All bytes of a plain file. Raises ValueError if it is none, or has more than `most`; OSError if it cannot be opened."""
    with opened(path) as file:
        octets = file.read(most + 1)
    if len(octets) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return octets


@contextmanager
def hold(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold a folder for this process, by itself: no lock file is left in it, and the system lets go if the process dies.

    wait: for another that holds it to end. Raises BlockingIOError, before anything else, if another does and nobody waits.
    """
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(lock)


def numbered(folder: Path) -> dict[int, Path]:
    """The files round-NUMBER.npz of a folder, if it is there, by number, smallest first; whatever has another name is not one of
    them."""
    try:
        names = os.listdir(folder)  # a client looks here twice a round: three times as fast as a glob
    except (FileNotFoundError, NotADirectoryError):
        return {}
    matches = (re.fullmatch(r"round-([0-9]{1,9})\.npz", name) for name in names)
    return dict(sorted((int(match[1]), folder / match[0]) for match in matches if match))


def removed(path: Path) -> None:
    """Take away a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replaced(path: Path, by: Path) -> None:
    """Give a file or a folder another name, which may be taken: of a file in one step."""
    if by.is_dir():
        removed(by)
    os.replace(path, by)


def copied(path: Path, to: Path) -> None:
    """Copy a file or a folder, whole or not at all."""
    if path.is_dir():
        temporary = to.with_name(f".{to.name}.writing")
        removed(temporary)
        shutil.copytree(path, temporary)
        replaced(temporary, to)
    else:
        with placed(to) as copy:
            copy.write(path.read_bytes())


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(file.stat().st_size for file in files)
