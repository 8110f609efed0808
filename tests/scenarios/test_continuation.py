"""What a run that goes on from another takes over of it."""

from __future__ import annotations

from dataclasses import replace

from core.config.part import Part
from core.config.scenario import Scenario
from scenarios.experiment.continuation import taught
from server.record import Report, RoundRecord

TWO = Scenario("classes", rounds=4, digits=(0, 1, 2, 3, 4, 5), stream=Part("classes"))


def rows(*tasks: dict[int, int], without: tuple[int, ...] = ()) -> tuple[RoundRecord, ...]:
    return tuple(RoundRecord(round=n, tasks=one, without=without) for n, one in enumerate(tasks, 1))


def test_taught_is_what_some_client_had_examples_of_in_a_round_that_counted() -> None:
    history = rows({0: 0, 1: 0}, {0: 1, 1: 2}, without=(1,))  # client 1 had nothing of its tasks
    assert taught(TWO, Report(TWO, history=history)) == ((0, 1, 2, 3), ("plain",))


def test_taught_adds_up_over_runs_and_conditions() -> None:
    domains = replace(
        TWO, digits=(7, 8), stream=Part("domains", {"conditions": "blur+invert"}),
        past=1, past_digits=(0, 1), past_conditions=("plain",),
    )  # fmt: skip
    assert taught(domains, Report(domains, history=rows({0: 1}))) == ((0, 1, 7, 8), ("invert", "plain"))


def test_what_an_older_programs_run_taught_stays_unknown() -> None:
    older = replace(TWO, past=1)
    assert taught(older, Report(older, history=rows({0: 0}))) == ((), ())
