"""CCVR: sums that do not care who sent them, a last layer that is calibrated, everything else as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from clients.learner import learn
from clients.sources.simulated import Shard
from core.arrays import Arrays
from core.config.part import Part
from core.config.scenario import Local, Model, Scenario
from core.data import Examples, read
from core.methods.base import Chain, Finetune, Payloads, Received, Request, Shared
from fl import strategies, wire
from fl.messages import Task
from fl.strategies.ccvr import Virtual, calibrated, gaussian, sums
from scenarios import check
from server import rounds
from server.checkpoint import RunState, newest
from server.trust import received
from tests.fakes import FakeGrid, federate, honest, play, same
from tests.models import initial, tensorflow

ROUNDS = 4
BASE = Scenario(
    "calibration", clients=2, cohort=2, rounds=ROUNDS, model=Model("mlp"), local=Local(batch=16),
    strategy=Part("ccvr", {"last": 2}),
)  # fmt: skip
VIRTUAL = Virtual(samples=500, epochs=20, rate=2.0, seed=0)
engine, WEIGHTS = tensorflow("mlp"), initial(5, "mlp")


@pytest.fixture(scope="module")
def digits() -> Examples:
    return read("mnist")[0].take(np.arange(120))


def shard(examples: Examples, client: int = 0) -> Shard:
    return Shard(client, examples, np.zeros(0, np.float32), {})


def uploaded(examples: Examples, round: int = ROUNDS, payloads: Payloads | None = None) -> Arrays:
    """What a client that has these images sends for its sums; nothing, if it sends none."""
    task = Task(BASE, round, 0, 0.05, WEIGHTS, payloads or {})
    return list(learn(shard(examples), task, {}, engine)[0].payloads.get("ccvr", []))


def believed(examples: Examples, round: int = ROUNDS, shared: Shared | None = None, **fields: Any) -> Received:
    update, _ = learn(shard(examples), Task(BASE, round, 0, 0.05, WEIGHTS), {}, engine)
    return replace(received(update, Request(BASE, round, 0.05, WEIGHTS, shared or {})), **fields)


def method(scenario: Scenario = BASE) -> Finetune:
    (half,) = strategies.build(scenario).client()
    return half


# ── sums ──


def test_sums_of_one_sided_clients_are_those_of_all_data_in_one_place(digits: Examples) -> None:
    """One has all small digits, one all large ones, and they share the fives."""
    small = (digits.y < 5) | ((digits.y == 5) & (np.arange(len(digits)) % 3 == 0))
    parts = [uploaded(digits.take(np.flatnonzero(mine)))[0].astype(np.float64) for mine in (small, ~small)]
    (whole,) = uploaded(digits)
    assert np.allclose(sum(parts), whole, rtol=1e-5, atol=1e-4)  # float32
    hidden = np.maximum(engine.features(WEIGHTS, digits.x).astype(np.float64) @ WEIGHTS[-4] + WEIGHTS[-3], 0)
    assert whole[:, -1].tolist() == np.bincount(digits.y, minlength=10).tolist()
    for c in range(10):
        mean, covariance = gaussian(sum(parts)[c])
        assert mean == pytest.approx(hidden[digits.y == c].mean(0), abs=1e-5)
        assert np.allclose(covariance, np.cov(hidden[digits.y == c].T), atol=1e-5)


def test_they_give_the_papers_global_mean_and_covariance() -> None:
    """Its equations 3 and 4 make them of each client's count, mean and covariance."""
    generator = np.random.default_rng(0)
    clients = [generator.normal(i, 1 + i, (n, 5)) for i, n in enumerate((3, 8, 20))]
    n = np.array([len(x) for x in clients])
    means, spreads = [x.mean(0) for x in clients], [np.cov(x.T) for x in clients]
    mean = sum(k * m for k, m in zip(n, means, strict=True)) / n.sum()
    inside = sum((k - 1) * s for k, s in zip(n, spreads, strict=True)) / (n.sum() - 1)
    between = sum(k * np.outer(m, m) for k, m in zip(n, means, strict=True)) / (n.sum() - 1)
    covariance = inside + between - n.sum() / (n.sum() - 1) * np.outer(mean, mean)
    found = gaussian(sum(sums(x, np.zeros(len(x), int), 1) for x in clients)[0])
    assert found[0] == pytest.approx(mean) and found[1] == pytest.approx(covariance)


def test_one_image_of_a_class_has_a_mean_and_no_spread() -> None:
    mean, covariance = gaussian(sums(np.array([[1.0, 2, 3]]), np.array([0]), 1)[0])
    assert mean.tolist() == [1, 2, 3] and np.abs(covariance).max() == 0


# ── who sends, and when ──


def test_a_client_sends_in_the_last_rounds_until_it_counted(digits: Examples) -> None:
    assert [len(uploaded(digits, round)) for round in range(1, ROUNDS + 1)] == [0, 0, 1, 1]
    half, shared = method(), dict[str, np.ndarray]()
    assert half.download(shared, 0) == {}
    good = half.accept({"ccvr": uploaded(digits, 3)}, believed(digits, 3))
    kept, arrays = half.server_update(shared, {0: good}, WEIGHTS)
    assert same(arrays, WEIGHTS)  # until the last round is over
    assert uploaded(digits, 4, half.download(kept, 0)) == [] and half.download(kept, 1) == {}
    twice, _ = half.server_update(kept, {0: good}, WEIGHTS)
    assert np.array_equal(twice["ccvr/sums"], kept["ccvr/sums"])


def test_a_run_that_goes_on_asks_for_sums_of_its_own_model(digits: Examples) -> None:
    half, later = method(), method(replace(BASE, past=1))
    good = half.accept({"ccvr": uploaded(digits)}, believed(digits))
    kept, _ = half.server_update({}, {0: good}, WEIGHTS)
    assert later.download(kept, 0) == {} and same(later.server_finish(kept, WEIGHTS), WEIGHTS)
    again, _ = later.server_update(kept, {0: good, 1: good}, WEIGHTS)
    assert np.allclose(again["ccvr/sums"], 2 * kept["ccvr/sums"]) and later.download(again, 0)


@pytest.mark.parametrize(
    "clients, cohort, rounds, last, first",
    [(10, 5, 40, 0, 39), (10, 5, 10, 0, 9), (10, 10, 1, 0, 2), (10, 5, 10, 9, 2), (1000, 10, 40, 0, 31)],
)
def test_how_many_rounds_are_the_last(clients: int, cohort: int, rounds: int, last: int, first: int) -> None:
    scenario = Scenario("x", clients=clients, cohort=cohort, rounds=rounds, strategy=Part("ccvr", {"last": last}))
    assert method(scenario).first == first  # type: ignore[attr-defined]


# ── what the server believes ──


def changed(array: np.ndarray, at: Any, value: float) -> Arrays:
    other = array.copy()
    other[at] = value
    return [other]


def test_an_honest_clients_sums_are_taken_to_the_bit(digits: Examples) -> None:
    for examples in (digits, digits.take(np.arange(1))):
        own = uploaded(examples)
        assert same(list(method().accept({"ccvr": own}, believed(examples))["ccvr"][:1]), own)
    assert method().accept({}, believed(digits)) == {}


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda a: changed(a, (0, -1), a[0, -1] + 1), "are of 121 images, not of 120"),
        (lambda a: changed(changed(a, (0, -1), -1)[0], (1, -1), a[1, -1] + a[0, -1] + 1), "not of -1 images"),
        (lambda a: changed(changed(a, (0, -1), a[0, -1] - 0.5)[0], (1, -1), a[1, -1] + 0.5), "each of one class"),
        (lambda a: changed(a, (3, 0), 1e9), "features that no image has"),
        (lambda a: changed(a, (3, -2), -1.0), "features that no image has"),
        (lambda a: changed(a, (3, 1), 1e3), "not those of any features"),
        (lambda a: changed(a, (3, 0), -1e3), "not those of any features"),
        (lambda a: [a[::-1]], "features|image"),
    ],
)  # fmt: skip
def test_sums_that_no_images_have_are_refused(digits: Examples, change: Any, words: str) -> None:
    mine = digits.take(np.flatnonzero(digits.y < 4)) if words == "features|image" else digits
    (own,) = uploaded(mine)
    made = change(own)
    if words == "features|image":
        made[0][0, -2] = 1e6  # of a class of which it has none
    with pytest.raises(ValueError, match=words):
        method().accept({"ccvr": made}, believed(mine))


def test_sums_that_nobody_asked_for_yet_are_refused(digits: Examples) -> None:
    with pytest.raises(ValueError, match="in round 2, before round 3"):
        method().accept({"ccvr": uploaded(digits)}, believed(digits, 2))


def test_on_devices_they_weigh_as_one_client_may(digits: Examples) -> None:
    (own,) = uploaded(digits)
    cut, _ = method().accept({"ccvr": [own]}, believed(digits, max_examples=30.0))["ccvr"]
    assert np.allclose(cut, own / 4)
    assert method().accept({"ccvr": [own]}, believed(digits, max_examples=0.0)) == {}


def test_no_image_has_a_larger_unit_than_the_largest(digits: Examples) -> None:
    odd = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (200, 28, 28))
    for weights in (WEIGHTS, [5 * w for w in WEIGHTS]):
        features = engine.features(weights, np.concatenate([digits.x, odd]))
        hidden = np.maximum(features @ weights[-4] + weights[-3], 0)
        assert (hidden <= method().model.largest_hidden(weights) * 1.001).all()


# ── the last layer ──


def clusters(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of three classes: two of them near each other, one with another spread; as from a ReLU."""
    generator = np.random.default_rng(seed)
    means = np.array([[2.0, 0, 1, 3, 0, 1], [2, 1, 0, 3, 1, 0], [0, 3, 3, 0, 2, 2]])
    labels = np.repeat(np.arange(3), n)
    return np.maximum(means[labels] + generator.normal(0, 0.5, (3 * n, 6)) * (1 + labels[:, None] / 2), 0), labels


def accuracy(layer: Arrays, x: np.ndarray, y: np.ndarray) -> float:
    return float(((x @ layer[0] + layer[1]).argmax(1) == y).mean())


def biased() -> Arrays:
    """A layer that would be right, but for class 0, which it always prefers."""
    x, y = clusters(100, 1)
    means = np.stack([x[y == c].mean(0) for c in range(3)], 1)
    return [means.astype(np.float32), (np.array([20.0, 0, 0]) - 0.5 * (means**2).sum(0)).astype(np.float32)]


def test_a_biased_layer_is_calibrated() -> None:
    layer, (x, y) = biased(), clusters(300, 2)
    after = calibrated(*layer, sums(*clusters(300, 0), 3), VIRTUAL)
    assert accuracy(layer, x, y) < 0.5 and accuracy(after, x, y) > 0.9
    assert [w.dtype for w in after] == [np.float32] * 2
    assert same(after, calibrated(*layer, sums(*clusters(300, 0), 3), VIRTUAL))
    assert not same(after, calibrated(*layer, sums(*clusters(300, 0), 3), replace(VIRTUAL, seed=1)))


def test_a_class_counts_as_much_however_rare_it_is() -> None:
    x, y = clusters(300, 0)
    few = np.flatnonzero((y != 1) | (np.arange(len(y)) % 20 == 0))  # 15 of class 1
    after = calibrated(*biased(), sums(x[few], y[few], 3), VIRTUAL)
    test, labels = clusters(300, 2)
    assert min(accuracy(after, test[labels == c], labels[labels == c]) for c in range(3)) > 0.8


@pytest.mark.parametrize("scale", [0.3, 1.0, 1e3])
def test_its_step_does_not_depend_on_how_large_features_are(scale: float) -> None:
    x, y = clusters(300, 0)
    zeros = [np.zeros((6, 3), np.float32), np.zeros(3, np.float32)]
    after = calibrated(*zeros, sums(scale * x, y, 3), VIRTUAL)
    test, labels = clusters(300, 2)
    assert accuracy(after, scale * test, labels) > 0.9


def test_a_class_of_which_nobody_sent_anything_stays_as_it_is() -> None:
    x, y = clusters(100, 0)
    layer = biased()
    after = calibrated(*layer, sums(x[y != 1], y[y != 1], 3), VIRTUAL)
    for before, now in zip(layer, after, strict=True):
        assert np.array_equal(before[..., 1], now[..., 1]) and not np.array_equal(before[..., 2], now[..., 2])


# ── whole runs ──


@pytest.fixture(scope="module")
def runs(tiny: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, RunState]:
    """What runs of four rounds end with, and one of two rounds at the same constant rate. Four clients, three a round."""
    found, folder = {}, tmp_path_factory.mktemp("runs")
    base = replace(tiny, partition=Part("labels", {"k": 4}), schedule=Part("constant"))
    for name, part, count in (
        ("fedavg", Part("fedavg"), 2), ("ccvr", Part("ccvr", {"last": 2}), 4), ("still", Part("ccvr", {"last": 2, "rate": 0.0}), 4),
    ):  # fmt: skip
        federate(replace(base, strategy=part, rounds=count), folder / name)
        state, _ = newest(folder / name)
        assert state
        found[name] = state
    return found


def test_all_but_the_last_layer_are_fedavgs_of_the_rounds_before(runs: Mapping[str, RunState]) -> None:
    plain, made = runs["fedavg"].arrays, runs["ccvr"].arrays
    assert same(made[:-2], plain[:-2])
    assert not np.array_equal(made[-2], plain[-2]) and not np.array_equal(made[-1], plain[-1])


def test_with_rate_0_it_is_fedavg_of_the_rounds_before(runs: Mapping[str, RunState]) -> None:
    assert same(runs["still"].arrays, runs["fedavg"].arrays) and "ccvr/sums" in runs["still"].shared


def test_nobody_trains_in_the_last_rounds_and_each_client_counts_once(runs: Mapping[str, RunState]) -> None:
    state = runs["ccvr"]
    assert [len(row.idle) for row in state.history[-4:]] == [0, 0, 3, 3]
    clients, total = state.shared["ccvr/counted"][:, 0].tolist(), state.shared["ccvr/sums"]
    assert len(set(clients)) == len(clients) >= 3 and (total[:, -1].sum() == 600) == (len(clients) == 4)


@pytest.mark.parametrize(
    "pieces",
    [
        {"strategy": Part("ccvr", {"last": 2})},
        {"methods": (Part("acil", {"warm": 2}),)},
        {"methods": (Part("slda", {"warm": 2}),)},
    ],
)
def test_who_sends_weights_in_a_round_in_which_nobody_trains_is_refused(pieces: dict[str, Any]) -> None:
    """Honest clients send none then: one that does would have the whole mean to itself."""
    trainers = dict.fromkeys(range(4), lambda task: wire.reply(honest(task)))
    done = play(FakeGrid(trainers), Scenario("late", clients=4, cohort=4, rounds=4, **pieces))
    assert [same(a.arrays, b.arrays) for a, b in pairwise(done)] == [False, True, True]
    for one in done:
        assert len(one.record.failed) == (0 if one.record.round <= 2 else 4)
    assert "in which nobody trains" in done[2].record.failed[1]


class Finishing(Finetune):
    """A method that makes this of the last weights."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def server_finish(self, shared: Shared, arrays: Arrays) -> Arrays:
        return list(self.made(arrays))


def failing(arrays: Arrays) -> Arrays:
    raise ArithmeticError("no sums")


@pytest.mark.parametrize(
    "made, words",
    [
        (lambda arrays: [w * np.float32("nan") for w in arrays], "is NaN or infinite; they were kept"),
        (failing, "nothing was made of the weights after the last round: no sums"),
        (lambda arrays: [arrays[0], np.float32(1e6) * arrays[1]], "it was cut to 3"),
    ],
)
def test_what_a_method_makes_of_the_last_weights_is_bounded(
    made: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = Scenario("last", clients=3, cohort=3, rounds=2)
    plain = play(FakeGrid(), scenario)
    monkeypatch.setattr(rounds.strategies, "chain", lambda scenario: Chain([Finishing(made)]))
    done = play(FakeGrid(), scenario)
    assert same(done[0].arrays, plain[0].arrays) and not done[0].record.server_error
    assert words in done[1].record.server_error and all(np.isfinite(w).all() for w in done[1].arrays)
    assert same(done[1].arrays[:1], plain[1].arrays[:1])
    assert same(done[1].arrays, plain[1].arrays) == ("cut" not in words)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"model": Model("logistic")}, "strategy = ccvr cannot be had with model.kind = logistic"),
        ({"methods": (Part("acil"),)}, "strategy = ccvr cannot be had with methods = acil: each makes the last layer"),
        ({"strategy": Part("ccvr", {"last": 4})}, "strategy.last = 4 should be 0 … 3"),
        ({"strategy": Part("ccvr", {"samples": 0})}, "strategy.samples = 0"),
        ({"strategy": Part("ccvr", {"epochs": 1001})}, "strategy.epochs = 1001"),
        ({"strategy": Part("ccvr", {"rate": 4.5})}, "strategy.rate = 4.5"),
    ],
)
def test_what_it_cannot_be_had_with_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check.check(replace(BASE, **change))
