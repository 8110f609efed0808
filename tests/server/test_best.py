"""The best weights by validation loss lie beside the last ones, also after an interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.arrays import Unreadable, digest
from core.config.part import Part
from core.config.scenario import Scenario
from core.curves import Point
from core.data import load
from fl.channel import Stopped
from server import best, evaluation
from server.record import BestRound, Report
from tests.fakes import START, Onlooker, federate, same
from tests.models import engine


def history(*losses: float | None) -> list[Point]:
    return [Point(0.9, i, 0.3, loss) for i, loss in enumerate(losses, 1)]


def moved(by: int) -> list[np.ndarray]:
    return [w + w.dtype.type(by) for w in START]


def test_only_a_better_round_takes_the_place(tmp_path: Path) -> None:
    losses = [0.5, 0.2, 0.3, 0.2, 0.1, 0.4]
    kept = []
    for number in range(1, len(losses) + 1):
        best.keep(tmp_path, history(*losses[:number]), moved(number))
        kept.append(best.weights(tmp_path / best.BEST)[0])
    assert kept == [1, 2, 2, 2, 5, 5]
    round_, arrays = best.weights(tmp_path / best.BEST)
    assert same(arrays, moved(round_))
    assert best.best_round(tmp_path, history(*losses)) == BestRound(0.9, 5, 0.3, 0.1, digest(moved(5)))


def test_without_validation_images_nothing_is_best(tmp_path: Path) -> None:
    best.keep(tmp_path, history(None, None), START)
    assert not list(tmp_path.iterdir()) and best.best_round(tmp_path, history(None, None)) is None


@pytest.mark.parametrize("damage", ["gone", "cut", "of another round"])
def test_weights_that_are_not_those_of_the_best_round_are_not_called_so(damage: str, tmp_path: Path) -> None:
    best.keep(tmp_path, history(0.5), START)
    file = tmp_path / best.BEST
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:100])
    found = best.best_round(tmp_path, history(0.5, 0.1) if damage == "of another round" else history(0.5))
    assert found and found.weights_sha256 is None and found.round in (1, 2)


def test_a_file_without_a_round_is_refused_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", weight0=START[0])
    with pytest.raises(Unreadable, match=r"x\.npz"):
        best.weights(tmp_path / "x.npz")


@pytest.fixture(scope="module")
def broken_run(tiny: Scenario, tmp_path_factory: pytest.TempPathFactory) -> tuple[Scenario, Path, Report]:
    """A run that breaks after its best round: its rate is far too large."""
    scenario = replace(
        tiny, train=400, clients=3, cohort=3, rounds=5, looks=(), augment=(), schedule=Part("constant"),
        local=replace(tiny.local, rate=0.6), max_update_ratio=1e9,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("whole")
    return scenario, folder, federate(scenario, folder)


def test_the_best_weights_of_a_run_have_the_loss_that_the_report_says(
    broken_run: tuple[Scenario, Path, Report],
) -> None:
    scenario, folder, report = broken_run
    round_, arrays = best.weights(folder / best.BEST)
    losses = [row.validation_loss for row in report.history if row.validation_loss is not None]
    assert round_ == 1 + losses.index(min(losses)) < 5  # else the test would not tell best from last
    found = report.best["federated"]
    assert found and found.round == round_ and found.weights_sha256 == digest(arrays) != report.weights_sha256
    assert evaluation.evaluate(engine, arrays, load(scenario).validation).mean_loss == min(losses)


@pytest.mark.parametrize("at", [2, 3, 5])
def test_a_run_that_was_interrupted_leaves_the_same_file(
    at: int, broken_run: tuple[Scenario, Path, Report], tmp_path: Path
) -> None:
    scenario, folder, report = broken_run
    with pytest.raises(Stopped):
        federate(scenario, tmp_path, Onlooker(at))
    (tmp_path / best.BEST).unlink()  # as if power was lost between a checkpoint and what follows it
    assert federate(scenario, tmp_path).best == report.best
    assert (tmp_path / best.BEST).read_bytes() == (folder / best.BEST).read_bytes()
