"""Each of Flower's strategies against numpy, through the whole loop, with clients that need no data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from core.arrays import Arrays
from core.config.part import Part
from core.config.scenario import Model, Scenario
from core.data import Examples
from core.models import of
from core.plan import Lesson
from fl import roster, strategies
from fl.messages import Task
from fl.strategies.base import Contribution
from tests.fakes import START, FakeGrid, honest, play, same


def replies(scenario: Scenario, round: int, arrays: Arrays) -> tuple[list[Arrays], list[int]]:
    """What honest clients answer in a round: weights and sizes."""
    updates = [honest(Task(scenario, round, c, 0.1, arrays)) for c in roster.choose(scenario, round)]
    return [list(u.arrays) for u in updates], [u.examples for u in updates]


def once(part: Part, cohort: int = 7) -> tuple[Arrays, list[Arrays], list[int]]:
    """One round's new weights, and what the clients had answered."""
    scenario = Scenario("strategies", clients=9, cohort=cohort, rounds=1, strategy=part)
    return play(FakeGrid(), scenario)[0].arrays, *replies(scenario, 1, START)


def assert_close(ours: Arrays, theirs: Arrays) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == np.float32 and mine == pytest.approx(other, rel=1e-6, abs=1e-6)


def mean(answers: list[Arrays], sizes: list[int]) -> Arrays:
    """The weighted mean, in double precision."""
    return [np.average(np.stack(ws).astype(np.float64), 0, sizes) for ws in zip(*answers, strict=True)]


@pytest.mark.parametrize("name", ["fedavg", "fedprox", "fedrs", "fedlc"])
def test_averaging_is_numpys_weighted_mean(name: str) -> None:
    new, answers, sizes = once(Part(name))
    assert_close(new, mean(answers, sizes))
    assert not same(new, START) and len(set(sizes)) > 1


def test_the_median_is_numpys() -> None:
    new, answers, _ = once(Part("fedmedian"))
    assert_close(new, [np.median(np.stack(ws), 0) for ws in zip(*answers, strict=True)])


@pytest.mark.parametrize("beta, cut", [(0.0, 0), (0.15, 1), (0.3, 2), (0.45, 3)])
def test_a_trimmed_mean_drops_both_ends(beta: float, cut: int) -> None:
    new, answers, _ = once(Part("fedtrimmedavg", {"beta": beta}))
    kept = [np.sort(np.stack(ws), 0)[cut : 7 - cut] for ws in zip(*answers, strict=True)]
    assert_close(new, [ws.astype(np.float64).mean(0) for ws in kept])


@pytest.mark.parametrize("cohort", [2, 3, 7])
def test_a_trimmed_mean_that_trims_nothing_is_the_mean_of_equal_weights(cohort: int) -> None:
    """Equal to rounding: Flower adds sorted values and divides once, while the mean adds each value's share."""
    new, answers, _ = once(Part("fedtrimmedavg", {"beta": 0.0}), cohort)
    assert_close(new, mean(answers, [1] * cohort))


def sums_to_nearest(answers: list[Arrays], near: int) -> np.ndarray:
    flat = np.stack([np.concatenate([w.ravel() for w in ws]) for ws in answers]).astype(np.float64)
    distances = np.sort(((flat[:, None] - flat[None]) ** 2).sum(-1), 1)
    return distances[:, 1 : near + 1].sum(1)


@pytest.mark.parametrize("malicious", [0, 1, 2])
def test_krum_takes_the_client_nearest_to_its_neighbours(malicious: int) -> None:
    new, answers, _ = once(Part("krum", {"malicious": malicious}))
    scores = sums_to_nearest(answers, 7 - malicious - 2)
    assert_close(new, answers[int(scores.argmin())])


@pytest.mark.parametrize("rule", ["krum", "multikrum", "bulyan"])
def test_small_moves_of_large_weights_are_told_apart(rule: str) -> None:
    """In float32 the difference of two squared lengths of 1e6 says nothing about moves of 0.001."""
    at = [np.full(10_000, 10, np.float32)]
    moves = (0, 0.001, 0.0011, 0.0012, 0.0013, 0.0014, 0.05)
    there = [Contribution(c, [at[0] + np.float32(move)], 1.0, 1) for c, move in enumerate(moves)]
    arguments = {"malicious": 1} | ({"selected": 3} if rule == "multikrum" else {})
    strategy = strategies.build(Scenario("far out", clients=9, cohort=7, strategy=Part(rule, arguments)))
    _, (new,) = strategy.aggregate(strategy.start(at), at, there, 1)
    assert new - at[0] == pytest.approx(np.full(10_000, 0.0012), abs=2e-6)


def test_multikrum_takes_the_mean_of_the_nearest() -> None:
    new, answers, sizes = once(Part("multikrum", {"malicious": 2, "selected": 3}))
    chosen = np.argsort(sums_to_nearest(answers, 3))[:3]
    assert_close(new, mean([answers[i] for i in chosen], [sizes[i] for i in chosen]))


def test_bulyan_is_a_mean_of_the_nearest_to_the_median_among_krums_choice() -> None:
    new, answers, _ = once(Part("bulyan", {"malicious": 1}))
    chosen = [answers[i] for i in np.argsort(sums_to_nearest(answers, 4))[:5]]
    for mine, ws in zip(new, zip(*chosen, strict=True), strict=True):
        stack = np.stack(ws).astype(np.float64)
        nearest = np.argsort(np.abs(stack - np.median(stack, 0)), 0)[:3]
        assert mine == pytest.approx(np.take_along_axis(stack, nearest, 0).mean(0), rel=1e-6, abs=1e-6)


Step = Callable[[int, Arrays, Arrays, dict[str, Arrays]], Arrays]


def with_momentum(number: int, w: Arrays, delta: Arrays, moments: dict[str, Arrays]) -> Arrays:
    moments["v"] = [0.9 * v + d for v, d in zip(moments.get("v", [0 * d for d in delta]), delta, strict=True)]
    return [a + 0.5 * v for a, v in zip(w, moments["v"], strict=True)]


def adaptive(
    second: Callable[[np.ndarray, np.ndarray], np.ndarray], beta: float, correct: Callable[[int], float]
) -> Step:
    """Reddi et al. 2021: m = βm + (1 - β)Δ, w += η·m / (√v + τ)."""

    def step(number: int, w: Arrays, delta: Arrays, moments: dict[str, Arrays]) -> Arrays:
        zeros = [0 * d for d in delta]
        moments["m"] = [beta * m + (1 - beta) * d for m, d in zip(moments.get("m", zeros), delta, strict=True)]
        moments["v"] = [second(v, d**2) for v, d in zip(moments.get("v", zeros), delta, strict=True)]
        parts = zip(w, moments["m"], moments["v"], strict=True)
        return [a + 0.02 * correct(number) * m / (np.sqrt(v) + 0.01) for a, m, v in parts]

    return step


def corrected(number: int) -> float:
    """Adam's bias correction, as Flower counts rounds: one later than Kingma and Ba."""
    return float(np.sqrt(1 - 0.9 ** (number + 1)) / (1 - 0.8 ** (number + 1)))


ADAPTIVE = {"rate": 0.02, "beta_1": 0.8, "beta_2": 0.9, "tau": 0.01}
STEPS: dict[str, tuple[dict[str, float], Step]] = {
    "fedavgm": ({"rate": 0.5, "momentum": 0.9}, with_momentum),
    "fedadam": (ADAPTIVE, adaptive(lambda v, d2: 0.9 * v + 0.1 * d2, 0.8, corrected)),
    "fedyogi": (ADAPTIVE, adaptive(lambda v, d2: v - 0.1 * d2 * np.sign(v - d2), 0.8, lambda number: 1.0)),
    "fedadagrad": ({"rate": 0.02, "tau": 0.01}, adaptive(lambda v, d2: v + d2, 0.0, lambda number: 1.0)),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_server_optimizer_follows_its_recursion_for_three_rounds(name: str) -> None:
    args, step = STEPS[name]
    scenario = Scenario("strategies", clients=9, cohort=7, rounds=3, strategy=Part(name, args))
    w, moments = START, {}
    for done in play(FakeGrid(), scenario):
        average = mean(*replies(scenario, done.record.round, w))
        delta = [new - old for new, old in zip(average, w, strict=True)]
        expected = step(done.record.round, w, delta, moments)
        for mine, other in zip(done.arrays, expected, strict=True):
            assert mine == pytest.approx(other, rel=1e-5, abs=1e-5)
        w = done.arrays


def test_fedprox_brings_a_pull_to_the_received_weights_and_no_other_strategy_of_flowers_does() -> None:
    start = [np.array([1.0, -2.0], np.float32)]
    for name, strength in (("fedprox", 0.25), ("fedavg", 0.0)):
        args = {"mu": strength} if strength else {}
        scenario = Scenario("strategies", strategy=Part(name, args))
        nothing = Examples(np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.int64))
        lesson = Lesson(0, start, nothing, np.zeros((0, 0)), 0, 1, 0.1, scenario)
        pull = strategies.chain(scenario).pull({}, lesson)
        assert [float(a) for a in pull.a] == [strength]
        assert np.array_equal(pull.b[0] + np.zeros(2), -strength * start[0])


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_a_client_weighs_its_number_of_examples_to_a_power(power: float) -> None:
    scenario = Scenario("strategies", clients=9, cohort=7, rounds=1, weight_exponent=power)
    answers, sizes = replies(scenario, 1, START)
    assert_close(play(FakeGrid(), scenario)[0].arrays, mean(answers, [size**power for size in sizes]))  # type: ignore[misc]


def contributions(*values: float) -> list[Contribution]:
    return [Contribution(c, [np.array([v], np.float32)], 1.0, 1) for c, v in enumerate(values)]


def rule(name: str, cohort: int, **settings: object) -> strategies.Strategy:
    return strategies.build(Scenario("few", clients=cohort, cohort=cohort, strategy=Part(name, settings)))


@pytest.mark.parametrize(
    "values, wanted", [((0, 1, 2, 3, 900), 2), ((0, 1, 2, 900), 1.5), ((0, 1, 900), 1), ((0, 900), 450)]
)
def test_a_trimmed_mean_cuts_no_less_where_replies_are_missing(values: tuple[float, ...], wanted: float) -> None:
    """As many as of the whole cohort, as long as anything is left: who is silent makes no room for somebody hostile."""
    trimmed, at = rule("fedtrimmedavg", 5), [np.zeros(1, np.float32)]
    _, (new,) = trimmed.aggregate(trimmed.start(at), at, contributions(*values), 1)
    assert float(new[0]) == pytest.approx(wanted)


def test_multikrum_never_takes_all_of_those_who_replied() -> None:
    multikrum, at = rule("multikrum", 6), [np.zeros(1, np.float32)]  # of six it takes five, of five four
    for values in ((0, 0.1, 0.2, 0.3, 0.4, 900), (0, 0.1, 0.2, 0.3, 900)):
        _, (new,) = multikrum.aggregate(multikrum.start(at), at, contributions(*values), 1)
        assert float(new[0]) == pytest.approx(np.mean(values[:-1]), abs=1e-6)


@pytest.mark.parametrize(("weights", "statistics"), [(0.02, 0.0), (0.0, 900.0)], ids=["the mean's", "far from all"])
@pytest.mark.parametrize("name", ["krum", "multikrum", "bulyan", "fedmedian", "fedtrimmedavg"])
def test_whoever_sends_the_others_mean_does_not_choose_the_statistics_nor_by_these_the_weights(
    name: str, weights: float, statistics: float
) -> None:
    """Statistics differ far more than weights, so with both in a distance those of the others' mean are nearest to all; and with
    weights alone, whoever has the others' mean weights is."""
    scenario = Scenario("norm", clients=7, cohort=7, strategy=Part(name), model=Model(norm="batch"))
    model, draw = of(scenario), np.random.default_rng(3)
    start = model.initial(0)

    def reply(weights: float, statistics: float) -> Arrays:
        noise = [draw.normal(size=w.shape).astype(np.float32) for w in start]
        moved = [w + np.float32(weights) * e for w, e in zip(start, noise, strict=True)]
        return model.with_statistics(moved, [w + np.float32(statistics) * e for w, e in zip(start, noise, strict=True)])

    sent = [*(reply(0.01, 10.0) for _ in range(6)), reply(weights, statistics)]
    strategy = strategies.build(scenario)
    given = [Contribution(c, arrays, 1.0, 1) for c, arrays in enumerate(sent)]
    _, new = strategies.aggregate(scenario, strategy, strategy.start(start), start, given, 1)
    for i in model.statistics:
        assert new[i] == pytest.approx(np.median([arrays[i] for arrays in sent], 0))
    if name == "krum" and weights:
        assert any(same(model.trainable(new), model.trainable(arrays)) for arrays in sent[:6])
