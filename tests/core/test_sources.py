"""A digest of sources changes with every file of the rooms it is of, and with nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import code_digest


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small house: two rooms, and a file beside them."""
    for name in ("one/a.py", "one/deep/b.py", "other/c.py", "single.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    monkeypatch.setattr(code_digest, "HOME", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["one/a.py", "one/deep/b.py", "single.py"])
def test_an_edit_changes_the_digest(name: str, rooms: Path) -> None:
    before = code_digest.digest("one", "single.py")
    (rooms / name).write_text("# edited\n")
    assert code_digest.digest("one", "single.py") != before


def test_so_does_another_name_or_a_new_file(rooms: Path) -> None:
    seen = {code_digest.digest("one")}
    (rooms / "one" / "a.py").rename(rooms / "one" / "z.py")
    seen.add(code_digest.digest("one"))
    (rooms / "one" / "new.py").touch()
    seen.add(code_digest.digest("one"))
    assert len(seen) == 3


def test_what_is_in_other_rooms_or_no_source_does_not_matter(rooms: Path) -> None:
    before = code_digest.digest("one")
    (rooms / "other" / "c.py").write_text("# edited\n")
    (rooms / "one" / "notes.txt").touch()
    assert code_digest.digest("one") == before
