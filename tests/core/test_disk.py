"""A file that is written is whole, or the old one is still there; JSON that is read is whole, or the error names the file."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from core.disk import placed, read_json, read_lines, read_object


def test_it_takes_its_place_when_it_is_done(tmp_path: Path) -> None:
    place = tmp_path / "new folder" / "file"
    with placed(place) as file:
        file.write(b"half")
        assert not place.exists()
        file.write(b" and half")
    assert place.read_bytes() == b"half and half" and list(place.parent.iterdir()) == [place]


def test_what_fails_in_the_middle_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"old")

    def fill() -> None:
        with placed(place) as file:
            file.write(b"new, but")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fill()
    assert place.read_bytes() == b"old" and list(tmp_path.iterdir()) == [place]


GARBLED = {
    "nothing": b"",
    "half": b'{"name": "x"',
    "not UTF-8": b'{"name": "\xff"}',
    "nested too deeply": b"[" * 100_000,
    "a number too long": b"[" + b"9" * 5000 + b"]",
    "a list": b"[1, 2]",
    "without the key": b'{"other": 1}',
}


@pytest.mark.parametrize("what", GARBLED)
def test_json_that_cannot_be_read_is_one_error_that_names_the_file(tmp_path: Path, what: str) -> None:
    file = tmp_path / "some.json"
    file.write_bytes(GARBLED[what])
    with pytest.raises(ValueError, match=re.escape(str(file))):
        read_object(file, "name")


def test_what_is_no_plain_file_or_too_long_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_text("[" + " " * 50 + "]")
    for name, why in {"pipe": "plain file", ".": "plain file", "long": "more than 50"}.items():
        with pytest.raises(ValueError, match=why):
            read_json(tmp_path / name, most=50)
    for absent in ("nowhere", "long/below"):
        with pytest.raises(FileNotFoundError):
            read_json(tmp_path / absent)


def test_lines_are_objects_and_a_garbled_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    assert read_lines(file, "round") == []
    file.write_text('{"round": 1}\n{"round": 2}\n')
    assert [line["round"] for line in read_lines(file, "round")] == [1, 2]
    for second in ("5", '{"rou', '{"other": 1}'):
        file.write_text('{"round": 1}\n' + second + "\n")
        with pytest.raises(ValueError, match=re.escape(str(file))):
            read_lines(file, "round")
