"""Runs from Python: what is wrong is said first, a run leaves the caller's process as it is, and says what the report says."""

from __future__ import annotations

import doctest
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.config.scenario import Scenario
from core.curves import Point
from scenarios import api
from server import record, run_folder
from server.record import Continual, Measures, Report, RoundRecord

SMALL = {"train": 1200, "test": 400, "validation": 200, "clients": 4, "cohort": 2, "partition.alpha": 1.0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "nonid"}, ["'nonid'", "noniid"]),
        ({"set": {"partition": "halfs"}}, ["'halfs'", "dirichlet"]),
        ({"set": {"local.rate": "fast"}}, ["local.rate", "'fast'"]),
        ({"rounds": 0}, ["rounds = 0", "1"]),
        ({"plugins": ["no_such_module"]}, ["no_such_module"]),
        ({"source": "no/run"}, ["no/run"]),
        ({"backend": "rays"}, ["'rays'", "ray"]),
        ({"export": "most"}, ["'most'", "current"]),
        ({"track": ["tensor"]}, ["'tensor'", "tensorboard"]),
        ({"workers": 0}, ["workers = 0"]),
        ({"workers": "2"}, ["workers = '2'", "whole number"]),
        ({"workers": None}, ["workers = None", "whole number"]),
        ({"set": {"past": 1}}, ["past is what --from RUN sets"]),
        ({"worker": 2}, ["'worker'", "workers"]),
        ({"clients": 3}, ["clients is a setting: set={'clients': 3}"]),
        ({"track": "tensor"}, ["'tensor'", "tensorboard"]),
        ({"plugins": "no_such_module"}, ["no_such_module"]),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(arguments: dict, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:
        api.start(**{"name": "noniid", "out": tmp_path / "run"} | arguments)
    assert all(word in str(error.value) for word in words)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError, match="should be a folder that is empty"):
        api.start("noniid", out=tmp_path)
    with pytest.raises(ValueError, match="not the folder of a run"):
        api.Run.load(tmp_path)
    record.save(tmp_path, Report(Scenario("mine"), accuracy=0.3, history=(RoundRecord(1),)))
    (tmp_path / run_folder.CHECKPOINTS).mkdir()
    with pytest.raises(ValueError, match="not a finished run; go on with"):  # it was stopped while it exported
        api.Run.load(tmp_path)


def test_curves_are_columns_of_equal_length(tmp_path: Path) -> None:
    rows = [RoundRecord(n, accuracy=n / 10, loss=1 / n, seen=100 * n, tasks_accuracy=(n / 5, 0.0)) for n in (1, 2, 3)]
    staged = Continual(("0 1", "2 3"), (0, 1), (2, 3), ((0.4, 0.0), (0.6, 0.0)), Measures(0.3, 0.4, 0.0, 0.0, 0.0))
    beside = {"centralized": (Point(0.5, 1), Point(0.7, 3))}
    report = Report(Scenario("mine"), history=tuple(rows), curves=beside, continual=staged, seconds={"total": 1.0})
    record.save(tmp_path, replace(report, accuracy=0.3))
    found = api.Run.load(tmp_path).curves()
    assert {len(column) for column in found.values()} == {3}
    assert found["accuracy"] == [0.1, 0.2, 0.3] and found["examples"] == [100, 200, 300]
    assert found["centralized"] == [0.5, None, 0.7] and found["0 1"] == [0.2, 0.4, 0.6]
    (row,) = api.compare([tmp_path])
    with pytest.raises(ValueError, match="is named twice"):
        api.compare([tmp_path, api.Run(tmp_path)])
    assert row.accuracy == (0.3, None) and row.seeds == (0,)


def test_without_files_a_run_says_how_they_are_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no model\.tflite; make it"):
        api.Run(tmp_path).predict(np.zeros((1, 28, 28), np.uint8))
    with pytest.raises(ValueError, match=r"images should be uint8 \[n, rows, columns\], not float64 \[28, 28\]"):
        api.Run(tmp_path).predict(np.zeros((28, 28)))


@pytest.mark.slow
def test_the_doctests_pass_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before, failed = [os.fstat(n).st_ino for n in (1, 2)], []
    one = threading.Thread(target=lambda: failed.append(doctest.testmod(api).failed))
    one.start()
    one.join()
    assert failed == [0] and [os.fstat(n).st_ino for n in (1, 2)] == before


@pytest.mark.slow
def test_a_run_that_is_stopped_says_how_it_goes_on(tmp_path: Path) -> None:
    started = api.start("noniid", rounds=500, set=SMALL, out=tmp_path / "run", baselines="none", backend="local")
    assert next(iter(started)).round == 1
    started.stop()
    with pytest.raises(api.Failed, match=r"stopped; go on with: .*--resume") as failed:
        started.result()
    assert failed.value.folder == tmp_path / "run" and len(record.load_rounds(tmp_path / "run")) >= 1
