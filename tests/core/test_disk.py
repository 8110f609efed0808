"""A file that is written is whole, or the old one is still there."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.disk import placed


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
