"""Baselines: cached by what can change them and nothing else, the same after any interruption, fairly counted."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from core import code_digest
from core.arrays import digest
from core.config.part import Part
from core.config.scenario import Local, Model, Scenario
from core.data import load
from core.engines import tensorflow
from fl import roster
from scenarios.experiment import baselines
from scenarios.experiment.baselines import Result
from scenarios.experiment.baselines import centralized as central
from scenarios.experiment.baselines.__main__ import Beside, make
from scenarios.experiment.baselines.centralized import centralized, members
from server import best, evaluation
from tests.fakes import federate
from tests.models import engine


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As every process of a run does, before the first use."""
    tensorflow.one_thread()


def finished(kind: str, scenario: Scenario, folder: Path) -> Result:
    """The finished baseline."""
    folder.mkdir(exist_ok=True)
    make(kind, baselines.reduced(scenario, kind), folder, Beside(folder))
    found = baselines.result(folder)
    assert found
    return found


IRRELEVANT: list[dict[str, Any]] = [
    {"name": "other"},
    {"probe": 10},
    {"round_timeout": 1.0},
    {"methods": (Part("ewc"),)},
]
RELEVANT: list[dict[str, Any]] = [
    {"seed": 1}, {"rounds": 3}, {"cohort": 2}, {"noise": 0.1}, {"looks": ()}, {"augment": ()}, {"train": 500},
    {"local": Local(rate=0.2)}, {"model": Model(dropout=0.1)}, {"partition": Part("iid")}, {"schedule": Part("constant")},
]  # fmt: skip


@pytest.mark.parametrize("change", IRRELEVANT)
def test_runs_that_differ_in_nothing_that_matters_share_a_baseline(tiny: Scenario, change: dict[str, Any]) -> None:
    for kind in baselines.KINDS:
        assert baselines.cache_folder(tiny, kind, Path()) == baselines.cache_folder(
            replace(tiny, **change), kind, Path()
        )


def test_all_else_makes_another_baseline(tiny: Scenario) -> None:
    folders = {baselines.cache_folder(replace(tiny, **change), "local", Path()) for change in [{}, *RELEVANT]}
    assert len(folders) == len(RELEVANT) + 1
    assert baselines.cache_folder(tiny, "centralized", Path()) not in folders


@pytest.mark.slow
@pytest.mark.parametrize("kind", baselines.KINDS)
def test_an_edit_of_any_source_it_uses_makes_another_baseline(
    kind: str, tiny: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = [file for part in baselines.CODE for file in _sources(code_digest.HOME / part)]
    for file in used:
        (tmp_path / file.relative_to(code_digest.HOME)).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.relative_to(code_digest.HOME)).write_bytes(file.read_bytes())
    there = [tmp_path / file.relative_to(code_digest.HOME) for file in used]
    monkeypatch.setattr(code_digest, "HOME", tmp_path)
    assert {"server/evaluation.py", "fl/strategies/flower.py", "clients/learner.py"} <= {
        str(f.relative_to(tmp_path)) for f in there
    }
    folders = [baselines.cache_folder(tiny, kind, Path())]
    for file in there:
        with file.open("a") as edited:
            edited.write("# edited\n")
        folders.append(baselines.cache_folder(tiny, kind, Path()))
    assert len(set(folders)) == len(there) + 1


def _sources(path: Path) -> list[Path]:
    return list(path.rglob("*.py")) if path.is_dir() else [path]


def test_centralized_sees_as_many_examples_as_the_federation(tiny: Scenario, tmp_path: Path) -> None:
    found, report = finished("centralized", tiny, tmp_path / "baseline"), federate(tiny, tmp_path / "run")
    assert [point.seen for point in found.curve] == [row.seen for row in report.history]
    assert [point.round for point in found.curve] == [1, 2]
    assert found.accuracy == found.curve[-1].accuracy


def test_of_a_crowd_those_who_take_part_are_pooled(tiny: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    some = replace(tiny, clients=9, cohort=2, rounds=2)
    assert list(members(some)) == list(range(9))
    monkeypatch.setattr(central, "CROWD", 8)
    assert members(some) == sorted({*roster.choose(some, 1), *roster.choose(some, 2)}) and len(members(some)) < 5


def test_centralized_goes_on_after_an_interruption_as_if_there_had_been_none(tiny: Scenario, tmp_path: Path) -> None:
    scenario, parts = replace(tiny, rounds=4), tmp_path / "parts"
    first = list(islice(centralized(baselines.reduced(scenario, "centralized"), parts), 2))
    assert [point.round for point in first] == [1, 2] and baselines.result(parts) is None
    assert finished("centralized", scenario, parts) == finished("centralized", scenario, tmp_path / "whole")
    for name in (best.BEST, best.LAST):
        assert (parts / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_baseline_that_breaks_keeps_its_best_weights_beside_its_last(tiny: Scenario, tmp_path: Path) -> None:
    wild = replace(tiny, rounds=5, looks=(), augment=(), schedule=Part("constant"), local=Local(rate=0.6))
    found = finished("centralized", wild, tmp_path / "wild")
    losses = [point.validation_loss for point in found.curve if point.validation_loss is not None]
    top = found.best
    assert top and top.round == 1 + losses.index(min(losses)) < 5  # else the test would not tell best from last
    for name, sha256, number in ((best.BEST, top.weights_sha256, top.round), (best.LAST, found.weights_sha256, 5)):
        round_, arrays = best.weights(tmp_path / "wild" / name)
        assert (round_, digest(arrays)) == (number, sha256)
    assert found.accuracy == found.curve[-1].accuracy


def test_without_validation_images_no_round_of_a_baseline_is_best(tiny: Scenario, tmp_path: Path) -> None:
    found = finished("centralized", replace(tiny, validation=0, rounds=1), tmp_path / "blind")
    assert found.best is None and not (tmp_path / "blind" / best.BEST).exists()


def test_each_client_alone_learns_only_in_the_rounds_that_would_ask_it(tiny: Scenario, tmp_path: Path) -> None:
    found, report = finished("local", tiny, tmp_path / "baseline"), federate(tiny, tmp_path / "run")
    (point,), alone = found.curve, found.last_alone
    assert alone and point.seen == report.history[-1].seen and point.round == 2
    assert len(alone.accuracies) == len(alone.own_accuracies) == 4
    assert found.accuracy == pytest.approx(sum(alone.accuracies) / 4)
    assert (point.low, point.high) == (min(alone.accuracies), max(alone.accuracies))


def test_each_client_alone_keeps_its_best_weights_beside_its_last(tiny: Scenario, tmp_path: Path) -> None:
    wild = replace(tiny, rounds=5, looks=(), augment=(), schedule=Part("constant"), local=Local(rate=0.6))
    found = finished("local", wild, tmp_path / "wild")
    last, top = found.last_alone, found.best_alone
    assert last and top and last.rounds != top.rounds  # else the test would not tell best from last
    for client in range(wild.clients):
        for name, alone in ((best.LAST, last), (best.BEST, top)):
            round_, arrays = best.weights(tmp_path / "wild" / "clients" / str(client) / name)
            assert round_ == alone.rounds[client]
            assert evaluation.evaluate(engine, arrays, load(wild).test).accuracy == alone.accuracies[client]
    blind = finished("local", replace(tiny, validation=0, rounds=1), tmp_path / "blind")
    assert blind.best is None and not list((tmp_path / "blind").rglob(best.BEST))


def test_one_client_alone_is_a_federation_of_one(tiny: Scenario, tmp_path: Path) -> None:
    one = replace(tiny, clients=1, cohort=1)
    found, report = finished("local", one, tmp_path / "baseline"), federate(one, tmp_path / "run")
    assert found.last_alone and found.last_alone.accuracies == (report.accuracy,)
    assert found.last_alone.own_accuracies == (report.shards[0].accuracy,)


def test_a_baseline_not_yet_done_has_no_result_and_no_progress(tmp_path: Path) -> None:
    assert baselines.result(tmp_path) is None and baselines.progress(tmp_path) == 0
    (tmp_path / "done").write_text("3")
    assert baselines.progress(tmp_path) == 3


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"accuracy": 1}', b"\xff"])
def test_a_result_that_cannot_be_read_is_one_that_is_not_there(damage: bytes, tmp_path: Path) -> None:
    for name in ("result.json", "done"):
        (tmp_path / name).write_bytes(damage)
    assert baselines.result(tmp_path) is None and baselines.progress(tmp_path) == 0


def test_without_federation_the_strategy_does_not_matter_but_the_stream_does_which_says_how_many_steps_there_are(
    tiny: Scenario,
) -> None:
    changes: list[tuple[dict[str, Any], bool]] = [
        ({"strategy": Part("fedadam")}, True), ({"idle": "rehearse"}, True),
        ({"stream": Part("classes", {"per_task": 5})}, False), ({"leave": ((0, 2),)}, False),
    ]  # fmt: skip
    for change, shared in changes:
        other = replace(tiny, **change)
        same = [
            baselines.cache_folder(tiny, kind, Path()) == baselines.cache_folder(other, kind, Path())
            for kind in baselines.KINDS
        ]
        assert same == [shared, shared, shared, False]  # joint is the federation itself


@pytest.mark.slow
@pytest.mark.parametrize("method", ["finetune", "replay", "joint"])
def test_in_a_stream_baselines_and_methods_see_the_same_number_of_examples(
    tiny: Scenario, method: str, tmp_path: Path
) -> None:
    two = replace(
        tiny, stream=Part("classes", {"per_task": 2}), order=1.0, rounds=5, cohort=2, partition=Part("labels", {"k": 3}),
        methods=(Part(method),),
    )  # fmt: skip
    report = federate(two, tmp_path / "run")
    assert any(row.idle for row in report.history)  # one whose stage brings it nothing
    seen = [row.seen for row in report.history]
    assert [point.seen for point in finished("centralized", two, tmp_path / "centralized").curve] == seen
    assert finished("local", two, tmp_path / "local").curve[-1].seen == seen[-1]
    assert [point.seen for point in finished("joint", two, tmp_path / "joint").curve] == seen


def test_joint_is_the_federation_whose_clients_keep_everything(tiny: Scenario, tmp_path: Path) -> None:
    two = replace(tiny, stream=Part("classes", {"per_task": 5}))
    folder = tmp_path / "joint"
    found = finished("joint", two, folder)
    report = federate(replace(two, methods=(Part("joint"),)), tmp_path / "run")
    assert found.accuracy == report.accuracy and report.continual and found.matrix == report.continual.matrix
    assert baselines.progress(folder) == 2 and len(found.curve) == 2
    assert found.best == report.best["federated"] and found.best and found.best.validation_loss
    for name, sha256 in ((best.BEST, found.best.weights_sha256), (best.LAST, found.weights_sha256)):
        assert digest(best.weights(folder / name)[1]) == sha256
