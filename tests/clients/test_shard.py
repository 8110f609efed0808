"""A client's data follows from scenario and client alone, and all of it is somebody's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clients.sources import simulated as shards
from core.config.part import Part
from core.config.scenario import Scenario
from core.data import load, mnist
from core.views.looks import LOOKS


@pytest.fixture
def plain(tiny: Scenario) -> Scenario:
    return replace(tiny, looks=(), augment=())


def all_shards(scenario: Scenario) -> list[shards.Shard]:
    return [shards.shard(scenario.json(), client) for client in range(scenario.clients)]


def test_every_training_image_is_one_clients(plain: Scenario) -> None:
    given = sorted(image.tobytes() for one in all_shards(plain) for image in one.train.x)
    assert given == sorted(image.tobytes() for image in load(plain).train.x)


def test_an_image_keeps_its_label(plain: Scenario) -> None:
    data = load(plain).train
    labels = {image.tobytes(): label for image, label in zip(data.x, data.y.tolist(), strict=True)}
    for one in all_shards(plain):
        assert [labels[image.tobytes()] for image in one.train.x] == one.train.y.tolist()


def test_a_shard_is_the_same_in_every_process(tiny: Scenario) -> None:
    noisy = replace(tiny, noise=0.3)
    one = shards.shard(noisy.json(), 2), shards.own_test(noisy.json(), 2)
    shards.forget()
    shards.shard(noisy.json(), 0)
    again = shards.shard(noisy.json(), 2), shards.own_test(noisy.json(), 2)
    assert one[0].looks == again[0].looks and one[0].strength.tobytes() == again[0].strength.tobytes()
    for mine, other in ((one[0].train, again[0].train), (one[1], again[1])):
        assert mine.x.tobytes() == other.x.tobytes() and mine.y.tobytes() == other.y.tobytes()


def test_each_client_has_looks_of_its_own_within_their_range(tiny: Scenario) -> None:
    scenario = replace(tiny, looks=tuple(Part(name) for name in LOOKS))
    drawn = [one.looks for one in all_shards(scenario)]
    for name in LOOKS:
        settings = Part(name).settings("looks", LOOKS)
        assert all(settings["low"] <= looks[name] <= settings["high"] for looks in drawn)
        assert len({looks[name] for looks in drawn}) == scenario.clients


def test_a_look_is_in_training_and_test_alike(plain: Scenario) -> None:
    moved = replace(plain, looks=(Part("right", {"low": 3.0, "high": 3.0}),))
    before, after = (shards.shard(s.json(), 1).train.x for s in (plain, moved))
    assert np.array_equal(after[:, :, 3:], before[:, :, :-3])
    before, after = (shards.own_test(s.json(), 1).x for s in (plain, moved))
    assert np.array_equal(after[:, :, 3:], before[:, :, :-3])


def test_the_amount_that_is_told_is_the_amount_that_is_seen(plain: Scenario) -> None:
    scenario = replace(plain, looks=(Part("right", {"low": -6.0, "high": 6.0}),))
    amount = shards.shard(scenario.json(), 1).looks["right"]
    exact = replace(plain, looks=(Part("right", {"low": amount, "high": amount}),))
    seen, expected = (shards.shard(s.json(), 1).train.x for s in (scenario, exact))
    assert np.abs(seen.astype(int) - expected).max() <= 1


def test_noise_is_exact_in_every_shard_and_spares_the_test(plain: Scenario) -> None:
    noisy = replace(plain, noise=0.25)
    for clean, spoiled in zip(all_shards(plain), all_shards(noisy), strict=True):
        assert np.array_equal(clean.train.x, spoiled.train.x)
        assert int((clean.train.y != spoiled.train.y).sum()) == round(0.25 * len(clean.train))
    for client in range(plain.clients):
        assert np.array_equal(shards.own_test(plain.json(), client).y, shards.own_test(noisy.json(), client).y)


def test_a_clients_own_test_has_its_mix_of_labels(plain: Scenario) -> None:
    scenario = replace(plain, partition=Part("labels", {"k": 3}))
    for one in all_shards(scenario):
        own = shards.own_test(scenario.json(), one.client)
        assert set(own.y.tolist()) == set(one.train.y.tolist())
        share = np.bincount(one.train.y, minlength=10) / len(one.train)
        there = np.bincount(load(scenario).test.y, minlength=10)
        wanted = np.minimum(np.ceil(share * 150), there)  # as its mix asks, or all there are
        assert np.bincount(own.y, minlength=10) == pytest.approx(wanted, abs=1)


def test_strengths_are_one_an_augmentation(tiny: Scenario) -> None:
    strengths = np.stack([one.strength for one in all_shards(tiny)])
    assert strengths.shape == (4, 2) and len(np.unique(strengths)) == 8


def test_a_data_set_that_lies_elsewhere_gives_the_same_shard(plain: Scenario, tmp_path: Path) -> None:
    there = tmp_path / "digits.npz"
    there.symlink_to(mnist.FILE)
    known = replace(plain, data="mnist").json()
    usual, other = (shards.shard(known, 1, files) for files in (None, there))
    assert other is not usual and np.array_equal(other.train.x, usual.train.x)
    with pytest.raises(ValueError, match="nowhere"):
        shards.shard(known, 1, tmp_path / "nowhere.npz")
