"""A folder that grows: what is new is a new experience, what is done again sees what it saw."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from clients.growing import own
from clients.learner import learn
from core.data import read
from core.methods.base import earlier
from core.model import initial
from core.scenario import Local, Part, Scenario

SCENARIO = Scenario("device", clients=1, cohort=1, rounds=6, methods=(Part("replay"),), local=Local(batch=8))


def put(folder: Path, start: int, stop: int) -> None:
    train, _ = read("mnist")
    for i in range(start, stop):
        (folder / str(train.y[i])).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / str(train.y[i]) / f"{i:04d}.png"), train.x[i])


def test_what_is_new_is_the_next_experience(tmp_path: Path) -> None:
    folder, book = tmp_path / "digits", tmp_path / "memory" / "experiences.json"
    put(folder, 0, 40)
    first, held_out = own(SCENARIO, 0, folder, book, 1)
    assert first.stream and len(first.stream.parts) == 1 and len(first.train) + len(held_out) == 40
    put(folder, 40, 70)
    again, _ = own(SCENARIO, 0, folder, book, 1)  # the round is done again: it sees what it saw
    assert np.array_equal(again.train.x, first.train.x)
    second, more = own(SCENARIO, 0, folder, book, 2)
    assert second.stream and second.stream.starts == (1, 2) and len(second.stream.parts) == 2
    assert len(second.train) + len(more) == 70
    old = second.train.take(second.stream.parts[0])
    assert sorted(map(bytes, old.x)) == sorted(map(bytes, first.train.x))
    third, _ = own(SCENARIO, 0, folder, book, 3)
    assert third.stream and third.stream.starts == (1, 2)  # nothing new


def test_a_round_that_found_nothing_new_finds_nothing_new_again(tmp_path: Path) -> None:
    folder, book = tmp_path / "digits", tmp_path / "experiences.json"
    put(folder, 0, 40)
    for round in (1, 2):
        first, _ = own(SCENARIO, 0, folder, book, round)
    put(folder, 40, 70)
    again, _ = own(SCENARIO, 0, folder, book, 2)
    assert np.array_equal(again.train.x, first.train.x)


def test_images_that_are_taken_away_leave_the_numbers_of_later_experiences(tmp_path: Path) -> None:
    folder, book = tmp_path / "digits", tmp_path / "experiences.json"
    for round in (1, 2, 3):
        put(folder, 20 * (round - 1), 20 * round)
        own(SCENARIO, 0, folder, book, round)
    for file in [file for i in range(20, 40) for file in folder.glob(f"*/{i:04d}.png")]:
        file.unlink()
    shard, _ = own(SCENARIO, 0, folder, book, 4)
    assert shard.stream and shard.stream.starts == (1, 2, 3)
    assert [len(part) > 0 for part in shard.stream.parts] == [True, False, True]


def test_a_damaged_picture_is_left_out_until_it_is_whole(tmp_path: Path) -> None:
    folder, book = tmp_path / "digits", tmp_path / "experiences.json"
    put(folder, 0, 40)
    broken = next(folder.glob("*/0003.png"))
    whole = broken.read_bytes()
    broken.write_bytes(whole[:20])
    first, held_out = own(SCENARIO, 0, folder, book, 1)
    assert len(first.train) + len(held_out) == 39
    broken.write_bytes(whole)
    second, more = own(SCENARIO, 0, folder, book, 2)
    assert len(second.train) + len(more) == 40
    book.write_text("{")
    with pytest.raises(ValueError, match="move it away"):
        own(SCENARIO, 0, folder, book, 3)


def test_nothing_that_is_tested_on_is_ever_trained_on(tmp_path: Path) -> None:
    put(tmp_path, 0, 60)
    shard, tested = own(SCENARIO, 0, tmp_path, tmp_path / "experiences.json", 1)
    assert len(tested) and not {bytes(x) for x in shard.train.x} & {bytes(x) for x in tested.x}


def test_a_device_rehearses_what_it_met_before(tmp_path: Path) -> None:
    folder, book, memory, arrays = tmp_path / "digits", tmp_path / "experiences.json", {}, initial(0)
    put(folder, 0, 40)
    for round in (1, 2, 3):
        if round == 3:
            put(folder, 40, 80)
        shard, _ = own(SCENARIO, 0, folder, book, round)
        done = learn(shard, SCENARIO, round, arrays, 0.05, memory)
        arrays, memory = done.arrays, done.memory
    assert list(memory["replay"]) == [0, 1] and len(earlier(memory, "replay", 1)[0]["y"])
    assert done.examples == len(shard.train)  # its new images, and all the old ones, which fit the memory


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no image to train on"):
        own(SCENARIO, 0, tmp_path, tmp_path / "experiences.json", 1)
