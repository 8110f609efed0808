"""FedDyn against its closed form, and what becomes of replies that are lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.config.part import Part
from core.config.scenario import Local, Scenario
from core.plan import Pull
from fl import strategies
from tests.fakes import losses_on_both_engines
from tests.quadratics import CENTRED, CURVED, OPTIMUM, RATE, STEPS, Quadratics, scenario

ALPHA = 1.0


def quadratics(momentum: float = 0.0, clip: float = 0.0, alpha: float = ALPHA) -> Quadratics:
    base = scenario("feddyn", momentum)
    return Quadratics(replace(base, strategy=Part("feddyn", {"alpha": alpha}), local=replace(base.local, clip=clip)))


def moved(federation: Quadratics) -> list[float]:
    """What each client has kept, as of the round that last counted."""
    method = federation.chain.methods[-1]
    return [
        float(method._moved(federation.memory[c], federation.lesson(c))[0][0])  # type: ignore[attr-defined]
        for c in range(4)
    ]


@pytest.mark.parametrize("momentum, clip", [(0.0, 0.0), (0.5, 0.0), (0.0, 2.0)])
def test_it_reaches_the_optimum_beside_which_averaging_stops(momentum: float, clip: float) -> None:
    """Under momentum and with clipping too: neither moves the point at which nothing moves."""
    assert quadratics(momentum, clip).play(200) == pytest.approx(OPTIMUM, abs=1e-4)
    assert Quadratics(scenario("fedavg", momentum)).play(200) != pytest.approx(OPTIMUM, abs=0.05)


def test_two_rounds_are_the_papers_written_out() -> None:
    """With λ and h as the paper has them."""
    federation = quadratics()
    w, gradients, h = 0.0, np.zeros(4), 0.0
    for _ in range(2):
        ends = np.full(4, w)
        for _ in range(STEPS):
            ends -= RATE * (CURVED * (ends - CENTRED) - gradients + ALPHA * (ends - w))
        gradients -= ALPHA * (ends - w)
        h -= ALPHA / 4 * (ends - w).sum()
        w = ends.mean() - h / ALPHA
        assert federation.play(1) == pytest.approx(w, abs=1e-5)


def test_a_lost_reply_leaves_client_and_server_in_step() -> None:
    """The server's is always the mean of what clients' are as of the round that last counted."""
    federation = quadratics()
    federation.play(12, lost=[(3, 1), (4, 1), (7, 3), (12, 0)])
    assert float(federation.state["g0"][0]) == pytest.approx(np.mean(moved(federation)), abs=1e-5)
    assert federation.play(200) == pytest.approx(OPTIMUM, abs=1e-4)


def test_a_client_that_was_not_drawn_keeps_its_share() -> None:
    federation = quadratics()
    for round in range(800):
        federation.play(1, cohort=[round % 4, (round + 1 + round // 4 % 3) % 4])
    assert float(federation.state["g0"][0]) == pytest.approx(np.mean(moved(federation)), abs=1e-4)
    assert float(federation.arrays[0][0]) == pytest.approx(OPTIMUM, abs=0.02)


def test_the_first_pull_is_fedproxs() -> None:
    one, other = (Quadratics(replace(scenario(name), strategy=Part(name, {key: 0.25}))) for name, key in
                  (("feddyn", "alpha"), ("fedprox", "mu")))  # fmt: skip
    pulls: list[Pull] = [each.chain.pull({}, each.lesson(1)) for each in (one, other)]
    assert [float(a) for a in pulls[0].a] == [float(a) for a in pulls[1].a]
    assert [b.tolist() for b in pulls[0].b] == [b.tolist() for b in pulls[1].b]


def test_a_pull_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"strategy\.alpha = 0"):
        strategies.build(replace(scenario("feddyn"), strategy=Part("feddyn", {"alpha": 0.0})))


def test_on_litert_it_learns_what_it_learns_on_tensorflow(tiny: Scenario, tmp_path: Path) -> None:
    base = replace(tiny, rounds=3, cohort=4, looks=(), augment=(), strategy=Part("feddyn"), local=Local(clip=1.0))
    losses = losses_on_both_engines(base, tmp_path)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
