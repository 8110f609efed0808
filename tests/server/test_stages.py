"""What a run of several stages comes to: in the common order, and for each client in its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.config.part import Part
from core.config.scenario import Gate, Scenario
from core.stream import course, ends, pace
from server import stages
from server.evaluation import Scores
from server.record import RoundRecord

# Five stages of two rounds
BASE = Scenario("staged", clients=6, cohort=6, rounds=10, stream=Part("classes", {"per_task": 2}), validation=100)
BEFORE = Scores(None, (0.1,) * 5, ())  # type: ignore[arg-type]


def played(scenario: Scenario, seed: int = 0) -> list[RoundRecord]:
    """Rounds in which everybody took part and had something of its task, with accuracies of chance."""
    draw, tasks = np.random.default_rng(seed), course(scenario).tasks
    history = []
    for number in range(1, scenario.rounds + 1):
        learned = {}
        for client in range(scenario.clients):
            order, starts = pace(scenario, client)
            learned[client] = tasks[order[sum(start <= number for start in starts) - 1]]
        shares = tuple(draw.random(5).tolist())
        history.append(RoundRecord(number, clients=tuple(learned), tasks=learned, tasks_accuracy=shares))
    return history


def test_in_the_common_order_clients_measures_are_the_global_models() -> None:
    found = stages.continual(BASE, played(BASE), BEFORE, {})
    assert found and found.clients_measures and found.clients_measures.clients == 6
    for name in ("average_accuracy", "incremental_accuracy", "forgetting", "backward_transfer", "forward_transfer"):
        assert getattr(found.clients_measures.mean, name) == pytest.approx(getattr(found.measures, name))
        assert getattr(found.clients_measures.deviation, name) == pytest.approx(0, abs=1e-12)


def test_a_client_forgets_what_it_was_taught_in_the_order_in_which_it_was_taught_it() -> None:
    """The model knows of each client's newest task all, and half of each task's that is older: in the common order the same
    numbers say something else."""
    one = replace(BASE, clients=1, cohort=1, order=1.0, seed=3)
    order, starts = pace(one, 0)
    assert order != sorted(order)  # else both orders are one
    history = []
    for row in played(one):
        stage = sum(start <= row.round for start in starts) - 1
        shares = [0.0] * 5
        for past in range(stage + 1):
            shares[order[past]] = 0.5 if past < stage else 1.0
        history.append(replace(row, tasks_accuracy=tuple(shares)))
    found = stages.continual(one, history, BEFORE, {})
    assert found and found.clients_measures
    own = found.clients_measures.mean
    assert own.forgetting == pytest.approx(0.5) and own.backward_transfer == pytest.approx(-0.5)
    assert own.forward_transfer == pytest.approx(-0.1) and own.average_accuracy == pytest.approx(0.6)
    assert found.measures.forgetting != pytest.approx(own.forgetting)


def test_the_stages_of_a_late_client_end_late() -> None:
    late = replace(BASE, lag=1.0, rounds=20)
    for client in range(late.clients):
        _, starts = pace(late, client)
        history = [replace(row, tasks_accuracy=(float(row.round),) * 5) for row in played(late)]
        matrix = stages.own_way(late, history, client).matrix
        assert matrix[:, 0].tolist() == [*(start - 1 for start in starts[1:]), 20]
    assert any(pace(late, c)[1] != pace(BASE, c)[1] for c in range(6))


def test_a_task_that_a_client_had_nothing_of_is_none_of_its_tasks() -> None:
    history = [replace(row, without=(2,) if row.tasks[2] == 3 else ()) for row in played(BASE)]
    assert stages.own_way(BASE, history, 2).learned == [0, 1, 2, -1, 4]
    assert stages.own_way(BASE, history, 1).learned == [0, 1, 2, 3, 4]
    asked = [replace(row, tasks={} if row.tasks[0] == 1 else row.tasks) for row in history]  # nobody was asked then
    assert stages.own_way(BASE, asked, 1).learned == [0, -1, 2, 3, 4]


def test_who_leaves_is_judged_until_it_leaves_and_who_joins_from_then_on() -> None:
    scenario = replace(BASE, leave=((0, 6),), join=((1, 6),))
    history = [replace(row, tasks_accuracy=(float(row.round),) * 5) for row in played(scenario)]
    gone = [
        replace(row, tasks={c: t for c, t in row.tasks.items() if c != (0 if row.round > 5 else 1)}) for row in history
    ]
    first, second = (stages.own_way(scenario, gone, client) for client in (0, 1))
    assert first.matrix[:, 0].tolist() == [2, 4, 5] and first.learned == [0, 1, 2, -1, -1]
    assert second.matrix[:, 0].tolist() == [6, 8, 10] and second.learned == [-1, -1, 0, 1, 2]


def gated(judged: list[tuple[float | None, ...]], **gate: float) -> tuple[str, ...]:
    """What the gate says of the second of two stages: on test images all is well, on validation images what is given."""
    scenario = replace(BASE, rounds=4, stream=Part("classes", {"per_task": 5}), gate=Gate(**gate))
    rows = [RoundRecord(n, tasks_accuracy=(1.0, 1.0), tasks_validation=judged[n > 2]) for n in range(1, 5)]
    assert ends(scenario) == [2, 4]
    return stages.version(scenario, rows, judged[1]).objections


def test_the_gate_reads_validation_images_and_no_test_image() -> None:
    (why,) = gated([(0.9, 0.0), (0.5, 0.9)], forgetting=0.1)
    assert "forgetting of earlier tasks is 0.4000" in why
    (why,) = gated([(0.9, 0.0), (0.5, 0.7)], accuracy=0.9)
    assert "accuracy on the tasks met is 0.6000" in why
    assert gated([(0.9, 0.0), (0.85, 0.9)], forgetting=0.1, accuracy=0.8) == ()


def test_a_version_says_of_which_tasks_the_gate_knows_nothing() -> None:
    scenario = replace(BASE, rounds=4, stream=Part("classes", {"per_task": 5}))
    rows = [RoundRecord(n, tasks_accuracy=(0.9, 0.8)) for n in range(1, 5)]
    found = stages.version(scenario, rows[:2], (0.7, None))
    assert found.unjudged == ("5, 6, 7, 8, 9",) and dict(found.validation) == {"0, 1, 2, 3, 4": 0.7}
    assert dict(found.tasks) == {"0, 1, 2, 3, 4": 0.9, "5, 6, 7, 8, 9": 0.8}
