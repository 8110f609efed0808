"""Corrections wait, and nothing of them is believed unchecked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data import corrections
from core.data.corrections import Correction, correction
from core.data.folder import left_out
from core.data.pictures import picture
from core.seeds import rng

POINT = [0.25, 0.5, 12.5, 0.7]
GOOD: dict[str, Any] = {
    "image": [0] * 300 + [255, 128] + [0] * 482,
    "label": 9, "read": 7, "confidence": 0.61, "version": 3, "strokes": [[POINT, POINT], [POINT]],
}  # fmt: skip


def some_correction(number: int, label: int = 4) -> Correction:
    """Some image or other."""
    image = rng(number, "correction").integers(0, 256, (28, 28)).astype(np.uint8)
    return Correction(image, label, 1, 0.5, 2, (((0.1, 0.2, 0.0, 0.5),),))


def test_it_waits_and_is_read_as_it_came(tmp_path: Path) -> None:
    one = correction(GOOD, 10)
    file = corrections.put(tmp_path, one)
    again = corrections.read(file, 10)
    assert file.parent == tmp_path / "pending" and corrections.waiting(tmp_path) == [file]
    assert np.array_equal(again.image, np.array(GOOD["image"], np.uint8).reshape(28, 28))
    assert (again.label, again.read, again.confidence, again.version) == (9, 7, 0.61, 3)
    assert again.strokes == ((tuple(POINT), tuple(POINT)), (tuple(POINT),))


def test_nothing_that_waits_is_anybodys_data(tmp_path: Path) -> None:
    from core.data import folder

    corrections.put(tmp_path, some_correction(0))
    assert folder.pictures(tmp_path, 10) == [] and left_out(tmp_path, 10) == ()


def test_the_same_image_again_takes_the_first_ones_place(tmp_path: Path) -> None:
    corrections.put(tmp_path, some_correction(0, 4))
    file = corrections.put(tmp_path, some_correction(0, 5))
    assert corrections.waiting(tmp_path) == [file] and corrections.read(file, 10).label == 5


def test_no_more_wait_than_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "MOST", 3)
    for number in range(3):
        corrections.put(tmp_path, some_correction(number))
    with pytest.raises(corrections.Full, match="3 corrections wait already"):
        corrections.put(tmp_path, some_correction(3))
    corrections.put(tmp_path, some_correction(2, 8))  # one that waits may be corrected again
    corrections.refuse(corrections.waiting(tmp_path)[0])
    corrections.put(tmp_path, some_correction(3))


def test_approved_it_is_training_data_with_its_strokes_beside(tmp_path: Path) -> None:
    file = corrections.put(tmp_path, one := some_correction(0))
    approved = corrections.approve(file, corrections.read(file, 10), 6)
    assert approved == tmp_path / "6" / f"{one.name}.png" and np.array_equal(picture(approved, 28), one.image)
    assert json.loads((tmp_path / "strokes" / f"6-{one.name}.json").read_text()) == [[[0.1, 0.2, 0.0, 0.5]]]
    assert corrections.waiting(tmp_path) == [] and not list((tmp_path / "pending").iterdir())


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_is_stopped_in_the_middle_waits_on(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = corrections.put(tmp_path, some_correction(0))

    def stop(approved: Path) -> None:
        raise error

    one = corrections.read(file, 10)
    with monkeypatch.context() as patch:
        patch.setattr(corrections, "named_anew", stop)
        with pytest.raises(error):
            corrections.approve(file, one, 4)
    assert corrections.waiting(tmp_path) == [file] and corrections.read(file, 10).label == 4
    file.with_suffix(".json").rename(file.with_suffix(".approved"))  # the power went
    corrections.resumed(tmp_path)  # somebody may be at it
    with pytest.raises(ValueError, match="has no"):
        corrections.read(file, 10)
    monkeypatch.setattr(corrections, "CLAIM", -1.0)
    corrections.resumed(tmp_path)
    assert corrections.approve(file, corrections.read(file, 10), 4).exists() and not corrections.waiting(tmp_path)


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("image", [0] * 784, "no ink"),
        ("image", [0] * 783, "784 whole numbers"),
        ("image", [0.5] * 784, "784 whole numbers"),
        ("image", [256] * 784, "784 whole numbers"),
        ("image", [True] * 784, "784 whole numbers"),
        ("image", "AAAA", "784 whole numbers"),
        ("label", 10, "label = 10 should be a class's number, 0 … 9"),
        ("label", "../../x", "should be a class's number"),
        ("label", True, "should be a class's number"),
        ("read", -1, "read = -1"),
        ("confidence", float("nan"), "confidence = nan"),
        ("confidence", 1.01, "confidence = 1.01"),
        ("confidence", 10**400, "confidence = 1000"),
        ("version", 1e9, "version"),
        ("strokes", [[]], "lists of points"),
        ("strokes", [[[0, 0, 0]]], "is no point"),
        ("strokes", [[[0, 0, float("inf"), 0]]], "is no point"),
        ("strokes", [[POINT] * 5001, [POINT] * 5000], "10,001 points"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(key: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        correction(GOOD | {key: value}, 10)


def test_no_field_may_lack_and_none_be_added() -> None:
    with pytest.raises(ValueError, match="not so: 'label'"):
        correction({key: value for key, value in GOOD.items() if key != "label"}, 10)
    with pytest.raises(ValueError, match="not so: 'folder'"):
        correction(GOOD | {"folder": "/etc"}, 10)


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.integers(-1, 11) | st.text(), st.lists)


@given(st.sampled_from(sorted(GOOD)), JSON)
def test_whatever_comes_is_taken_whole_or_refused(key: str, value: Any) -> None:
    try:
        one = correction(GOOD | {key: value}, 10)
    except ValueError:
        return
    assert one.label in range(10) and 0 <= one.confidence <= 1 and one.image.shape == (28, 28)


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"{}", b'{"label": 3}', json.dumps(GOOD | {"label": 77}).encode()]
)
def test_a_file_that_was_damaged_while_it_waited_is_named(tmp_path: Path, damage: bytes) -> None:
    file = corrections.put(tmp_path, some_correction(0))
    file.with_suffix(".json").write_bytes(damage)
    with pytest.raises(ValueError, match=file.stem):
        corrections.read(file, 10)
    file.write_bytes(damage)
    with pytest.raises(ValueError, match=file.stem):
        corrections.read(file, 10)
