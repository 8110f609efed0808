"""What is read is what was meant: MNIST by its digest, a user's npz or folder, and nothing damaged or pickled."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from core import data
from core.config.scenario import Scenario
from core.data import Examples
from tests.damage import spoiled


@pytest.fixture(scope="module")
def mnist() -> tuple[Examples, Examples]:
    return data.read("mnist")


@pytest.fixture
def own() -> dict[str, np.ndarray]:
    """A user's four arrays, as Fashion-MNIST has them: 30 and 12 images, labels uint8."""
    generator = np.random.default_rng(0)
    images = {f"x_{part}": generator.integers(0, 256, (n, 28, 28), np.uint8) for part, n in SIZES}
    return images | {f"y_{part}": (np.arange(n) % 10).astype(np.uint8) for part, n in SIZES}


SIZES = (("train", 30), ("test", 12))
NPZ = "is not an npz with x_train, y_train, x_test, y_test"


def test_whatever_is_wrong_with_an_npz_is_one_sentence_that_names_it(
    own: dict[str, np.ndarray], tmp_path: Path
) -> None:
    whole = saved(tmp_path / "own.npz", own).read_bytes()
    for kind, octets in spoiled(whole).items():
        (tmp_path / "own.npz").write_bytes(octets)
        with pytest.raises(ValueError, match=r"own\.npz") as caught:
            data.read(str(tmp_path / "own.npz"))
        assert kind == "numbers for JSON" or f"'own.npz' {NPZ}: " in str(caught.value), kind


def saved(path: Path, arrays: dict[str, Any]) -> Path:
    np.savez(path, **arrays)
    return path


def test_mnist_has_its_published_shape(mnist: tuple[Examples, Examples]) -> None:
    for examples, n in zip(mnist, (60_000, 10_000), strict=True):
        assert examples.x.shape == (n, 28, 28) and examples.x.dtype == np.uint8
        assert examples.y.shape == (n,) and examples.y.dtype == np.int64
    assert mnist[0].y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]  # the first digits of the published file


@pytest.mark.parametrize("name", ["x_train", "y_test"])
def test_mnist_with_one_changed_value_is_refused(
    mnist: tuple[Examples, Examples], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = mnist
    arrays = {"x_train": train.x, "y_train": train.y, "x_test": test.x, "y_test": test.y}
    arrays[name] = arrays[name].copy()
    arrays[name].flat[1234] ^= 1
    monkeypatch.setattr(data.mnist, "FILE", saved(tmp_path / "mnist.npz", arrays))
    with pytest.raises(
        ValueError, match=rf"mnist\.npz is damaged: {name} has MD5 [0-9a-f]{{32}}.*{data.mnist.MD5[name]}"
    ):
        data.read("mnist")


def test_mnist_cut_short_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mnist.npz").write_bytes(data.mnist.FILE.read_bytes()[:100_000])
    monkeypatch.setattr(data.mnist, "FILE", tmp_path / "mnist.npz")
    with pytest.raises(ValueError, match=r"mnist\.npz"):
        data.read("mnist")


def test_idx_bytes_are_magic_number_sizes_and_values() -> None:
    assert b"".join(data.idx.parts(np.array([[1, 2, 3]], np.uint8))) == bytes(
        [0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3]
    )


def test_an_npz_of_a_user_is_read(own: dict[str, np.ndarray], tmp_path: Path) -> None:
    train, test = data.read(str(saved(tmp_path / "own.npz", own)))
    assert np.array_equal(train.x, own["x_train"]) and np.array_equal(test.y, own["y_test"])
    assert train.y.dtype == test.y.dtype == np.int64


def test_images_with_a_channel_and_labels_in_a_column_are_the_same_examples(
    own: dict[str, np.ndarray], tmp_path: Path
) -> None:
    shaped = {name: array[..., None] for name, array in own.items()}
    for one, other in zip(data.read(str(saved(tmp_path / "a.npz", own))),
                          data.read(str(saved(tmp_path / "b.npz", shaped))), strict=True):  # fmt: skip
        assert np.array_equal(one.x, other.x) and np.array_equal(one.y, other.y) and other.y.shape == (len(other),)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"x_train": np.zeros((30, 28, 28), np.float32)}, "float32"),
        ({"x_train": np.zeros((30, 27, 28), np.uint8)}, "[30, 27, 28]"),
        ({"x_train": np.zeros((29, 28, 28), np.uint8)}, "29 images, but 30 labels"),
        ({"x_train": np.zeros((30, 784), np.uint8)}, "[30, 784]"),
        ({"x_train": np.zeros((0, 28, 28), np.uint8), "y_train": np.zeros(0, np.uint8)}, "[0, 28, 28]"),
        ({"y_train": np.full(30, 1000)}, "labels should be 0 … 999, not"),
        ({"y_train": np.full(30, -1)}, "-1"),
        ({"y_train": np.full((30, 10), 1)}, "labels"),
        ({"y_train": np.full(30, 1.5)}, "labels"),
        ({"y_train": np.array(3)}, "[30, 28, 28]"),
        ({"x_train": np.array(3, np.uint8)}, "uint8 []"),
        ({"y_train": np.full(30, 2**64 - 1, np.uint64)}, "-1"),
    ],
)
def test_an_npz_of_the_wrong_kind_is_refused_by_name(
    own: dict[str, np.ndarray], change: dict[str, np.ndarray], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        data.read(str(saved(tmp_path / "own.npz", own | change)))
    assert "own.npz" in str(caught.value)


def test_an_npz_without_an_array_names_the_file_and_what_it_needs(own: dict[str, np.ndarray], tmp_path: Path) -> None:
    own.pop("y_test")
    with pytest.raises(ValueError, match=r"'own\.npz' is not an npz with x_train, y_train, x_test, y_test"):
        data.read(str(saved(tmp_path / "own.npz", own)))


class Trap:
    """Unpickled, it leaves a file."""

    path = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


def test_nothing_is_unpickled(own: dict[str, np.ndarray], tmp_path: Path) -> None:
    Trap.path = str(tmp_path / "sprung")
    own["y_train"] = np.array([Trap()] * 30, object)
    with pytest.raises(ValueError, match=r"own\.npz"):
        data.read(str(saved(tmp_path / "own.npz", own)))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 not a zip either"])
def test_a_file_that_is_no_npz_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "odd.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"odd\.npz"):
        data.read(str(tmp_path / "odd.npz"))


def test_an_npz_may_hold_more_than_is_read(own: dict[str, np.ndarray], tmp_path: Path) -> None:
    train, _ = data.read(str(saved(tmp_path / "own.npz", own | {"names": np.array(["T-shirt", "trouser"])})))
    assert np.array_equal(train.x, own["x_train"])


def test_a_source_that_no_system_can_have_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"data = 'nnn.*' cannot be read: File name too long"):
        data.read("n" * 5_000)


def test_a_source_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match=r"'no/such\.npz' is neither 'mnist', 'fashion' nor an .npz file nor a folder"):
        data.read("no/such.npz")


def drawn(folder: Path, label: int, count: int, side: int = 28) -> None:
    """`count` images of one label: each wholly as grey as its number."""
    (folder / str(label)).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        cv2.imwrite(str(folder / str(label) / f"{number:03d}.png"), np.full((side, side), number, np.uint8))


def test_a_folder_of_images_is_read_and_every_sixth_of_a_label_is_for_the_test(tmp_path: Path) -> None:
    drawn(tmp_path, 3, 12)
    drawn(tmp_path, 7, 7, side=56)
    train, test = data.read(str(tmp_path))
    assert train.y.tolist() == [3] * 10 + [7] * 6 and test.y.tolist() == [3, 3, 7]
    assert test.x[:, 0, 0].tolist() == [5, 11, 5]
    assert all((image == image[0, 0]).all() for image in train.x)
    assert train.x[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 0, 1, 2, 3, 4, 6]


def test_a_folder_with_an_unreadable_image_names_it(tmp_path: Path) -> None:
    drawn(tmp_path, 3, 6)
    (tmp_path / "3" / "004.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"3/004\.png is not a readable PNG"):
        data.read(str(tmp_path))


def test_a_folder_with_too_few_images_is_refused_by_name(tmp_path: Path) -> None:
    drawn(tmp_path, 3, 5)
    with pytest.raises(ValueError, match=rf"folder '{tmp_path.name}' needs"):
        data.read(str(tmp_path))


def test_held_out_images_are_training_images_and_no_image_is_twice(own: dict[str, np.ndarray], tmp_path: Path) -> None:
    own["x_train"][:, 0, 0] = np.arange(30)
    scenario = Scenario("own", data=str(saved(tmp_path / "own.npz", own)), validation=9)
    loaded = data.load(scenario)
    kept, held_out = loaded.train.x[:, 0, 0].tolist(), loaded.validation.x[:, 0, 0].tolist()
    assert len(held_out) == 9 and sorted(kept + held_out) == list(range(30)) and kept == sorted(kept)
    assert np.array_equal(loaded.test.x, own["x_test"])


def test_a_smaller_set_is_drawn_by_address(tiny: Scenario) -> None:
    one, again = data.load(tiny), data.load(replace(tiny, clients=9, rounds=7))
    other = data.load(replace(tiny, seed=1))
    assert len(one.train) == 500 and len(one.validation) == 100 and len(one.test) == 150
    assert all(np.array_equal(getattr(one, part).x, getattr(again, part).x) for part in ("train", "validation", "test"))
    assert not np.array_equal(one.train.x, other.train.x) and not np.array_equal(one.test.x, other.test.x)


@pytest.mark.parametrize(
    "change, words",
    [({"train": 801}, "train = 801 is more than the 800"), ({"test": 201}, "test = 201 is more than the 200"),
     ({"train": 100}, "validation = 100 leaves nothing of 100")],
)  # fmt: skip
def test_more_than_there_is_is_refused(tiny: Scenario, change: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        data.load(replace(tiny, **change))  # type: ignore[arg-type]


def test_examples_are_taken_and_joined_in_order() -> None:
    some = Examples(np.arange(4 * 784, dtype=np.uint8).reshape(4, 28, 28), np.arange(4))
    taken = some.take(np.array([2, 0, 2]))
    assert taken.y.tolist() == [2, 0, 2] and np.array_equal(taken.x[0], some.x[2])
    joined = Examples.join([taken, some])
    assert joined.y.tolist() == [2, 0, 2, 0, 1, 2, 3] and len(joined) == 7
    assert np.array_equal(joined.x, np.concatenate([taken.x, some.x]))


def test_a_nodes_own_file_is_read_whatever_the_servers_is_called(own: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", **own)  # type: ignore[arg-type]
    elsewhere = Scenario("device", data=str(tmp_path / "on-the-server.npz"), classes=10, validation=0)
    assert len(data.load(elsewhere, tmp_path / "mine.npz").train) == len(own["y_train"])
    with pytest.raises(ValueError, match=r"gone\.npz"):
        data.load(elsewhere, tmp_path / "gone.npz")
