"""What a run that goes on from another takes over of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.config.part import Part
from core.config.scenario import Scenario
from scenarios.experiment.continuation import after, begin, taught, unprepared
from server import checkpoint, record, versions
from server.record import RoundRecord, Version
from tests.fakes import federate

TWO = Scenario("classes", rounds=4, digits=(0, 1, 2, 3, 4, 5), stream=Part("classes"))


def left(run: Path, scenario: Scenario, current: int, *tasks: dict[int, int], without: tuple[int, ...] = ()) -> Path:
    """The folder of a run whose clients met these tasks, a round each, a version after each two."""
    run.mkdir()
    (run / "scenario.json").write_text(scenario.json())
    (run / "report.json").write_text("{}")
    record.save_rounds(run, [RoundRecord(round=n, tasks=one, without=without) for n, one in enumerate(tasks, 1)])
    for number in range(1, 1 + len(tasks) // 2):
        home = versions.keep(run, Version(scenario.past + number, round=2 * number), [np.zeros(2, np.float32)], {})
        (home / "export.json").write_text('{"files": {}, "refused": {}}')
    versions.publish(run, versions.home(run, current))
    return run


def test_taught_is_what_some_client_had_examples_of_in_a_round_in_which_it_counted(tmp_path: Path) -> None:
    run = left(tmp_path / "run", TWO, 1, {0: 0, 1: 0}, {0: 1, 1: 2}, without=(1,))  # client 1 had nothing of its tasks
    assert taught(run, TWO) == ("0,1,2,3 plain",)


@pytest.mark.parametrize(("current", "labels"), [(1, "0,1"), (2, "0,1,2,3")])
def test_what_came_after_the_current_version_was_not_taught_to_it(current: int, labels: str, tmp_path: Path) -> None:
    run = left(tmp_path / "run", TWO, current, {0: 0}, {0: 0}, {0: 1}, {0: 1})
    assert taught(run, TWO) == (f"{labels} plain",)


def test_taught_adds_up_over_runs_by_condition(tmp_path: Path) -> None:
    domains = replace(
        TWO,
        digits=(7, 8),
        stream=Part("domains", {"conditions": "blur+invert"}),
        past=1,
        past_tasks=("0,1 plain", "5 blur"),
    )
    assert taught(left(tmp_path / "run", domains, 2, {0: 1}, {0: 0}), domains) == (
        "5,7,8 blur",
        "7,8 invert",
        "0,1 plain",
    )


def test_what_nobody_knows_stays_unknown_and_nothing_is_not_unknown(tmp_path: Path) -> None:
    older = replace(TWO, past=1)
    assert taught(left(tmp_path / "older", older, 2, {0: 0}, {0: 0}), older) == ()
    real = left(tmp_path / "real", TWO, 1, {0: 0}, {0: 0})
    (real / "id").write_text("x")
    assert taught(real, TWO) == ()
    assert taught(left(tmp_path / "nobody", TWO, 1, {}, {}), TWO) == (" plain",)


def begun_from(run: Path, scenario: Scenario, new: Path) -> Path:
    """A run's folder that goes on from the last version of another, which was of this scenario."""
    (run / "scenario.json").write_text(scenario.json())
    last = versions.listed(run)[-1]
    (last / "export.json").write_text('{"files": {}, "refused": {}}')
    versions.publish(run, last)
    begin(run, new)
    return new


def test_a_head_in_closed_form_is_not_gone_on_from_by_gradients(tmp_path: Path) -> None:
    solved = replace(TWO, methods=(Part("acil"),))
    run = left(tmp_path / "run", solved, 1, {0: 0}, {0: 0})
    with pytest.raises(ValueError, match="its methods have acil, those of classes no such"):
        after(TWO, run)
    assert after(solved, run).past == 3


def test_a_method_that_kept_nothing_in_the_run_before_is_said(tmp_path: Path) -> None:
    """Else replay has nothing to rehearse, and the model forgets all digits but the new ones."""
    run = left(tmp_path / "run", replace(TWO, methods=(Part("finetune"),)), 1, {0: 0}, {0: 0})
    (run / "scenario.json").write_text(replace(TWO, methods=(Part("finetune"), Part("ewc"))).json())
    (words,) = unprepared(run, replace(TWO, methods=(Part("replay"), Part("ewc"))))
    assert words.startswith("methods = replay kept nothing in") and "had methods = finetune+ewc" in words
    for silent in ("lwf", "ewc", "finetune", "fedcurv"):
        assert unprepared(run, replace(TWO, methods=(Part(silent),))) == []


@pytest.mark.parametrize(("before", "now"), [("averaged", "local"), ("local", "averaged")])
@pytest.mark.parametrize("name", ["ewc", "si", "fedssi"])
def test_another_anchor_than_the_run_before_had_holds_where_the_stage_began(
    name: str, before: str, now: str, tiny: Scenario, tmp_path: Path
) -> None:
    two = replace(tiny, stream=Part("classes", {"per_task": 5}), rounds=2, methods=(Part(name, {"anchor": before}),))
    federate(two, tmp_path / "first")
    later = replace(two, past=2, rounds=2, methods=(Part(name, {"anchor": now}),))
    new = begun_from(tmp_path / "first", two, tmp_path / "second")
    report = federate(later, new)
    assert not any(row.failed for row in report.history)


def test_a_smaller_budget_than_the_run_before_had_holds_from_the_first_round(tiny: Scenario, tmp_path: Path) -> None:
    large = replace(
        tiny, stream=Part("classes", {"per_task": 5}), rounds=2, cohort=4, methods=(Part("replay", {"images": 60}),)
    )
    federate(large, tmp_path / "first")
    new = begun_from(tmp_path / "first", large, tmp_path / "second")
    report = federate(replace(large, past=2, methods=(Part("replay", {"images": 20}),)), new)
    assert not any(row.failed for row in report.history) and len(report.history[0].clients) == 4


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
