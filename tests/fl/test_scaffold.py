"""SCAFFOLD against its closed form, and what becomes of replies that are lost or lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.config.part import Part
from core.config.scenario import Local, Scenario
from core.methods.base import Shared
from fl import strategies
from fl.strategies import counting
from fl.strategies.scaffold import ControlVariates, reach
from tests.fakes import federate, losses_on_both_engines
from tests.models import spec
from tests.quadratics import OPTIMUM, RATE, Quadratics, scenario


def variates(shared: Shared) -> float:
    return float(shared["scaffold/0"][0])


def test_averaging_stops_beside_the_optimum_and_scaffold_reaches_it() -> None:
    assert pytest.approx(2.3333, abs=1e-4) == OPTIMUM
    assert Quadratics(scenario("fedavg")).play(200) == pytest.approx(2.0929, abs=1e-4)
    assert Quadratics(scenario("scaffold")).play(200) == pytest.approx(OPTIMUM, abs=1e-4)


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_under_momentum_the_variates_are_of_the_effective_steps(momentum: float) -> None:
    """Divided by Kη alone they would be several times too long, and it would end elsewhere or nowhere."""
    assert Quadratics(scenario("scaffold", momentum)).play(600) == pytest.approx(OPTIMUM, abs=1e-3)
    assert reach(2, 1.0, momentum) == pytest.approx(1 + (1 + momentum))


def test_the_first_round_is_averaging() -> None:
    one, other = (Quadratics(scenario(name)) for name in ("fedavg", "scaffold"))
    assert one.play(1) == other.play(1) and one.play(1) != other.play(1)


def test_a_lost_reply_leaves_the_variates_of_client_and_server_in_step() -> None:
    """The server's is always the mean of what clients' are as of the round that last counted."""
    federation = Quadratics(scenario("scaffold"))
    federation.play(12, lost=[(3, 1), (4, 1), (7, 3), (12, 0)])
    own = [
        federation.chain.methods[-1]._variates(federation.memory[c], federation.lesson(c))[1][0][0]  # type: ignore[attr-defined]
        for c in range(4)
    ]
    assert variates(federation.shared) == pytest.approx(np.mean(own), abs=1e-5)
    assert federation.play(200) == pytest.approx(OPTIMUM, abs=1e-4)


def test_a_reply_lost_in_a_round_with_the_number_of_one_that_counted_in_the_run_before_counts_no_more() -> None:
    """Rounds begin at 1 again in a run that goes on from another, and memories come along."""
    federation = Quadratics(scenario("scaffold"))
    federation.play(2)
    federation.scenario, federation.round = replace(federation.scenario, past=1), 0
    federation.play(2, lost=[(1, 3), (2, 3), (2, 1)])
    own = [
        federation.chain.methods[-1]._variates(federation.memory[c], federation.lesson(c))[1][0][0]  # type: ignore[attr-defined]
        for c in range(4)
    ]
    assert variates(federation.shared) == pytest.approx(np.mean(own), abs=1e-5)


@pytest.mark.parametrize("ratio", [1.5, 10.0])
def test_a_change_that_was_shortened_moves_the_clients_variate_as_it_moved_the_servers(ratio: float) -> None:
    """Near the optimum changes are short, and honest ones many times as long as the median."""
    federation = Quadratics(scenario("scaffold"))
    federation.ratio = ratio
    found = federation.play(400, lost=[(5, 1), (30, 2), (31, 2)])
    own = [
        federation.chain.methods[-1]._variates(federation.memory[c], federation.lesson(c))[1][0][0]  # type: ignore[attr-defined]
        for c in range(4)
    ]
    assert "scaffold/share" in federation.shared
    assert variates(federation.shared) == pytest.approx(np.mean(own), abs=1e-5)
    assert found == pytest.approx(OPTIMUM, abs=3e-3)  # cut to 1.5 times the median it comes near more slowly


@pytest.mark.parametrize("stamp", [counting.NEVER, 0, 7, counting.ROUNDS, 999_999 * counting.ROUNDS + 1_000_000])
def test_a_stamp_survives_the_wire(stamp: int) -> None:
    assert counting.from_floats(counting.as_floats(stamp)) == stamp


def test_a_client_that_was_not_drawn_keeps_its_share() -> None:
    federation = Quadratics(scenario("scaffold"))
    for round in range(600):
        federation.play(1, cohort=[round % 4, (round + 1 + round // 4 % 3) % 4])
    assert variates(federation.shared) == pytest.approx(0, abs=0.5)  # gradients at the optimum add up to nothing


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda change, reach_and_round: [change * 3, reach_and_round], "does not follow from its weights"),
        (lambda change, reach_and_round: [change, reach_and_round * np.float32([0.1, 1])], "is of"),
        (lambda change, reach_and_round: [change, reach_and_round + np.float32([0, 1])], "in round"),
        (lambda change, reach_and_round: [change + 1, reach_and_round], "does not follow from its weights"),
    ],
)
def test_a_variate_that_no_honest_client_can_have_is_refused(change: object, words: str) -> None:
    federation = Quadratics(scenario("scaffold"))
    federation.play(3)
    federation.round += 1
    arrays, beside = federation.learn(2)
    assert federation.chain.accept(beside, federation.received(arrays))
    with pytest.raises(ValueError, match=words):
        federation.chain.accept({"scaffold": change(*beside["scaffold"])}, federation.received(arrays))  # type: ignore[operator]


@pytest.mark.parametrize("name", ["scaffold", "fedcm"])
def test_a_round_at_a_rate_of_0_moves_nothing(name: str) -> None:
    """As the last one of a cosine whose floor is 0."""
    federation = Quadratics(scenario(name))
    federation.play(2)
    before, kept = federation.arrays[0].copy(), dict(federation.shared)
    federation.rate = 0.0
    federation.play(1)
    assert federation.arrays[0] == before and all(np.array_equal(federation.shared[key], kept[key]) for key in kept)
    federation.rate = RATE
    assert np.isfinite(federation.play(1)) and all(np.isfinite(array).all() for array in federation.shared.values())


def test_no_variate_leads_all_others() -> None:
    method = ControlVariates(spec(), 4)
    reach_and_round = np.zeros(1, np.int64)
    uploads = {c: {"scaffold": [np.full(3, 1.0 if c else 100.0, np.float32), reach_and_round]} for c in range(4)}
    balanced = method.balance(uploads, 4.0)
    assert balanced[0]["scaffold"][0] == pytest.approx(4.0) and balanced[1]["scaffold"][0] == pytest.approx(1.0)


def test_clipping_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"scaffold needs local\.clip = 0, not 2"):
        strategies.build(replace(scenario("scaffold"), local=Local(clip=2.0)))


def test_its_first_round_is_averaging_to_the_last_bit_in_a_whole_run(tiny: Scenario, tmp_path: Path) -> None:
    one = replace(tiny, rounds=1)
    reports = [
        federate(replace(one, strategy=Part(name)), tmp_path / name).weights_sha256 for name in ("fedavg", "scaffold")
    ]
    two = replace(tiny, rounds=2, cohort=4)
    reports += [
        federate(replace(two, strategy=Part(name)), tmp_path / "two" / name).weights_sha256
        for name in ("fedavg", "scaffold")
    ]
    assert reports[0] == reports[1] and reports[2] != reports[3]


@pytest.mark.slow
def test_on_litert_it_learns_what_it_learns_on_tensorflow(tiny: Scenario, tmp_path: Path) -> None:
    base = replace(tiny, rounds=3, cohort=4, looks=(), augment=(), strategy=Part("scaffold"))
    losses = losses_on_both_engines(base, tmp_path)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
