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


def held(value: int) -> Memory:
    """Two methods, two stages, arrays of several kinds."""
    w = np.full((2, 3), value, np.float32)
    return {"ewc": {0: {"fisher": w, "start": -w}, 2: {"fisher": 2 * w}}, "replay": {1: {"x": np.arange(value)}}}


def same(one: Memory, other: Memory) -> bool:
    def flat(memory: Memory) -> dict[tuple[str, int, str], tuple[str, bytes]]:
        return {(m, s, n): (f"{a.dtype}{a.shape}", a.tobytes())
                for m, stages in memory.items() for s, names in stages.items() for n, a in names.items()}  # fmt: skip

    return flat(one) == flat(other)


def test_what_was_saved_comes_back() -> None:
    memory.save(7, 3, held(5))
    assert same(memory.before(7, 4), held(5))


def test_a_round_sees_the_newest_round_before_it_and_never_its_own() -> None:
    memory.save(7, 2, held(2))
    memory.save(7, 5, held(5))
    assert [same(memory.before(7, round), held(n)) for round, n in ((3, 2), (5, 2), (6, 5), (99, 5))] == [True] * 4
    assert memory.before(7, 2) == {} and memory.before(7, 1) == {}


def test_only_the_newest_three_are_kept(home: Path) -> None:
    for round in (1, 4, 9, 12):
        memory.save(7, round, held(round))
    names = sorted(file.name for file in (home / "client-00007").iterdir())
    assert names == ["round-0004.npz", "round-0009.npz", "round-0012.npz"]


def test_a_round_repeated_replaces_its_own_file_and_leaves_no_other(home: Path) -> None:
    memory.save(7, 1, held(1))
    memory.save(7, 2, held(2))
    first = (home / "client-00007" / "round-0002.npz").read_bytes()
    memory.save(7, 2, held(2))
    assert (home / "client-00007" / "round-0002.npz").read_bytes() == first
    memory.save(7, 2, held(3))
    assert same(memory.before(7, 3), held(3)) and same(memory.before(7, 2), held(1))
    assert len(list((home / "client-00007").iterdir())) == 2


def test_clients_do_not_see_each_other() -> None:
    memory.save(1, 1, held(1))
    assert memory.before(11, 2) == {} and memory.before(10001, 2) == {}


def test_nothing_to_remember_leaves_nothing(home: Path) -> None:
    memory.save(7, 1, {})
    assert not home.exists()


def test_a_writer_killed_on_the_way_spoils_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.save(7, 1, held(1))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        memory.save(7, 2, held(2))
    monkeypatch.undo()
    monkeypatch.setenv("CLIENTS_HOME", str(home))
    assert same(memory.before(7, 3), held(1))


def test_nothing_is_unpickled(home: Path) -> None:
    folder = home / "client-00007"
    folder.mkdir(parents=True)
    np.savez(folder / "round-0001.npz", **{"ewc/0/fisher": np.array([{}], object)})
    with pytest.raises(ValueError, match="none of"):
        memory.before(7, 2)


def test_a_damaged_file_falls_back_to_the_one_before_and_never_to_nothing(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for round in (1, 2):
        memory.save(7, round, held(round))
    file = home / "client-00007" / "round-0002.npz"
    whole = file.read_bytes()
    for kind, octets in spoiled(whole).items():
        if kind == "numbers for JSON":
            continue  # other numbers under the right names: a memory too
        file.write_bytes(octets)
        caplog.clear()
        assert same(memory.before(7, 3), held(1)) and "round-0002.npz" in caplog.text, kind
    file.unlink()
    os.mkfifo(file)
    assert same(memory.before(7, 3), held(1))
    (home / "client-00007" / "round-0001.npz").unlink()
    with pytest.raises(ValueError, match=r"round-0002\.npz"):
        memory.before(7, 3)


@pytest.mark.parametrize(
    "key", ["fisher", "ewc/fisher", "ewc/x/fisher", "ewc/-1/fisher", "ewc/01/fisher", "ewc/0/a/b", "/0/a"]
)
def test_an_array_that_is_no_methods_is_named(home: Path, caplog: pytest.LogCaptureFixture, key: str) -> None:
    for round in (1, 2):
        memory.save(7, round, held(round))
    (home / "client-00007" / "round-0002.npz").write_bytes(arrays({"replay/0/x": np.zeros(1), key: np.zeros(1)}))
    assert same(memory.before(7, 3), held(1))
    assert f"round-0002.npz holds '{key}', where METHOD/STAGE/NAME should be" in caplog.text


def test_a_sound_zip_of_other_arrays_falls_back(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    for round in (1, 2):
        memory.save(7, round, held(round))
    file = home / "client-00007" / "round-0002.npz"
    with np.load(file) as found:
        named = {name: found[name] for name in found.files}
    file.write_bytes(arrays(named | {"ewc/0/fisher": named["ewc/0/start"], "ewc/0/start": named["ewc/0/fisher"]}))
    assert same(memory.before(7, 3), held(1)) and "other arrays than its seal says" in caplog.text
    del named["sha256"]
    file.write_bytes(arrays(named))  # as an older version of this program wrote it
    assert same(memory.before(7, 3), held(2))


def test_rounds_are_ordered_by_their_number_and_other_files_are_left_alone(home: Path) -> None:
    for round in (9_998, 9_999, 10_000, 10_001):
        memory.save(7, round, held(round))
    (other := home / "client-00007" / "round-0001 (copy).npz").write_bytes(b"mine")
    assert same(memory.before(7, 10_002), held(10_001)) and same(memory.before(7, 10_000), held(9_999))
    memory.begin(7, 10_001)
    memory.save(7, 10_001, held(3))
    assert same(memory.before(7, 10_002), held(3)) and other.read_bytes() == b"mine"


def test_a_mark_that_is_no_text_does_no_harm(home: Path) -> None:
    memory.begin(7, 3)
    (home / "client-00007" / "round-0003.begun").write_bytes(b"\xff\xfeworker")
    assert "worker" in memory.begin(7, 3)


def test_a_run_that_goes_back_some_rounds_finds_its_memory_in_each_of_them(home: Path) -> None:
    for round in range(1, 9):
        memory.save(7, round, held(round))
    for round in range(7, 12):  # restored from round 6: the checkpoint of round 7 was damaged
        memory.begin(7, round)
        assert same(memory.before(7, round), held(6 if round == 7 else 10 * (round - 1)))
        memory.save(7, round, held(10 * round))
        assert same(memory.before(7, round + 1), held(10 * round))


def test_a_round_begun_and_not_ended_names_its_worker() -> None:
    assert memory.begin(7, 3) == ""
    assert memory.begin(7, 3) == f"{socket.gethostname()}:{os.getpid()}"


def test_a_round_that_ended_is_forgotten(home: Path) -> None:
    memory.begin(7, 3)
    memory.end(7, 3)
    assert not (home / "client-00007").exists()
    assert memory.begin(7, 3) == ""


def test_marks_belong_to_one_client_and_one_round() -> None:
    memory.begin(7, 3)
    assert memory.begin(8, 3) == memory.begin(7, 4) == ""


def test_ending_a_round_keeps_what_is_remembered(home: Path) -> None:
    memory.begin(7, 3)
    memory.save(7, 3, held(1))
    memory.end(7, 3)
    assert [file.name for file in (home / "client-00007").iterdir()] == ["round-0003.npz"]


def test_ending_twice_does_no_harm(home: Path) -> None:
    memory.begin(7, 3)
    memory.end(7, 3)
    memory.begin(7, 3)
    (home / "client-00007" / "round-0003.begun").unlink()  # a repeated task had ended it already
    memory.end(7, 3)


@pytest.mark.parametrize("run", ["../elsewhere", "a/b", "a b", "..", "\x00"])
def test_a_runs_name_from_a_server_leads_nowhere_else(run: str) -> None:
    with pytest.raises(ValueError, match="no plain name"):
        memory.save(7, 1, held(1), run)


def test_runs_on_one_device_keep_apart(home: Path) -> None:
    memory.save(7, 1, held(1), "first")
    memory.save(7, 1, held(2), "second")
    assert same(memory.before(7, 2, "first"), held(1)) and same(memory.before(7, 2, "second"), held(2))
