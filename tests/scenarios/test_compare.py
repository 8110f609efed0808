"""Many runs side by side: mean and spread over seeds, in one table, one picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.config.scenario import Scenario
from scenarios import compare
from server import record
from tests.fakes import federate


@pytest.fixture(scope="module")
def runs(tiny: Scenario, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs: two seeds of one scenario, and another."""
    folder, made = tmp_path_factory.mktemp("runs"), []
    for name, change in {"a": {}, "b": {"seed": 1}, "c": {"noise": 0.2}}.items():
        report = federate(replace(tiny, rounds=1, **change), folder / name)  # type: ignore[arg-type]
        record.save(folder / name, report.with_(seconds={**report.seconds, "total": 2.0}))
        made.append(folder / name)
    return made


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_runs_of_equal_settings_are_seeds_of_one(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([*map(str, runs), "--json", "--out", str(tmp_path)]) == 0
    rows = told(capsys)
    assert sorted(row["seeds"] for row in rows) == [[0], [0, 1]]
    accuracies = [json.loads((run / "report.json").read_text())["accuracy"] for run in runs]
    both = next(row for row in rows if len(row["seeds"]) == 2)
    assert both["accuracy"][0] == pytest.approx((accuracies[0] + accuracies[1]) / 2)
    assert both["accuracy"][1] == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5)
    assert both["centralized"] is None
    assert next(row for row in rows if len(row["seeds"]) == 1)["accuracy"][1] is None  # one seed has no deviation
    assert (tmp_path / "compare.png").stat().st_size > 1000


def test_the_table_has_a_row_a_group(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([*map(str, runs), "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "±" in said and "0, 1" in said and "compare.png" in said


def test_one_seed_has_no_deviation(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([str(runs[0]), "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out.partition("drawn")[0]
    assert "±" not in said and "deviation" not in said and "test accuracy, %" in said


@pytest.mark.parametrize("width", [80, 200])
def test_no_word_is_broken(
    width: int, runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert compare.main([*map(str, runs), "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if "drawn" not in line) <= width
    words = {word for line in lines for word in line.replace("│", " ").replace("┃", " ").split()}
    assert {"federated", "seeds", "examples", "seconds", "worst"} <= words


def test_what_diverged_is_named_below_the_table(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").mkdir()
    record.save(tmp_path / "broken", record.load(runs[0]).with_(diverged={"federated": "this run diverged"}))
    assert compare.main([str(tmp_path / "broken"), "--out", str(tmp_path)]) == 0
    assert "seed 0: this run diverged" in capsys.readouterr().out
    assert compare.main([str(tmp_path / "broken"), "--json", "--out", str(tmp_path)]) == 0
    assert told(capsys)[0]["diverged"] == ["seed 0: this run diverged"]


@pytest.mark.parametrize("content", [None, "", "{}", '{"history": []}', '{"schema": 2, "settings": {"name": "x"}}'])
def test_what_is_no_finished_run_is_refused_by_name(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "half").mkdir()
    if content is not None:
        (tmp_path / "half" / "report.json").write_text(content)
    with pytest.raises(SystemExit) as stop:
        compare.main([str(tmp_path / "half")])
    assert stop.value.code == 2 and "half" in capsys.readouterr().err
