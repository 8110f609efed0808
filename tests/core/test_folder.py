"""A folder of digits: its ink is judged once for all, what is odd is named, what is left out is counted and named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from core import data
from core.config.scenario import Scenario
from core.data import folder as folders

OTHER = "pictures drawn in light ink, where the folder's is dark"


def digit(number: int) -> np.ndarray:
    """White ink on black paper, each a little different."""
    image = np.zeros((28, 28), np.uint8)
    image[6 : 10 + number % 12, 12:16] = 255
    return image


def folder(path: Path, dark: bool = False, count: int = 12) -> Path:
    """Twelve pictures of each of two labels."""
    for label in "37":
        (path / label).mkdir(parents=True)
        for number in range(count):
            image = 255 - digit(number) if dark else digit(number)
            assert cv2.imwrite(str(path / label / f"{number:03d}.png"), image)
    return path


def loaded(path: Path, **more: str) -> data.Data:
    return data.load(Scenario("own", data=str(path), validation=0, **more))  # type: ignore[arg-type]


def test_light_ink_is_taken_as_it_is_without_a_word(tmp_path: Path) -> None:
    found = loaded(folder(tmp_path / "digits"))
    assert np.array_equal(found.train.x[0], digit(0)) and found.notes == ()


def test_dark_ink_on_light_paper_is_the_same_digits(tmp_path: Path) -> None:
    light, dark = loaded(folder(tmp_path / "light")), loaded(folder(tmp_path / "digits", dark=True))
    assert np.array_equal(light.train.x, dark.train.x) and np.array_equal(light.test.x, dark.test.x)
    (note,) = dark.notes
    assert note == "digits: its ink is dark, its paper light (judged by the pictures' borders), so they were inverted"


def test_what_was_kept_here_is_light_ink_in_a_folder_of_dark_ink(tmp_path: Path) -> None:
    """By its name, the digest of its picture; a name that only looks like one is another's."""
    for name, dark in (("light", False), ("digits", True)):
        folder(tmp_path / name, dark)
        for number in range(40):  # more than all others
            image = digit(number)
            image[0, 3] = number
            cv2.imwrite(str(tmp_path / name / "3" / f"{folders.digest(image)}.png"), image)
            looks = 255 - image if dark else image
            cv2.imwrite(str(tmp_path / name / "7" / f"{folders.digest(image)}.png"), looks)
    one, other = loaded(tmp_path / "light"), loaded(tmp_path / "digits")
    assert np.array_equal(one.train.x, other.train.x) and np.array_equal(one.test.x, other.test.x)
    assert len(other.notes) == 1


def test_black_ink_on_nothing_is_the_same_digits(tmp_path: Path) -> None:
    light = loaded(folder(tmp_path / "light"))
    for file in folder(tmp_path / "digits").glob("*/*.png"):
        ink = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        assert ink is not None
        nothing = np.zeros_like(ink)
        cv2.imwrite(str(file), cv2.merge([nothing, nothing, nothing, ink]))
    assert np.array_equal(loaded(tmp_path / "digits").train.x, light.train.x)


def test_a_picture_the_other_way_round_is_named_and_does_not_change_its_folder(tmp_path: Path) -> None:
    path = folder(tmp_path / "digits", dark=True)
    for name in ("3/004", "7/001"):
        cv2.imwrite(str(path / f"{name}.png"), digit(4))
    found = loaded(path)
    assert found.notes[1] == "pictures drawn in light ink, where the folder's is dark: 2 of 24 (3/004.png, 7/001.png)"
    assert np.array_equal(found.train.x[4], 255 - digit(4)) and np.array_equal(found.train.x[3], digit(3))


@pytest.mark.parametrize("ink, first", [("dark", 255 - digit(0)), ("light", digit(0)), ("auto", digit(0))])
def test_who_knows_the_ink_may_say_so(ink: str, first: np.ndarray, tmp_path: Path) -> None:
    found = loaded(folder(tmp_path / "digits"), ink=ink)
    assert np.array_equal(found.train.x[0], first)
    assert [note.split(":")[0] for note in found.notes] == ([OTHER] if ink == "dark" else [])


def test_pictures_without_ink_are_named_the_first_three(tmp_path: Path) -> None:
    path = folder(tmp_path / "digits")
    for number in range(5):
        cv2.imwrite(str(path / "7" / f"{number:03d}.png"), np.full((28, 28), 200, np.uint8))
    (note,) = loaded(path).notes
    assert note == "pictures without any ink: 5 of 24 (7/000.png, 7/001.png, 7/002.png and 2 more)"


def test_what_is_left_out_is_counted_and_named(tmp_path: Path) -> None:
    path = folder(tmp_path / "digits")
    for name in ("10", "a", "5", ".cache"):
        (path / name).mkdir()
    for name in ("notes.txt", "3/photo.jpg", "3/big.PNG", "3/.DS_Store", "9"):
        (path / name).write_bytes(b"")
    assert loaded(path).notes == (
        "left out of digits, for they are no label folders 0 … 9: 4 (10, 9, a and 1 more)",
        "label folders of digits without any *.png: 1 (5)",
        "left out of digits, for they are not *.png: 2 (3/big.PNG, 3/photo.jpg)",
    )


def test_a_folder_without_digits_says_what_is_there_instead(tmp_path: Path) -> None:
    path = tmp_path / "digits"
    (path / "3").mkdir(parents=True)
    (path / "3" / "photo.jpg").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"folder 'digits' needs <label>/\*\.png .*for they are not \*\.png: 1 \(3/photo\.jpg"
    ):
        data.read(str(path))


def test_pictures_scaled_to_one_are_refused_and_so_is_an_npz(tmp_path: Path) -> None:
    for file in (path := folder(tmp_path / "digits")).glob("*/*.png"):
        cv2.imwrite(str(file), digit(0) // 255)
    with pytest.raises(ValueError, match="no value but 0 and 1: multiply them by 255"):
        data.read(str(path))
    x, y = np.stack([digit(0) // 255] * 6), np.arange(6)
    np.savez(tmp_path / "ones.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(ValueError, match=r"ones\.npz: images should be 0 … 255, not 0 … 1: multiply them by 255"):
        data.read(str(tmp_path / "ones.npz"))


def test_an_npz_is_taken_as_it_is(tmp_path: Path) -> None:
    x, y = np.stack([255 - digit(0)] * 6), np.arange(6)
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    found = loaded(tmp_path / "own.npz", ink="dark")
    assert np.array_equal(found.train.x, x) and found.notes == ()


def test_a_name_of_odd_letters_can_be_printed(tmp_path: Path) -> None:
    path = folder(tmp_path / "digits")
    (path / "3" / "\x1b[31m\udcff.jpg").write_bytes(b"")
    (note,) = loaded(path).notes
    assert note.endswith("(3/?[31m?.jpg)") and note.encode()


def test_an_unknown_ink_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="unknown ink 'blue'; choose from auto, dark, light"):
        Scenario("x", ink="blue")


def test_hidden_files_are_no_pictures(tmp_path: Path) -> None:
    """As macOS leaves them beside each file that it copies to a stick."""
    path = folder(tmp_path / "digits")
    before = loaded(path)
    (path / "3" / "._004.png").write_bytes(b"\0\5\26\7 of the Finder")
    (path / "9").mkdir()
    (path / "9" / "._0.png").write_bytes(b"\0\5\26\7")
    assert np.array_equal(loaded(path).train.x, before.train.x)
