"""A folder that grows: what is new is a new experience, what is done again sees what it saw."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from clients.learner import _stage_examples, learn, met
from clients.reader import reading
from clients.reader.reading import Digit
from clients.sources import image_folder
from clients.sources.image_folder import changes, own, survey
from core.config.part import Part
from core.config.scenario import Local, Scenario
from core.data import read
from core.methods.base import earlier_slots
from fl.messages import Task
from tests.models import engine, initial

SCENARIO = Scenario("device", clients=1, cohort=1, rounds=6, methods=(Part("replay"),), local=Local(batch=8))


def put(folder: Path, start: int, stop: int, dark: bool = False) -> None:
    train, _ = read("mnist")
    for i in range(start, stop):
        (folder / str(train.y[i])).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / str(train.y[i]) / f"{i:04d}.png"), 255 - train.x[i] if dark else train.x[i])


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


def test_what_is_gone_or_has_another_label_is_said_in_the_round_that_finds_it(tmp_path: Path) -> None:
    folder, book = tmp_path / "digits", tmp_path / "experiences.json"
    put(folder, 0, 40)
    own(SCENARIO, 0, folder, book, 1)
    assert changes(book, 1) == ""
    names = sorted(folder.glob("*/*.png"))
    names[0].unlink()
    (folder / "9").mkdir(exist_ok=True)
    names[1].rename(folder / "9" / names[1].name)
    shard, tests = own(SCENARIO, 0, folder, book, 2)
    sentence = "has lost 1 image of its folder (39 are left) and has given 1 image another label"
    assert changes(book, 2) == changes(book, 2) == sentence  # a round that is done again says it again
    assert len(shard.train) + len(tests) == 39 and changes(book, 3) == ""
    cv2.imwrite(str(names[0]), read("mnist")[0].x[0])
    assert len(own(SCENARIO, 0, folder, book, 4)[0].train) + len(own(SCENARIO, 0, folder, book, 4)[1]) == 40


def test_a_run_that_goes_on_knows_what_came_before_it(tmp_path: Path) -> None:
    folder, old, new = tmp_path / "digits", tmp_path / "old.json", tmp_path / "new.json"
    put(folder, 0, 40)
    own(SCENARIO, 0, folder, old, 1)
    put(folder, 40, 60)
    own(SCENARIO, 0, folder, old, 5)
    image_folder.carry(old, new)
    same, _ = own(replace(SCENARIO, past=1), 0, folder, new, 1)
    assert same.stream and [len(part) > 0 for part in same.stream.parts] == [True, True]
    assert same.stream.stage(1) == 1  # nothing is new: it goes on with its newest experience
    put(folder, 60, 80)
    more, _ = own(replace(SCENARIO, past=1), 0, folder, new, 2)
    assert more.stream and len(more.stream.parts) == 3 and more.stream.stage(2) == 2 and more.stream.stage(1) == 1
    assert more.first == 0  # its experiences are counted from its first day


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


def test_a_file_may_have_a_name_that_is_no_text(tmp_path: Path) -> None:
    folder, book = tmp_path / "digits", tmp_path / "experiences.json"
    put(folder, 0, 40)
    for i, file in enumerate(sorted(folder.glob("*/*.png"))):
        file.rename(os.fsdecode(bytes(file.parent) + b"/\xff%d.png" % i))  # as a camera of another country might
    for round in (1, 2):  # the second reads the names that the first wrote down
        shard, tested = own(SCENARIO, 0, folder, book, round)
        assert len(shard.train) + len(tested) == 40 and len(tested)


def test_a_device_rehearses_what_it_met_before(tmp_path: Path) -> None:
    folder, book, memory, arrays = tmp_path / "digits", tmp_path / "experiences.json", {}, initial(0)
    put(folder, 0, 40)
    for round in (1, 2, 3):
        if round == 3:
            put(folder, 40, 80)
        shard, _ = own(SCENARIO, 0, folder, book, round)
        done, memory = learn(shard, Task(SCENARIO, round, 0, 0.05, arrays), memory, engine)
        arrays = done.arrays
    assert list(memory["replay"]) == [0, 1] and len(earlier_slots(memory, "replay", 1)[0]["y"])
    assert done.own_examples + done.rehearsed == len(
        shard.train
    )  # its new images, and all the old ones, which fit the memory


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no image to train on"):
        own(SCENARIO, 0, tmp_path, tmp_path / "experiences.json", 1)


def test_dark_ink_gives_the_same_digits_and_later_pictures_do_not_turn_it(tmp_path: Path) -> None:
    light, book = tmp_path / "light", tmp_path / "light.json"
    put(light, 0, 20)
    dark, other = tmp_path / "dark", tmp_path / "dark.json"
    put(dark, 0, 20, dark=True)
    one, again = own(SCENARIO, 0, light, book, 1), own(SCENARIO, 0, dark, other, 1)
    assert np.array_equal(one[0].train.x, again[0].train.x) and np.array_equal(one[1].x, again[1].x)
    assert json.loads(book.read_text())["dark"] is False and json.loads(other.read_text())["dark"] is True
    put(dark, 20, 80)  # three times as many, the other way round
    second, _, notes = survey(SCENARIO, 0, dark, other, 2)
    assert np.array_equal(second.train.take(second.stream.parts[0]).x, one[0].train.x)  # type: ignore[union-attr]
    assert notes[0].startswith("pictures drawn in light ink, where the folder's is dark: 60 of 80 (")


@pytest.mark.parametrize("ink", ["auto", "dark"])
def test_what_is_kept_here_is_light_ink_in_a_folder_of_dark_ink_too(tmp_path: Path, ink: str) -> None:
    """Corrections and what the reader keeps, whatever came first: the same digits as in a folder of light ink."""
    test = read("mnist")[1]

    def keep(folder: Path, start: int, stop: int) -> None:
        digits = [Digit((0, 0, 5, 5), "1", 0.5, False, test.x[i]) for i in range(start, stop)]
        reading.keep(digits, folder, [str(test.y[i]) for i in range(start, stop)])

    for name in ("dark", "light"):
        keep(tmp_path / name, 0, 30)
    scenario = replace(SCENARIO, ink=ink)
    for number, (start, stop) in enumerate([(0, 0), (0, 20), (20, 60)], 1):  # round 1: nothing but what was kept
        shards = []
        for name, dark in (("dark", True), ("light", False)):
            put(tmp_path / name, start, stop, dark)
            keep(tmp_path / name, 30, 30 + 10 * number)
            of = scenario if dark else replace(SCENARIO, ink="light")
            shard, held_out, notes = survey(of, 0, tmp_path / name, tmp_path / f"{name}.json", number)
            assert not any("the folder's is" in note for note in notes)
            shards.append((shard.train.x, held_out.x))
        assert np.array_equal(shards[0][0], shards[1][0]) and np.array_equal(shards[0][1], shards[1][1])


def test_the_scenario_may_say_what_the_ink_is(tmp_path: Path) -> None:
    put(tmp_path / "digits", 0, 20)
    auto, _ = own(SCENARIO, 0, tmp_path / "digits", tmp_path / "auto.json", 1)
    dark, _ = own(replace(SCENARIO, ink="dark"), 0, tmp_path / "digits", tmp_path / "dark.json", 1)
    assert np.array_equal(dark.train.x, 255 - auto.train.x)


def test_a_book_from_before_ink_was_judged_is_read(tmp_path: Path) -> None:
    folder, book = tmp_path / "digits", tmp_path / "experiences.json"
    put(folder, 0, 20)
    first, _ = own(SCENARIO, 0, folder, book, 1)
    old = json.loads(book.read_text())
    assert old.pop("dark") is False
    book.write_text(json.dumps(old))
    for round in (1, 2):
        again, _ = own(SCENARIO, 0, folder, book, round)
        assert np.array_equal(again.train.x, first.train.x) and json.loads(book.read_text())["dark"] is False


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"looked": "1"}', b'{"came": []}', b'{"looked": -1, "came": {}}',
     b'{"looked": 1, "came": {"../3/x.png": 1}}', b'{"looked": 1, "came": {"x.png": 1}}',
     b'{"looked": 1, "came": {"3/x.png": "1"}}',
     b'{"looked": 1, "came": {"3/x.png": -2000000}}', b'{"looked": 1, "came": {}, "dark": 1}', b'{"more": 1}',
     b'{"looked": 1, "looked": 2}', b'{"looked": 1e999}', b'{"looked": 1' + b"0" * 5000 + b"}"],
)  # fmt: skip
def test_a_garbled_book_is_one_sentence_that_says_what_to_do(text: bytes, tmp_path: Path) -> None:
    put(tmp_path / "digits", 0, 20)
    (book := tmp_path / "experiences.json").write_bytes(text)
    with pytest.raises(
        ValueError, match=r"experiences\.json cannot be read \(.*\); move it away, and all images count as new"
    ):
        own(SCENARIO, 0, tmp_path / "digits", book, 2)


def test_what_is_odd_or_left_out_is_said_once_in_the_nodes_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(logging.getLogger("flwr"), "warning", lambda form, *words: warnings.append(form % words))
    image_folder._warn.cache_clear()
    folder = tmp_path / "digits"
    put(folder, 0, 20)
    (folder / "10").mkdir()
    os.mkfifo(folder / "3" / "pipe.png")
    for round in (1, 2, 3):
        own(SCENARIO, 0, folder, tmp_path / "experiences.json", round)
    assert warnings == [
        "digits/3/pipe.png is not a readable PNG: it is not a plain file",
        "left out of digits, for they are no label folders 0 … 9: 1 (10)",
        "left out, for they are not readable PNGs: 1 (3/pipe.png)",
    ]


def test_only_labels_that_clients_are_taught_are_taken_and_the_others_are_said(tmp_path: Path) -> None:
    folder, book = tmp_path / "digits", tmp_path / "experiences.json"
    put(folder, 0, 60)
    few = replace(SCENARIO, digits=(1, 2, 3))
    shard, held_out, notes = survey(few, 0, folder, book, 1)
    labels = np.concatenate([shard.train.y, held_out.y])
    everything = sum(len(list((folder / str(label)).glob("*.png"))) for label in (1, 2, 3))
    assert set(labels) == {1, 2, 3} and len(labels) == everything
    assert f"{60 - everything} images of its folder are of other labels than digits = [1, 2, 3]: left out" in notes
    with pytest.raises(ValueError, match=r"no image to train on.*other labels than digits"):
        survey(replace(SCENARIO, digits=(1,)), 0, alone(folder), tmp_path / "other.json", 1)


def test_images_of_labels_that_nobody_is_taught_make_no_experience(tmp_path: Path) -> None:
    """Else the device would rest in a stage that holds nothing, for good."""
    folder, book = tmp_path / "digits", tmp_path / "experiences.json"
    put(folder, 0, 60)
    few = replace(SCENARIO, digits=(1, 2, 3))
    first, _ = own(few, 0, folder, book, 1)
    train, _ = read("mnist")
    seven = int(np.flatnonzero(train.y == 7)[-1])
    put(folder, seven, seven + 1)
    second, _ = own(few, 0, folder, book, 2)
    assert second.stream and second.stream.starts == (1,) and len(second.train) == len(first.train)


def alone(folder: Path) -> Path:
    """The folder without its ones."""
    for file in (folder / "1").glob("*.png"):
        file.unlink()
    return folder


@pytest.mark.parametrize("stream", [Part("domains", {"conditions": "invert+plain"}), Part("permuted", {"tasks": 3})])
def test_a_devices_own_images_are_taken_as_the_device_met_them(stream: Part, tmp_path: Path) -> None:
    folder, book = tmp_path / "digits", tmp_path / "experiences.json"
    put(folder, 0, 40)
    scenario = replace(SCENARIO, stream=stream)
    shard, _ = own(scenario, 0, folder, book, 1)
    assert met(scenario, shard, 1) == "plain"
    assert np.array_equal(_stage_examples(scenario, shard, shard.stream, 0).x, shard.train.x)  # type: ignore[arg-type]
