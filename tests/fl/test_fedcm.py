"""FedCM against its closed form, and what a client can make of it that lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.config.part import Part
from core.config.scenario import Scenario
from fl import strategies
from tests.fakes import losses_on_both_engines
from tests.quadratics import CENTRED, CURVED, RATE, STEPS, Quadratics, scenario


def quadratics(momentum: float = 0.8, rounds: int = 1, local: float = 0.0) -> Quadratics:
    base = scenario("fedcm", local)
    return Quadratics(replace(base, strategy=Part("fedcm", {"momentum": momentum, "rounds": rounds})))


def test_the_first_round_is_averaging_and_without_momentum_all_are() -> None:
    plain = Quadratics(scenario("fedavg"))
    first = plain.play(1)
    assert quadratics().play(1) == first
    assert quadratics(momentum=0.0).play(5) == pytest.approx(plain.play(4), abs=1e-6)


def test_three_rounds_are_the_papers_written_out() -> None:
    """Steps of eta along alpha·g + (1 - alpha)·Delta, and Delta the mean of (x - y) / (K·eta)."""
    alpha = 0.2
    federation, w, delta, eta = quadratics(1 - alpha), 0.0, 0.0, RATE / alpha
    for round in range(3):
        ends = np.full(4, w)
        for _ in range(STEPS):
            ends -= eta * (alpha * CURVED * (ends - CENTRED) + (1 - alpha) * delta)
        delta = float(np.mean(w - ends) / (STEPS * eta))
        w = float(ends.mean())
        assert federation.play(1) == pytest.approx(w, abs=1e-5), round


def test_directions_are_the_mean_of_the_last_rounds() -> None:
    federation, directions = quadratics(rounds=3), []
    for _ in range(5):
        before = float(federation.arrays[0][0])
        after = federation.play(1)
        directions.append((before - after) / (STEPS * RATE))
        (sent,) = federation.chain.download(federation.shared, 0)["fedcm"]
        assert float(sent[0]) == pytest.approx(np.mean(directions[-3:]), rel=1e-4)


def test_it_ends_where_averaging_ends_and_sooner() -> None:
    """Where nothing moves there is no direction: momentum is no cure for the drift that is left."""
    plain, end = Quadratics(scenario("fedavg", rate=0.002)), 0.0
    ours = Quadratics(replace(scenario("fedcm", rate=0.002), strategy=Part("fedcm", {"momentum": 0.8, "rounds": 1})))
    end = Quadratics(scenario("fedavg", rate=0.002)).play(400)
    assert abs(ours.play(20) - end) < abs(plain.play(20) - end) / 3
    assert ours.play(180) == pytest.approx(end, abs=1e-4)


def test_a_lost_reply_leads_nobody_and_a_round_without_any_changes_nothing() -> None:
    federation = quadratics()
    federation.play(2, lost=[(2, 3)])
    chain, before = federation.chain, dict(federation.shared)
    assert chain.server_update(before, {}, federation.arrays)[0] == before
    assert chain.accept({}, federation.received([])) == {}


def test_more_examples_than_others_are_not_believed() -> None:
    """On devices a count is a client's word."""
    method = quadratics().chain.methods[-1]
    sent = {c: {"fedcm": [np.float32([c]), np.array(count, np.float32)]} for c, count in enumerate((10, 10, 1000))}
    counts = [float(one["fedcm"][-1]) for one in method.balance(sent, 10.0).values()]
    assert counts == [10, 10, 100]


@pytest.mark.parametrize("power, share", [(1.0, 0.9), (0.5, 0.75), (0.0, 0.5)])
def test_the_direction_is_weighed_as_the_weights_are(power: float, share: float) -> None:
    """It is the way that the federation went: of clients with 100 and 900 examples, the second's share of the mean."""
    chain = strategies.chain(replace(scenario("fedcm"), weight_exponent=power))
    sent = {c: {"fedcm": [np.float32([c]), np.array(count, np.float32)]} for c, count in enumerate((100, 900))}
    shared, _ = chain.server_update({}, sent, [np.zeros(1, np.float32)])
    assert float(shared["fedcm/0/0"][0]) == pytest.approx(share)


def test_who_only_rehearses_has_a_direction_as_heavy_as_its_weights() -> None:
    federation = quadratics()
    federation.play(1)
    reply = replace(federation.received([np.ones(1, np.float32)]), own_examples=0, examples=30)
    assert federation.chain.accept({}, reply)["fedcm"][-1] == 30


@pytest.mark.parametrize("key, value", [("momentum", 1.0), ("momentum", -0.1), ("rounds", 0), ("rounds", 101)])
def test_what_cannot_be_is_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"strategy\.{key} = {value}"):
        strategies.build(replace(scenario("fedcm"), strategy=Part("fedcm", {key: value})))


@pytest.mark.slow
def test_on_litert_it_learns_what_it_learns_on_tensorflow(tiny: Scenario, tmp_path: Path) -> None:
    base = replace(tiny, rounds=3, cohort=4, looks=(), augment=(), strategy=Part("fedcm"))
    losses = losses_on_both_engines(base, tmp_path)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
