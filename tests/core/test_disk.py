"""A file that is written is whole, or the old one is still there; a file that is read is a file, and not too long."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.disk import contents, numbered, placed


def test_it_takes_its_place_when_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file"
    with placed(path) as file:
        file.write(b"half")
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half" and list(path.parent.iterdir()) == [path]


def test_what_fails_in_the_middle_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fill() -> None:
        with placed(path) as file:
            file.write(b"new, but")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fill()
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_two_threads_may_write_the_same_place(tmp_path: Path) -> None:
    """As a page's button that is pressed twice."""
    path, both = tmp_path / "file", threading.Barrier(2, timeout=10)

    def fill(content: bytes) -> None:
        with placed(path) as file:
            both.wait()
            file.write(content)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(fill, [b"one", b"two"])) == [None, None]
    assert path.read_bytes() in (b"one", b"two") and list(tmp_path.iterdir()) == [path]


def test_only_a_plain_file_of_some_bytes_is_read_and_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert contents(tmp_path / "file", 5) == b"12345"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        contents(tmp_path / "file", 4)
    os.mkfifo(tmp_path / "pipe")
    for odd in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ValueError, match="not a plain file"):
            contents(odd, 5)
    for missing in (tmp_path / "none", tmp_path, tmp_path / "file" / "below"):
        with pytest.raises(OSError):
            contents(missing, 5)


def test_files_of_rounds_are_ordered_by_number_and_others_are_none_of_them(tmp_path: Path) -> None:
    names = ("round-0002.npz", "round-10000.npz", "round-9999.npz")
    for name in (*names, "round-0001 (copy).npz", "round-.npz", "round-x.npz", "round-0003.begun", "round--1.npz"):
        (tmp_path / name).touch()
    assert list(numbered(tmp_path)) == [2, 9_999, 10_000] and numbered(tmp_path)[2].name == names[0]
    assert numbered(tmp_path / "none") == {}
