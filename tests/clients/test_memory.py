"""A client's memory: what was saved comes back, to the right round, and never a half of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from clients import memory
from core.methods.base import Memory
from tests.damage import arrays, spoiled


def memory_of(value: int) -> Memory:
    """Two methods, two stages, arrays of several kinds."""
    w = np.full((2, 3), value, np.float32)
    return {"ewc": {0: {"fisher": w, "start": -w}, 2: {"fisher": 2 * w}}, "replay": {1: {"x": np.arange(value)}}}


@pytest.fixture
def where(home: Path) -> Path:
    """Client 7's folder."""
    return memory.home(home, 7)


def same(one: Memory, other: Memory) -> bool:
    def flat(memory: Memory) -> dict[tuple[str, int, str], tuple[str, bytes]]:
        return {(m, s, n): (f"{a.dtype}{a.shape}", a.tobytes())
                for m, stages in memory.items() for s, names in stages.items() for n, a in names.items()}  # fmt: skip

    return flat(one) == flat(other)


def test_what_was_saved_comes_back(where: Path) -> None:
    memory.save(where, 3, memory_of(5))
    assert same(memory.before(where, 4), memory_of(5))


def test_a_round_sees_the_newest_round_before_it_and_never_its_own(where: Path) -> None:
    memory.save(where, 2, memory_of(2))
    memory.save(where, 5, memory_of(5))
    assert [same(memory.before(where, round), memory_of(n)) for round, n in ((3, 2), (5, 2), (6, 5), (99, 5))] == [
        True
    ] * 4
    assert memory.before(where, 2) == {} and memory.before(where, 1) == {}


def test_what_a_client_kept_is_checked_before_a_run_goes_on(where: Path) -> None:
    for round in (2, 5):
        memory.save(where, round, memory_of(round))
    memory.check(where, 2, 4)
    memory.check(where, 5, 7)
    with pytest.raises(ValueError, match="has lost what the client kept in round 3"):
        memory.check(where, 3, 4)
    newest = where / "round-0005.npz"
    newest.write_bytes(newest.read_bytes()[:100])
    memory.check(where, 2, 4)  # a checkpoint of round 4 does not need it
    with pytest.raises(ValueError, match=r"round-0005\.npz"):
        memory.check(where, 5, 7)


def test_only_the_newest_three_are_kept(where: Path) -> None:
    for round in (1, 4, 9, 12):
        memory.save(where, round, memory_of(round))
    names = sorted(file.name for file in (where).iterdir())
    assert names == ["round-0004.npz", "round-0009.npz", "round-0012.npz"]


def test_a_round_repeated_replaces_its_own_file_and_leaves_no_other(where: Path) -> None:
    memory.save(where, 1, memory_of(1))
    memory.save(where, 2, memory_of(2))
    first = (where / "round-0002.npz").read_bytes()
    memory.save(where, 2, memory_of(2))
    assert (where / "round-0002.npz").read_bytes() == first
    memory.save(where, 2, memory_of(3))
    assert same(memory.before(where, 3), memory_of(3)) and same(memory.before(where, 2), memory_of(1))
    assert len(list((where).iterdir())) == 2


def test_clients_do_not_see_each_other(home: Path) -> None:
    memory.save(memory.home(home, 1), 1, memory_of(1))
    assert memory.before(memory.home(home, 11), 2) == {} and memory.before(memory.home(home, 10001), 2) == {}


def test_nothing_to_remember_leaves_nothing(where: Path, home: Path) -> None:
    memory.save(where, 1, {})
    assert not home.exists()


def test_a_writer_killed_on_the_way_spoils_nothing(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.save(where, 1, memory_of(1))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        memory.save(where, 2, memory_of(2))
    monkeypatch.undo()
    assert same(memory.before(where, 3), memory_of(1))


def test_nothing_is_unpickled(where: Path) -> None:
    where.mkdir(parents=True)
    np.savez(where / "round-0001.npz", **{"ewc/0/fisher": np.array([{}], object)})
    with pytest.raises(ValueError, match="none of"):
        memory.before(where, 2)


def test_a_damaged_file_falls_back_to_the_one_before_and_never_to_nothing(
    where: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for round in (1, 2):
        memory.save(where, round, memory_of(round))
    file = where / "round-0002.npz"
    whole = file.read_bytes()
    for kind, octets in spoiled(whole).items():
        if kind == "numbers for JSON":
            continue  # other numbers under the right names: a memory too
        file.write_bytes(octets)
        caplog.clear()
        assert same(memory.before(where, 3), memory_of(1)) and "round-0002.npz" in caplog.text, kind
    file.unlink()
    os.mkfifo(file)
    assert same(memory.before(where, 3), memory_of(1))
    (where / "round-0001.npz").unlink()
    with pytest.raises(ValueError, match=r"round-0002\.npz"):
        memory.before(where, 3)


@pytest.mark.parametrize(
    "key", ["fisher", "ewc/fisher", "ewc/x/fisher", "ewc/-1/fisher", "ewc/01/fisher", "ewc/0/a/b", "/0/a"]
)
def test_an_array_that_is_no_methods_is_named(where: Path, caplog: pytest.LogCaptureFixture, key: str) -> None:
    for round in (1, 2):
        memory.save(where, round, memory_of(round))
    (where / "round-0002.npz").write_bytes(arrays({"replay/0/x": np.zeros(1), key: np.zeros(1)}))
    assert same(memory.before(where, 3), memory_of(1))
    assert f"round-0002.npz holds '{key}', where METHOD/STAGE/NAME should be" in caplog.text


def test_a_sound_zip_of_other_arrays_falls_back(where: Path, caplog: pytest.LogCaptureFixture) -> None:
    for round in (1, 2):
        memory.save(where, round, memory_of(round))
    file = where / "round-0002.npz"
    with np.load(file) as found:
        named = {name: found[name] for name in found.files}
    file.write_bytes(arrays(named | {"ewc/0/fisher": named["ewc/0/start"], "ewc/0/start": named["ewc/0/fisher"]}))
    assert same(memory.before(where, 3), memory_of(1)) and "other arrays than its seal says" in caplog.text
    del named["sha256"]
    file.write_bytes(arrays(named))  # as an older version of this program wrote it
    assert same(memory.before(where, 3), memory_of(2))


def test_rounds_are_ordered_by_their_number_and_other_files_are_left_alone(where: Path) -> None:
    for round in (9_998, 9_999, 10_000, 10_001):
        memory.save(where, round, memory_of(round))
    (other := where / "round-0001 (copy).npz").write_bytes(b"mine")
    assert same(memory.before(where, 10_002), memory_of(10_001)) and same(
        memory.before(where, 10_000), memory_of(9_999)
    )
    memory.begin(where, 10_001)
    memory.save(where, 10_001, memory_of(3))
    assert same(memory.before(where, 10_002), memory_of(3)) and other.read_bytes() == b"mine"


def test_a_mark_that_is_no_text_does_no_harm(where: Path) -> None:
    memory.begin(where, 3)
    (where / "round-0003.begun").write_bytes(b"\xff\xfeworker")
    assert "worker" in memory.begin(where, 3)


def test_a_run_that_goes_back_some_rounds_finds_its_memory_in_each_of_them(where: Path) -> None:
    for round in range(1, 9):
        memory.save(where, round, memory_of(round))
    for round in range(7, 12):  # restored from round 6: the checkpoint of round 7 was damaged
        memory.begin(where, round)
        assert same(memory.before(where, round), memory_of(6 if round == 7 else 10 * (round - 1)))
        memory.save(where, round, memory_of(10 * round))
        assert same(memory.before(where, round + 1), memory_of(10 * round))


def test_a_round_begun_and_not_ended_names_its_worker(where: Path) -> None:
    assert memory.begin(where, 3) == ""
    assert memory.begin(where, 3) == f"{socket.gethostname()}:{os.getpid()}"


def test_what_a_stopped_run_had_begun_is_nobodys_loss(where: Path) -> None:
    memory.save(where, 2, memory_of(2))
    memory.begin(where, 3)
    memory.unmarked(where.parent)
    assert memory.begin(where, 3) == "" and same(memory.before(where, 3), memory_of(2))


def test_a_round_that_ended_is_forgotten(where: Path) -> None:
    memory.begin(where, 3)
    memory.end(where, 3)
    assert not (where).exists()
    assert memory.begin(where, 3) == ""


def test_marks_belong_to_one_client_and_one_round(where: Path, home: Path) -> None:
    memory.begin(where, 3)
    assert memory.begin(memory.home(home, 8), 3) == memory.begin(where, 4) == ""


def test_ending_a_round_keeps_what_is_remembered(where: Path) -> None:
    memory.begin(where, 3)
    memory.save(where, 3, memory_of(1))
    memory.end(where, 3)
    assert [file.name for file in (where).iterdir()] == ["round-0003.npz"]


def test_ending_twice_does_no_harm(where: Path) -> None:
    memory.begin(where, 3)
    memory.end(where, 3)
    memory.begin(where, 3)
    (where / "round-0003.begun").unlink()  # a repeated task had ended it already
    memory.end(where, 3)


@pytest.mark.parametrize("run", ["../elsewhere", "a/b", "a b", "..", "\x00"])
def test_a_runs_name_from_a_server_leads_nowhere_else(tmp_path: Path, run: str) -> None:
    with pytest.raises(ValueError, match="no plain name"):
        memory.home(tmp_path, 7, run)


def test_runs_on_one_device_keep_apart(tmp_path: Path) -> None:
    first, second = (memory.home(tmp_path, 7, run) for run in ("first", "second"))
    memory.save(first, 1, memory_of(1))
    memory.save(second, 1, memory_of(2))
    assert same(memory.before(first, 2), memory_of(1)) and same(memory.before(second, 2), memory_of(2))
