"""A checkpoint comes back to the last bit, or is known to be damaged."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from server import checkpoint
from server.checkpoint import State

STATE = State(
    3, [np.array([1.5, -2], np.float32), np.array([[3]], np.float32)],
    {"m_t/0": np.array([0.25, 1e-30], np.float32), "v_t/1": np.array([[7.0]])},
    [{"round": 3, "accuracy": 0.1 + 0.2, "failed": {"2": "naïve — ∞"}}], ["round 3: client 2: naïve — ∞; left out"],
)  # fmt: skip


def equal(one: State | None, other: State) -> bool:
    def flat(state: State) -> list[object]:
        arrays = [*enumerate(state.arrays), *sorted(state.strategy.items())]
        named = [(name, a.dtype.str, a.shape, a.tobytes()) for name, a in arrays]
        return [state.round, named, state.history, state.events]

    return one is not None and flat(one) == flat(other)


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in (folder / "checkpoints").iterdir())


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, STATE)
    state, damaged = checkpoint.newest(tmp_path)
    assert equal(state, STATE) and damaged == []


def test_no_checkpoint_is_no_state(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path) == (None, [])


def test_the_newest_two_are_kept_and_nothing_else(tmp_path: Path) -> None:
    for number in (1, 2, 3, 10):
        checkpoint.save(tmp_path, replace(STATE, round=number))
    assert files(tmp_path) == ["round-00003.npz", "round-00010.npz"]
    state, _ = checkpoint.newest(tmp_path)
    assert state is not None and state.round == 10


def test_the_same_state_gives_the_same_file(tmp_path: Path) -> None:
    for name in "ab":
        checkpoint.save(tmp_path / name, STATE)
    one, other = ((tmp_path / name / "checkpoints" / "round-00003.npz").read_bytes() for name in "ab")
    assert one == other


def test_a_writer_killed_on_the_way_spoils_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, STATE)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, replace(STATE, round=4))
    state, damaged = checkpoint.newest(tmp_path)
    assert equal(state, STATE) and damaged == []


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_checkpoint_cut_short_is_passed_over_and_named(tmp_path: Path, kept: int) -> None:
    for number in (2, 3):
        checkpoint.save(tmp_path, replace(STATE, round=number))
    newest = tmp_path / "checkpoints" / "round-00003.npz"
    newest.write_bytes(newest.read_bytes()[:kept])
    state, damaged = checkpoint.newest(tmp_path)
    assert equal(state, replace(STATE, round=2)) and damaged == ["round-00003.npz"]


def test_if_all_are_damaged_there_is_none_and_all_are_named(tmp_path: Path) -> None:
    for number in (2, 3):
        checkpoint.save(tmp_path, replace(STATE, round=number))
        (tmp_path / "checkpoints" / f"round-0000{number}.npz").write_bytes(b"")
    assert checkpoint.newest(tmp_path) == (None, ["round-00003.npz", "round-00002.npz"])


def test_any_flipped_bit_either_changes_nothing_or_is_noticed(tmp_path: Path) -> None:
    """One bit of every byte in turn. What a zip does not protect (dates, its system's name) does not matter."""
    small = replace(STATE, arrays=STATE.arrays[:1], strategy={"v_t/0": STATE.arrays[0]}, history=[], events=[])
    checkpoint.save(tmp_path, replace(small, round=2))
    checkpoint.save(tmp_path, small)
    newest = tmp_path / "checkpoints" / "round-00003.npz"
    sound, noticed = newest.read_bytes(), 0
    for place in range(len(sound)):
        newest.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        state, damaged = checkpoint.newest(tmp_path)
        noticed += damaged == [newest.name]
        assert equal(state, replace(small, round=2) if damaged else small), f"byte {place} of {len(sound)}"
    assert noticed > len(sound) / 2
