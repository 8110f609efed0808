"""Files that are whole or not there (written beside their place, flushed to the disk, then renamed); JSON that is read with
care; folders that one process holds."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

STALE = 3600.0  # seconds after which nobody is still writing
LARGEST = 1_000_000_000  # bytes of a JSON file


@contextmanager
def placed(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes its place when it is done; after an error or a power cut the old one is still there.

    Folders are made. Two processes may write the same place: the later one's stays. What a power cut left of earlier
    writing is taken away after an hour.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(".*.writing"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > STALE:
                left.unlink()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.writing")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)  # a full disk should not be left fuller
        raise


def read_json(path: Path, most: int = LARGEST) -> Any:
    """What a JSON file of at most so many bytes holds.

    Raises ValueError, naming the file, whatever is wrong with it; FileNotFoundError if there is none.
    """
    return _parsed(path, _text(path, most))


def read_object(path: Path, *keys: str) -> dict[str, Any]:
    """A JSON file's object, which has at least these keys. Raises as `read_json`, and ValueError if it is another value."""
    return _object(str(path), read_json(path), keys)


def read_lines(path: Path, *keys: str) -> list[dict[str, Any]]:
    """The objects of a file that has one a line, with at least these keys; none, if there is no such file.

    Raises ValueError as `read_json`.
    """
    try:
        lines = _text(path, LARGEST).splitlines()
    except FileNotFoundError:
        return []
    return [_object(f"line {number} of {path}", _parsed(path, line), keys) for number, line in enumerate(lines, 1)]


def _object(name: str, value: Any, keys: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} cannot be read: {str(value)[:40]!r} is no object")
    if lacking := sorted(set(keys) - set(value)):
        raise ValueError(f"{name} cannot be read: it lacks {', '.join(lacking)}")
    return value


def _text(path: Path, most: int) -> str:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # opening a pipe would wait for whoever writes to it
            raise ValueError("it is not a plain file")
        if about.st_size > most:
            raise ValueError(f"it has {about.st_size:,} bytes, more than {most:,}")
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # not UTF-8, too
        raise ValueError(f"{path} cannot be read: {error}") from None


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def emptied(folder: Path) -> Path:
    """This folder, made if it is missing, its owner's only, with nothing in it: for temporary files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder.absolute()


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
