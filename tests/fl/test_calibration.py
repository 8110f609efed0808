"""FedRS and FedLC: the papers' formulas, in what a client's cross-entropy compares; and what of them changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clients.learner import _planned, learn
from clients.sources.simulated import Shard, shard
from core.config.part import Part
from core.config.scenario import Scenario
from core.data import Examples
from core.plan import Lesson, Plan
from fl import strategies
from fl.messages import Task
from tests.fakes import same
from tests.models import engine, initial

KNOWN = np.array([16, 1, 0, 0, 0, 81, 0, 0, 0, 0])  # images that a client has of each class


def planned(part: Part, known: np.ndarray = KNOWN) -> Plan:
    """The plan of a client with so many images of each class."""
    labels = np.repeat(np.arange(10), known)
    scenario = Scenario("calibration", strategy=part)
    examples = Examples(np.zeros((len(labels), 28, 28), np.uint8), labels)
    lesson = Lesson(0, initial(0), examples, np.zeros((len(labels), 0), np.float32), 0, 1, 0.05, scenario)
    return _planned(strategies.chain(scenario), {}, lesson, engine)[0]


def test_fedrs_scales_the_logits_of_classes_that_a_client_does_not_hold() -> None:
    plan = planned(Part("fedrs", {"alpha": 0.25}))
    assert plan.scale.tolist() == [1, 1, 0.25, 0.25, 0.25, 1, 0.25, 0.25, 0.25, 0.25] and not plan.shift.any()


def test_fedlc_lowers_logits_by_tau_over_the_fourth_root_of_the_count() -> None:
    plan = planned(Part("fedlc", {"tau": 2.0}))
    expected = [-2 / 2, -2, -200, -200, -200, -2 / 3, -200, -200, -200, -200]  # 16, 1 and 81 images; none: as if 1e-8
    assert (plan.scale == 1).all() and (plan.shift == plan.shift[:1]).all()
    assert plan.shift[0] == pytest.approx(expected, rel=1e-6)


@pytest.fixture(scope="module")
def client_shard(tiny: Scenario) -> Shard:
    return shard(tiny.json(), 1)


@pytest.mark.parametrize("name, neutral", [("fedrs", {"alpha": 1.0}), ("fedlc", {"tau": 0.0})])
def test_a_calibration_of_no_strength_is_averaging(
    tiny: Scenario, client_shard: Shard, name: str, neutral: dict[str, Any]
) -> None:
    def learned(part: Part) -> list[np.ndarray]:
        scenario = replace(tiny, strategy=part)
        return learn(client_shard, Task(scenario, 1, 1, 0.05, initial(2)), {}, engine)[0].arrays

    plain = learned(Part("fedavg"))
    assert same(learned(Part(name, neutral)), plain) and not same(learned(Part(name)), plain)


@pytest.mark.parametrize("name", ["fedrs", "fedlc"])
def test_two_softmaxes_are_refused_by_name(name: str) -> None:
    scenario = Scenario("calibration", strategy=Part(name), softmax=Part("present"))
    with pytest.raises(ValueError, match=f"strategy {name} brings its own softmax; softmax = present cannot be had"):
        strategies.build(scenario)


def test_rehearsed_images_count_as_held(tiny: Scenario) -> None:
    """What a client remembers of an earlier stage is a class that it knows."""
    scenario = replace(tiny, strategy=Part("fedrs"), methods=(Part("replay"),))
    method, labels = strategies.chain(scenario), np.repeat([0, 1], 20)
    draw = np.random.default_rng(0)

    def lesson(stage: int, labels: np.ndarray) -> Lesson:
        images = draw.integers(0, 255, (len(labels), 28, 28)).astype(np.uint8)
        return Lesson(
            stage,
            initial(0),
            Examples(images, labels),
            np.zeros((len(labels), 2), np.float32),
            0,
            1 + stage,
            0.05,
            scenario,
        )

    first = lesson(0, labels)
    plan, _ = _planned(method, {}, first, engine)
    memory = method.remember({}, first, engine.train(first.start, plan), engine)
    later, rehearsed = _planned(method, memory, lesson(1, labels + 4), engine)
    assert rehearsed and np.flatnonzero(later.scale == 1).tolist() == [0, 1, 4, 5]
