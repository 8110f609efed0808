"""A checkpoint comes back to the last bit, or is known to be damaged."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.arrays import SEAL
from core.config.scenario import Scenario
from scenarios.experiment import pipeline
from server import checkpoint, record
from server.checkpoint import FACTS, SCHEMA, OtherSchema, RunState
from server.record import Report, RoundRecord, RoundSeconds
from tests.damage import arrays, spoiled

STATE = RunState(
    3, [np.array([1.5, -2], np.float32), np.array([[3]], np.float32)],
    {"m_t/0": np.array([0.25, 1e-30], np.float32), "v_t/1": np.array([[7.0]])}, {"acil/gram": np.eye(2)},
    (RoundRecord(3, accuracy=0.1 + 0.2, failed={2: "naïve — ∞"}),), ("round 3: client 2: naïve — ∞; left out",),
)  # fmt: skip


def equal(one: RunState | None, other: RunState) -> bool:
    def flat(state: RunState) -> list[object]:
        arrays = [*enumerate(state.arrays), *sorted(state.strategy.items()), *sorted(state.shared.items())]
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
    small = replace(
        STATE, arrays=STATE.arrays[:1], strategy={"v_t/0": STATE.arrays[0]}, shared={}, history=(), events=()
    )
    checkpoint.save(tmp_path, replace(small, round=2))
    checkpoint.save(tmp_path, small)
    newest = tmp_path / "checkpoints" / "round-00003.npz"
    sound, noticed = newest.read_bytes(), 0
    for position in range(len(sound)):
        newest.write_bytes(sound[:position] + bytes([sound[position] ^ 1]) + sound[position + 1 :])
        state, damaged = checkpoint.newest(tmp_path)
        noticed += damaged == [newest.name]
        assert equal(state, replace(small, round=2) if damaged else small), f"byte {position} of {len(sound)}"
    assert noticed > len(sound) / 2


def two(folder: Path) -> Path:
    """Checkpoints of rounds 2 and 3; returns the newest."""
    for number in (2, 3):
        checkpoint.save(folder, replace(STATE, round=number))
    return folder / "checkpoints" / "round-00003.npz"


def test_whatever_the_damage_the_one_before_is_used(tmp_path: Path) -> None:
    newest = two(tmp_path)
    for kind, octets in spoiled(newest.read_bytes()).items():
        newest.write_bytes(octets)
        state, damaged = checkpoint.newest(tmp_path)
        assert equal(state, replace(STATE, round=2)) and damaged == [newest.name], kind
    newest.unlink()
    os.mkfifo(newest)
    state, damaged = checkpoint.newest(tmp_path)
    assert equal(state, replace(STATE, round=2)) and damaged == [newest.name]


Named = dict[str, Any]


def facts(**changes: Any) -> Callable[[Named], Named]:
    """A checkpoint whose JSON says other things; None takes a key away."""

    def change(named: Named) -> Named:
        found = {k: v for k, v in (json.loads(named[FACTS].tobytes()) | changes).items() if v is not None}
        return named | {FACTS: np.frombuffer(json.dumps(found).encode(), np.uint8)}

    return change


def octets(text: bytes) -> Callable[[Named], Named]:
    return lambda named: named | {FACTS: np.frombuffer(text, np.uint8)}


WRONG = {
    "no JSON": octets(b"{"), "no text": octets(b"\xff\xfe"), "no object": octets(b"[1]"), "brackets": octets(b"[" * 100_000),
    "twice": octets(b'{"round": 3, "round": 3}'), "no round": facts(round=None), "another round": facts(round=2),
    "a round in words": facts(round="3"), "no history": facts(history=None), "a history of words": facts(history=["good"]),
    "no events": facts(events=None), "events that are none": facts(events=[1]), "no arrays": facts(arrays=None),
    "fewer arrays": facts(arrays=["weight/0"]), "names of none": facts(arrays=[]),
    "another kind": lambda named: named | {"weight/0": named["weight/0"].astype(np.float64)},
    "one more": lambda named: named | {"weight/2": named["weight/0"]},
    "a gap": lambda named: {("weight/5" if name == "weight/1" else name): a for name, a in named.items()},
    "nothing else": lambda named: {FACTS: named[FACTS]},
}  # fmt: skip


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_checkpoint_that_is_sound_and_says_nonsense_is_passed_over(
    change: Callable[[Named], Named], tmp_path: Path
) -> None:
    newest = two(tmp_path)
    with np.load(newest) as file:
        named = {name: file[name] for name in file.files}
    named.pop(SEAL)
    newest.write_bytes(arrays(named))
    assert checkpoint.newest(tmp_path)[1] == []  # older checkpoints have no seal
    newest.write_bytes(arrays(change(named)))
    state, damaged = checkpoint.newest(tmp_path)
    assert equal(state, replace(STATE, round=2)) and damaged == [newest.name]


def test_a_sound_zip_of_other_arrays_is_passed_over(tmp_path: Path) -> None:
    newest = two(tmp_path)
    with np.load(newest) as file:
        named = {name: file[name] for name in file.files}
    swapped = {"weight/0": named["strategy/m_t/0"], "strategy/m_t/0": named["weight/0"]}
    for change in (
        swapped,
        {"weight/0": named["weight/0"] + 1},
        {"weight/0": named["weight/0"][None]},
        {SEAL: np.zeros(32)},
    ):
        newest.write_bytes(arrays(named | change))
        state, damaged = checkpoint.newest(tmp_path)
        assert equal(state, replace(STATE, round=2)) and damaged == [newest.name]


def test_another_models_checkpoint_is_passed_over(tmp_path: Path) -> None:
    two(tmp_path)
    assert equal(checkpoint.newest(tmp_path, STATE.arrays)[0], STATE)
    other = [*STATE.arrays[:1], STATE.arrays[1][0]]
    assert checkpoint.newest(tmp_path, other) == (None, ["round-00003.npz", "round-00002.npz"])


def test_what_earlier_processes_spent_on_a_run_counts_in_its_total(tmp_path: Path) -> None:
    """Training's seconds are of all of them, and a total of the last one alone was less than its parts."""
    seconds = RoundSeconds(train=2.0, evaluate=0.5)
    checkpoint.save(tmp_path, replace(STATE, history=tuple(replace(row, seconds=seconds) for row in STATE.history)))
    now = Report(Scenario("x"), seconds={"training": 4.0, "baselines": 5.0, "export": 1.0})

    def in_all() -> tuple[float, ...]:
        before, played = record.finished(tmp_path), pipeline._played(tmp_path)
        found = pipeline._in_all(now, 30.0, before, played).seconds
        return tuple(found[name] for name in ("training", "baselines", "export", "total"))

    assert in_all() == (4.0, 5.0, 1.0, 30.0 + 2.5 * len(STATE.history)) and STATE.history
    record.save(tmp_path, now.with_(seconds={**now.seconds, "export": 0.5, "total": 41.0}))
    assert in_all() == (
        4.0,
        10.0,
        1.5,
        41.0 + 6.0,
    )  # finished, then given files: the rest of it takes no longer for that


@pytest.mark.parametrize("schema", [1, SCHEMA + 1])
def test_a_checkpoint_of_another_program_is_not_called_damaged(schema: int, tmp_path: Path) -> None:
    """To pass over it would be to begin anew in silence."""
    newest = two(tmp_path)
    with np.load(newest) as file:
        named = {name: file[name] for name in file.files if name != SEAL}
    newest.write_bytes(arrays(facts(schema=schema)(named)))
    with pytest.raises(OtherSchema, match=rf"round-00003\.npz has schema {schema}"):
        checkpoint.newest(tmp_path)
    assert pipeline._played(tmp_path) == ()  # the run refuses it, where its words are seen
    newest.write_bytes(arrays({"told": named.pop(FACTS), **named}))  # before there was a schema
    with pytest.raises(OtherSchema, match=r"round-00003\.npz was written by an older version"):
        checkpoint.newest(tmp_path)


def test_damaged_ones_of_later_rounds_do_not_outlive_those_that_can_be_read(tmp_path: Path) -> None:
    """A run whose checkpoints of rounds 39 and 40 are both damaged begins anew, and must be able to go on from its first."""
    for number in (39, 40):
        checkpoint.save(tmp_path, replace(STATE, round=number))
    for file in (tmp_path / "checkpoints").iterdir():
        file.write_bytes(file.read_bytes()[:500])
    for number in (1, 2, 3):
        checkpoint.save(tmp_path, replace(STATE, round=number))
        state, damaged = checkpoint.newest(tmp_path)
        assert state is not None and state.round == number and damaged == []
    assert files(tmp_path) == ["round-00002.npz", "round-00003.npz"]


def test_a_round_becomes_json_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rounds are in every checkpoint: to make each anew would cost the square of their number."""
    made: list[int] = []
    encode = record.plain
    monkeypatch.setattr(record, "plain", lambda row: made.append(getattr(row, "round", 0)) or encode(row))
    history: tuple[RoundRecord, ...] = ()
    for number in range(1, 6):
        history += (RoundRecord(number),)
        record.save_rounds(tmp_path, history)
        checkpoint.save(tmp_path, replace(STATE, round=number, history=history))
    assert [number for number in made if number] == [1, 2, 3, 4, 5]
    state, _ = checkpoint.newest(tmp_path)
    assert state is not None and state.history == history and tuple(record.load_rounds(tmp_path)) == history


def test_checkpoints_are_ordered_by_their_number(tmp_path: Path) -> None:
    for number in (99_999, 100_000, 100_001):
        checkpoint.save(tmp_path, replace(STATE, round=number))
    state, _ = checkpoint.newest(tmp_path)
    assert state is not None and state.round == 100_001 and len(files(tmp_path)) == 2
