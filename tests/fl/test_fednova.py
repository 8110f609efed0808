"""FedNova against its closed form, against FedAvg, and against clients that lie about their steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.config.part import Part
from core.config.scenario import Local, Scenario
from core.scores import Sums
from fl import strategies, wire
from fl.messages import Task
from fl.strategies.base import Contribution
from fl.strategies.scaffold import reach
from tests.fakes import START, FakeGrid, federate, honest, identify, play
from tests.quadratics import CENTRED, CURVED, OPTIMUM, Quadratics, scenario

UNEQUAL = (2, 5, 10, 40)
EQUAL = Scenario("nova", clients=5, cohort=5)


def contributions(steps: list[int]) -> list[Contribution]:
    generator = np.random.default_rng(0)
    return [
        Contribution(i, [w + generator.normal(0, 0.1, w.shape).astype(np.float32) for w in START], 10.0 * (i + 1), n)
        for i, n in enumerate(steps)
    ]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_with_equal_steps_it_is_averaging(momentum: float) -> None:
    identify()  # Flower's rule makes messages
    cohort = contributions([7] * 5)
    both = [
        strategies.build(replace(EQUAL, strategy=Part(name), local=Local(momentum=momentum))).aggregate(
            {}, START, cohort, 1
        )
        for name in ("fednova", "fedavg")
    ]
    for mine, other in zip(both[0][1], both[1][1], strict=True):
        assert mine.dtype == np.float32 and mine == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_it_is_the_papers_formula(momentum: float) -> None:
    """Its ‖a‖₁ under momentum, written as the paper writes it: (τ − ρ(1 − ρ^τ)/(1 − ρ)) / (1 − ρ)."""
    cohort = contributions([1, 2, 5, 10, 40])
    strategy = strategies.build(replace(EQUAL, strategy=Part("fednova"), local=Local(momentum=momentum)))
    new = strategy.aggregate({}, START, cohort, 1)[1]
    total, rho = sum(one.weight for one in cohort), momentum
    norms = [(one.steps - rho * (1 - rho**one.steps) / (1 - rho)) / (1 - rho) for one in cohort]
    assert norms == pytest.approx([reach(one.steps, 1.0, momentum) for one in cohort])
    far = sum(one.weight / total * norm for one, norm in zip(cohort, norms, strict=True))
    for j, old in enumerate(START):
        direction = sum(
            one.weight / total * (one.arrays[j] - old) / norm for one, norm in zip(cohort, norms, strict=True)
        )
        assert new[j] == pytest.approx(old + far * direction, abs=1e-6)


def test_clients_of_unequal_steps_end_where_the_closed_form_says_and_averaging_beside_the_optimum() -> None:
    """K steps of size η carry w by the share 1 − (1 − ηa)^K towards b; FedNova stops where Σ of these, each over its K, is 0."""
    rate = 0.0005
    ends = {name: Quadratics(scenario(name, rate=rate), UNEQUAL).play(400) for name in ("fednova", "fedavg")}
    shares = 1 - (1 - rate * CURVED) ** np.array(UNEQUAL)
    for name, pulls in (("fednova", shares / UNEQUAL), ("fedavg", shares)):
        assert ends[name] == pytest.approx(float((pulls * CENTRED).sum() / pulls.sum()), abs=1e-3)
    assert abs(ends["fednova"] - OPTIMUM) < 0.05 < 0.3 < abs(ends["fedavg"] - OPTIMUM)


def test_in_a_whole_run_of_equal_shards_it_is_averaging_and_of_unequal_ones_it_is_not(
    tiny: Scenario, tmp_path: Path
) -> None:
    for partition, alike in ((Part("iid"), True), (tiny.partition, False)):
        losses = [
            federate(replace(tiny, partition=partition, strategy=Part(name)), tmp_path / name / partition.name)
            .history[-1].train_loss
            for name in ("fednova", "fedavg")
        ]  # fmt: skip
        assert (losses[0] == pytest.approx(losses[1], rel=1e-4)) == alike


@pytest.mark.parametrize("factor, words", [(0.4, "its examples take"), (3, "its examples take")])
def test_steps_that_a_clients_examples_do_not_take_are_refused(factor: float, words: str) -> None:
    """Many steps would lengthen everybody else's movement, few its own."""

    def lying(task: Task) -> object:
        update = honest(replace(task, client=99))
        seen = int(update.sums.examples * factor) // 32 * 32
        return wire.reply(replace(update, client=task.client, sums=Sums(0.5 * seen, seen // 2, seen)))

    one = play(FakeGrid({2: lying}), replace(EQUAL, rounds=1, strategy=Part("fednova")))[0]  # type: ignore[dict-item]
    assert 2 not in one.record.clients and words in one.record.failed[2]
