"""One preset over several seeds: each run is a process of its own, what is finished stays, what was stopped goes on."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scenarios import run, seeds
from scenarios.experiment import baselines, pipeline
from scenarios.experiment.options import RunOptions
from scenarios.presets import SCENARIOS
from server import record, run_folder
from server.record import Report

NONIID = SCENARIOS["noniid"][0]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of the processes that would be started; each ends at once, well."""
    commands: list[list[str]] = []

    class Ended:
        def __init__(self, command: list[str]) -> None:
            commands.append(command[1:])

        def wait(self) -> int:
            return (
                130 if "--resume" in commands[-1] and "stops" in commands[-1][commands[-1].index("--resume") + 1] else 0
            )

    monkeypatch.setattr(subprocess, "Popen", Ended)
    monkeypatch.setattr(seeds.compare, "main", lambda argv: 0)
    return commands


def finished(home: Path, seed: int) -> None:
    report = Report(replace(NONIID, seed=seed), accuracy=0.9, seconds={"total": 1.0})
    home.mkdir(parents=True)
    record.save(home, report)
    record.write(home / run_folder.SCENARIO, report.settings.page())


def test_each_seed_is_a_process_and_what_is_finished_stays(tmp_path: Path, started: list[list[str]]) -> None:
    finished(tmp_path / "0", 0)
    record.write(tmp_path / "1" / run_folder.SCENARIO, replace(NONIID, seed=1).page())  # it was stopped
    assert seeds.run(NONIID, tmp_path, RunOptions(baselines="all"), range(3)) == 0
    resumed, new = started
    assert resumed[:4] == ["-m", "scenarios.run", "--resume", str(tmp_path / "1")]
    assert new[:5] == ["-m", "scenarios.run", "noniid", "--seed", "2"] and str(tmp_path / "2") in new


def test_a_wish_to_stop_is_the_runs_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM reaches one process only, unlike a terminal's Ctrl-C."""
    signals: list[int] = []

    class Running:
        def __init__(self, command: list[str]) -> None: ...

        def wait(self) -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            return 130 if signals else 0

        def send_signal(self, number: int) -> None:
            signals.append(number)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(subprocess, "Popen", Running)
    assert seeds.run(NONIID, tmp_path, RunOptions(), range(2)) == 130
    assert signals == [signal.SIGTERM] and signal.getsignal(signal.SIGTERM) == before


def test_settings_that_no_command_says_are_refused_in_a_sentence(tmp_path: Path, started: list[list[str]]) -> None:
    elsewhere = replace(NONIID, name="elsewhere", data=str(tmp_path / "gone"))
    with pytest.raises(ValueError, match="seed 0 of elsewhere cannot be run in a process of its own: no command line"):
        seeds.run(elsewhere, tmp_path, RunOptions(), range(2))
    assert started == []


def test_quiet_prints_no_table_and_what_is_finished_is_named_otherwise(
    tmp_path: Path, started: list[list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(tmp_path / "0", 0)
    monkeypatch.setattr(seeds.compare, "main", lambda argv: print("a table") or 0)
    assert seeds.run(NONIID, tmp_path, RunOptions(quiet=True), range(1)) == 0
    assert capsys.readouterr() == ("", "")
    assert seeds.run(NONIID, tmp_path, RunOptions(), range(1)) == 0
    out, err = capsys.readouterr()
    assert out == "a table\n" and f"{tmp_path / '0'} is finished, and stays as it is" in err


def test_a_run_that_is_stopped_stops_the_rest(
    tmp_path: Path, started: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "stops" / "0"
    record.write(home / run_folder.SCENARIO, NONIID.page())
    assert seeds.run(NONIID, tmp_path / "stops", RunOptions(), range(2)) == 130 and len(started) == 1
    assert "all 2 seeds, give the same command again" in capsys.readouterr().err


def test_runs_of_other_settings_are_not_touched(tmp_path: Path, started: list[list[str]]) -> None:
    record.write(tmp_path / "1" / run_folder.SCENARIO, replace(NONIID, seed=1, rounds=3).page())
    with pytest.raises(ValueError, match="1 holds a run of other settings"):
        seeds.run(NONIID, tmp_path, RunOptions(), range(2))
    assert not started


@pytest.mark.parametrize("line, words", [
    ("noniid --seeds 0", "--seeds 0 should be 1 or more"),
    ("noniid --seeds 2 --json", "not with --from, --json"),
    ("--resume . --seeds 2", "--resume goes on with the run's own scenario"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(line: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run.main(line.split())
    assert ended.value.code == 2 and words in capsys.readouterr().err


def test_plain_fedavg_is_a_baseline_where_the_run_is_not_it() -> None:
    ours = NONIID.with_(("strategy", "scaffold"), ("softmax", "balanced"), ("local.momentum", "0"))
    plain: Any = baselines.reduced(ours, "fedavg")
    assert (plain.strategy.name, plain.softmax.name, plain.local) == ("fedavg", "plain", ours.local)
    for scenario, wanted in ((ours, True), (ours.with_(("strategy", "fedavg"), ("softmax", "plain")), False)):
        assert pipeline._comparable(scenario, "fedavg") is wanted
    assert pipeline._comparable(ours.with_(("strategy", "fedavg")), "fedavg")  # its softmax is not plain


def test_of_a_crowd_nobody_is_trained_alone() -> None:
    for clients, wanted in ((baselines.CROWD, True), (baselines.CROWD + 1, False)):
        assert pipeline._comparable(NONIID.with_(("clients", str(clients))), "local") is wanted


def test_a_centralized_rate_is_that_baselines_alone() -> None:
    tuned = replace(NONIID, centralized_rate=0.07)
    assert baselines.reduced(tuned, "centralized").local.rate == 0.07
    for kind in ("fedavg", "local", "joint"):
        assert baselines.reduced(tuned, kind) == baselines.reduced(replace(NONIID, centralized_rate=0.0), kind)
