"""Closed forms of the rates."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from core.config.part import Part
from core.config.scenario import Local, Scenario
from core.schedule import SCHEDULES, constant, cosine, plateau, rate, restarts

FALLING = [1.0, 0.9, 0.8, 0.7]


def test_constant_is_constant() -> None:
    assert {constant(0.1, r, [20], []) for r in range(1, 21)} == {0.1}


def test_cosine_starts_at_the_full_rate_and_ends_at_its_floor() -> None:
    assert cosine(0.1, 1, [20], []) == pytest.approx(0.1, rel=1e-12)
    assert cosine(0.1, 20, [20], [], floor=0.02) == pytest.approx(0.002, rel=1e-12)
    assert cosine(0.1, 20, [20], [], floor=0.0) == pytest.approx(0, abs=1e-17)


def test_cosine_is_halfway_in_the_middle_and_falls_all_the_way() -> None:
    rates = [cosine(0.1, r, [21], [], floor=0.5) for r in range(1, 22)]
    assert rates[10] == pytest.approx(0.075, rel=1e-12)
    assert rates == sorted(rates, reverse=True) and len(set(rates)) == 21


def test_cosine_of_a_single_round_is_the_full_rate() -> None:
    assert cosine(0.1, 1, [1], []) == pytest.approx(0.1)


def test_plateau_keeps_its_rate_while_the_loss_falls() -> None:
    assert plateau(0.1, 5, [20], FALLING) == 0.1


@pytest.mark.parametrize("waited, rate", [(0, 0.1), (1, 0.1), (2, 0.1), (3, 0.05), (4, 0.05), (5, None), (9, None)])
def test_plateau_halves_after_three_rounds_and_stops_after_five(waited: int, rate: float | None) -> None:
    assert plateau(0.1, 5 + waited, [20], FALLING + [0.7] * waited) == rate


def test_plateau_counts_anew_after_a_better_loss_and_keeps_what_it_halved() -> None:
    losses = [*FALLING, 0.7, 0.8, 0.9, 0.6, 0.7, 0.7]
    assert plateau(0.1, 11, [20], losses) == 0.05
    assert plateau(0.1, 12, [20], [*losses, 0.7]) == 0.025


def test_plateau_stays_stopped_whatever_comes_after() -> None:
    assert plateau(0.1, 12, [20], [1.0] * 6 + [0.1]) is None


def test_plateau_takes_its_own_patience() -> None:
    assert [plateau(0.8, 9, [20], [1.0] * n, halve=1, stop=4) for n in (1, 2, 3, 4, 5)] == [0.8, 0.4, 0.2, 0.1, None]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_depends_on_nothing_but_its_arguments(name: str) -> None:
    rates = [SCHEDULES[name](0.1, 3, [20], [1.0, math.inf]) for _ in range(3)]
    assert len(set(rates)) == 1 and rates[0] is not None and 0 < rates[0] <= 0.1


@pytest.mark.parametrize("bad", [{"floor": -0.1}, {"floor": 1.1}])
def test_cosine_refuses_an_impossible_floor(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"floor = {bad['floor']}"):
        cosine(0.1, 1, [20], [], **bad)


@pytest.mark.parametrize("bad", [{"halve": 0}, {"stop": 0}])
def test_plateau_refuses_no_patience(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        plateau(0.1, 1, [20], [], **bad)


def test_restarts_is_a_cosine_in_every_stage() -> None:
    rates = [restarts(0.1, r, [5, 8, 9], []) for r in range(1, 10)]
    assert rates == [cosine(0.1, r, [n], []) for n in (5, 3, 1) for r in range(1, n + 1)]


def test_restarts_of_a_single_stage_is_the_cosine() -> None:
    assert [restarts(0.1, r, [20], [], floor=0.3) for r in range(1, 21)] == [
        cosine(0.1, r, [20], [], floor=0.3) for r in range(1, 21)
    ]


def test_a_scenario_has_the_rates_of_its_own_stages() -> None:
    five = Scenario("s", rounds=10, stream=Part("classes"), schedule=Part("restarts"), local=Local(rate=0.1))
    assert [rate(five, r, []) for r in range(1, 11)] == pytest.approx([0.1, 0.002] * 5)
    assert rate(replace(five, stream=Part("whole")), 10, []) == pytest.approx(0.002)
