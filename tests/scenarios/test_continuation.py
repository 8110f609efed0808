"""What a run that goes on from another takes over of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.config.part import Part
from core.config.scenario import Scenario
from scenarios.experiment.continuation import begin, taught
from server import checkpoint, versions
from server.record import Report, RoundRecord, Version

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


@pytest.mark.parametrize(("current", "kept"), [(1, {"fedcurv/0"}), (2, {"fedcurv/0", "scaffold/0"})])
def test_of_an_older_version_nothing_is_kept_that_only_fits_the_last_rounds_memories(
    current: int, kept: set[str], tmp_path: Path
) -> None:
    """Clients' control variates are of the last round; a server's of another would never be their mean again."""
    run = tmp_path / "run"
    for number in (1, 2):
        shared = {"scaffold/0": np.ones(2, np.float32), "fedcurv/0": np.ones(2, np.float32)}
        versions.keep(run, Version(number), [np.zeros(2, np.float32)], shared)
    (run / "scenario.json").write_text(replace(TWO, strategy=Part("scaffold")).json())
    (run / "report.json").write_text("{}")
    (run / "versions" / f"{current:04d}" / "export.json").write_text('{"files": {}, "refused": {}}')
    versions.publish(run, run / "versions" / f"{current:04d}")
    begin(run, tmp_path / "new")
    state, _ = checkpoint.newest(tmp_path / "new")
    assert state and set(state.shared) == kept
