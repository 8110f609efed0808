"""What goes wrong at the door ends in one sentence and exit code 2, and names the file, the value, what to do."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.common.config import parse_config_args

from clients.pi import settings
from core.config.part import Part
from core.config.scenario import Scenario
from scenarios import compare, deploy, experiment, export, run
from scenarios.deployment import flwr_cli
from scenarios.environment import temporary
from scenarios.experiment import continuation, pipeline, start, workspace
from scenarios.experiment.again import flags
from scenarios.experiment.options import RunOptions
from server import record, run_folder, versions
from server.record import ExportedFile, Exports, Report, Version
from server.report.renew import renew
from tests.fakes import federate

HOME = Path(__file__).parents[2]
Say = pytest.CaptureFixture[str]
GARBLED = [b"", b'{"name": "x"', b"\xff\xfe{}", b"[" * 100_000, b"5"]


def refused(capsys: Say, command: Callable[[list[str]], int], *words: str) -> str:
    """What is said on standard error: one line, whose exit code is 2."""
    with pytest.raises(SystemExit) as stop:
        command(list(words))
    stderr = capsys.readouterr().err
    assert stop.value.code == 2 and stderr.count("\n") == 1 and "Traceback" not in stderr, stderr
    return stderr


@pytest.fixture
def finished(tiny: Scenario, tmp_path: Path) -> Path:
    """A run's folder with two versions, as far as these commands look at it."""
    folder = tmp_path / "a run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "scenario.json").write_text(tiny.json())
    (folder / "report.json").write_text("{}")
    for number in (1, 2):
        version = versions.keep(folder, Version(number), [], {})
        (version / "export.json").write_text('{"files": {}, "refused": {}}')
        versions.publish(folder, version)
    return folder


@pytest.fixture
def small(tiny: Scenario) -> list[str]:
    """The settings of a small run."""
    return ["iid", "--set", f"data={tiny.data}", "--set", "train=600", "--set", "validation=100"]


def test_an_out_below_a_file_is_refused(tmp_path: Path, small: list[str], capsys: Say) -> None:
    (tmp_path / "file").touch()
    refusal = refused(capsys, run.main, *small, "--out", str(tmp_path / "file" / "x"))
    assert f"{tmp_path / 'file' / 'x'} cannot be used as a run's folder: Not a directory" in refusal


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(28, "No space left on device")])
@pytest.mark.parametrize("where", ["mkdir", "placed"])
def test_a_folder_that_cannot_be_written_is_refused(
    error: OSError, where: str, tmp_path: Path, small: list[str], capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(*((Path, "mkdir") if where == "mkdir" else (workspace, "placed")), fails)  # type: ignore[arg-type]
    refusal = refused(capsys, run.main, *small, "--out", str(tmp_path / "new"))
    assert str(tmp_path / "new") in refusal and str(error.strerror) in refusal


def test_a_folder_that_another_run_took_in_the_meantime_is_refused(tiny: Scenario, tmp_path: Path) -> None:
    """Both found it empty; this one was slow to check its settings."""
    before = replace(tiny, seed=7).page()
    (tmp_path / "scenario.json").write_text(before)
    with pytest.raises(ValueError, match="holds another run by now"), workspace.opened(tiny, tmp_path, None):
        pass
    assert (tmp_path / "scenario.json").read_text() == before


@pytest.mark.parametrize("damage", ["lost", "torn"])
def test_a_run_whose_clients_lost_what_they_kept_is_not_gone_on_with(
    damage: str, tiny: Scenario, tmp_path: Path
) -> None:
    """It would end with other weights, and exit code 0."""
    learns = replace(tiny, stream=Part("classes", {"per_task": 5}), methods=(Part("replay"),), rounds=2)
    played = federate(learns, tmp_path).history
    pipeline._remembered(tmp_path, played)
    file = sorted((tmp_path / "clients").glob("client-*/round-*.npz"))[-1]
    file.unlink() if damage == "lost" else file.write_bytes(b"torn")
    with pytest.raises(ValueError, match="put it back from a copy, or begin anew") as refused:
        pipeline._remembered(tmp_path, played)
    assert str(file.parent) in str(refused.value)


def test_a_name_too_long_for_a_file_is_refused(small: list[str], capsys: Say) -> None:
    assert "too long" in refused(capsys, run.main, *small, "--out", "x" * 5000)
    assert "too long" in refused(capsys, run.main, "--resume", "x" * 5000)


@pytest.mark.parametrize("content", GARBLED, ids=range(len(GARBLED)))
def test_a_garbled_file_is_named(content: bytes, finished: Path, small: list[str], capsys: Say) -> None:
    (finished / "report.json").write_bytes(content)
    assert str(finished / "report.json") in refused(capsys, compare.main, str(finished))
    (finished / "scenario.json").write_bytes(content)
    for command in ([*small, "--from", str(finished)], ["--resume", str(finished)]):
        assert str(finished / "scenario.json") in refused(capsys, run.main, *command)
    assert str(finished / "scenario.json") in refused(capsys, export.main, str(finished))
    (finished / "node.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"node\.json"):
        settings.read(finished)


@pytest.mark.parametrize("name", ["runs.jsonl", "rounds.jsonl", "nodes.json", "scenario.json"])
def test_status_names_a_garbled_file(
    name: str, finished: Path, tmp_path: Path, capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    flwr_cli.configure(home, 8000)
    (home / "runs.jsonl").write_text(json.dumps({"folder": str(finished), "number": "7"}) + "\n")
    file = (home if name == "runs.jsonl" else finished) / name
    file.write_bytes(b'{"garbled')
    monkeypatch.setattr("scenarios.deployment.processes.running", lambda home: {"superlink": 1})
    monkeypatch.setattr(flwr_cli, "ask", lambda *arguments, **more: {"success": True, "nodes": []})
    assert str(file) in refused(capsys, deploy.main, "--home", str(home), "status")


def test_a_current_that_leads_nowhere_is_named_with_the_versions_there_are(
    finished: Path, small: list[str], capsys: Say
) -> None:
    shutil.rmtree(finished / "versions" / "0002")
    refusal = refused(capsys, run.main, *small, "--from", str(finished))
    assert str(finished / "versions" / "current") in refusal and "0002" in refusal
    assert str(finished / "versions" / "0001") in refusal  # what there is
    assert run.main(["--rollback", str(finished / "versions" / "1")]) == 0  # which is what to do
    assert versions.current(finished) == finished / "versions" / "0001"


@pytest.mark.slow
def test_a_run_whose_name_is_a_number_is_no_version(finished: Path, capsys: Say) -> None:
    one = finished.rename(finished.with_name("1"))
    said = refused(capsys, run.main, "--rollback", str(one))
    assert "no such version; choose from" in said and versions.linked(one) == versions.home(one, 2)


@pytest.mark.parametrize("path", ["/home/pi/my digits", 'a "b"', "it's here", "back\\slash", "ä/ö"])
def test_a_nodes_data_arrive_as_they_were_said(path: str) -> None:
    words = settings.options("h:1", Path("ca"), Path("key"), 1, {"client": 3, "data": path, "engine": ""})
    assert parse_config_args([words[-1]]) == {"client": 3, "data": path, "engine": ""}


@pytest.mark.parametrize("path", ["'\"", "'\\", "a\nb", "\udcff"])
def test_what_flowers_command_line_cannot_say_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="rename it"):
        settings.options("h:1", Path("ca"), Path("key"), 1, {"data": path})


def test_a_rollback_to_a_version_whose_files_cannot_be_made_changes_nothing(finished: Path, capsys: Say) -> None:
    (finished / "versions" / "0001" / "export.json").unlink()  # its weights are no model's
    refusal = refused(capsys, run.main, "--rollback", str(finished / "versions" / "1"))
    assert "files could not be made" in refusal and "scenarios.export" in refusal
    assert versions.current(finished) == finished / "versions" / "0002"


def test_a_library_that_cannot_be_loaded_is_said_on_the_screen(
    tiny: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Say
) -> None:
    monkeypatch.setattr(start, "opened", lambda *_: nullcontext({}))
    monkeypatch.setattr(start.Terminal, "listen", lambda self: None)
    monkeypatch.setitem(sys.modules, "scenarios.experiment.pipeline", None)
    monkeypatch.delattr(experiment, "pipeline", raising=False)
    assert start.run(tiny, tmp_path, RunOptions(backend="local")) == 1
    stderr = capfd.readouterr().err
    assert "failed: " in stderr and f"is in {tmp_path / 'run.log'}" in stderr.replace("\n", " ")


def test_a_hint_to_go_on_can_be_pasted(tmp_path: Path) -> None:
    folder, home = Path("a run's folder"), tmp_path / "my home"
    assert shlex.split(flwr_cli.resume(folder))[2:] == ["scenarios.run", "--resume", str(folder)]
    command = shlex.split(flwr_cli.resume(folder, home))
    assert command[2:] == ["scenarios.deploy", "--home", str(home), "run", "--resume", str(folder)]


def test_who_resumes_a_run_of_real_nodes_is_told_their_home(finished: Path, tmp_path: Path, capsys: Say) -> None:
    home = tmp_path / "my home"
    (finished / "id").write_text("a name")
    (finished / run_folder.FEDERATION).write_text(json.dumps({"home": str(home)}))
    assert flwr_cli.resume(finished, home) in refused(capsys, run.main, "--resume", str(finished))


def test_the_words_of_a_server_that_failed_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flwr").write_text(
        '#!/bin/sh\nprintf \'INFO\\nTraceback (most recent call last):\\n  File "a.py", line 1, in one\\n    one()\\n'
        '  File "b.py", line 2, in two\\n    two()\\n\\033[91mOSError: the disk is full\\n\\033[91mERROR: Exit Code: 201\\n\'\n'
    )
    (tmp_path / "flwr").chmod(0o755)
    monkeypatch.setattr(flwr_cli, "environment", lambda: os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    why, log = flwr_cli.error(tmp_path, "7")
    assert why.splitlines()[-1].endswith("OSError: the disk is full") and 'File "b.py", line 2' in why
    assert "\033" not in log and "Exit Code: 201" in log


def test_temporary_files_are_the_runs_own_and_what_a_kill_left_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")  # not deep, whatever this machine's is
    before, own = tempfile.gettempdir(), tmp_path / "run" / ".tmp"
    own.mkdir(parents=True)
    (own / "__autograph_generated_file_of_a_killed_run.py").touch()
    with temporary(own):
        assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(own) and not list(own.iterdir())
        assert os.environ["RAY_TMPDIR"] == before
    assert not own.exists() and tempfile.gettempdir() == before and "RAY_TMPDIR" not in os.environ


def test_sockets_have_a_short_path_where_the_temporary_folder_is_deep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("deep" * 20)))
    with temporary(tmp_path / "run" / ".tmp"):
        assert os.environ["RAY_TMPDIR"] == "/tmp"
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # who names one is taken at his word
    with temporary(tmp_path / "run" / ".tmp"):
        assert os.environ["RAY_TMPDIR"] == str(tmp_path)


KILLED = """
import os, sys, tempfile
sys.path.insert(0, sys.argv[1])
from scenarios.experiment import pipeline
from scenarios.run import main
pipeline._join_baselines = lambda *arguments: (tempfile.mkstemp("left"), os.kill(os.getpid(), 9))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_its_temporary_files_in_its_own_folder(tiny: Scenario, tmp_path: Path) -> None:
    """Libraries take theirs away only if the process ends well; a resumed run does it then."""
    folder, elsewhere = tmp_path / "a run", tmp_path / "tmp"
    for one in (folder, elsewhere):
        one.mkdir()
    (folder / "scenario.json").write_text(tiny.json())
    flags = ["--resume", str(folder), "--backend", "local", "--baselines", "none", "--quiet"]
    surroundings = os.environ | {"TMPDIR": str(elsewhere)}
    subprocess.run([sys.executable, "-c", KILLED, str(HOME), *flags], cwd=HOME, env=surroundings)
    assert list(folder.glob(".tmp/*left")) and not list(elsewhere.iterdir())
    subprocess.run([sys.executable, "-m", "scenarios.run", *flags], cwd=HOME, env=surroundings, check=True)
    assert not (folder / ".tmp").exists() and not list(elsewhere.iterdir())


def test_a_hint_to_go_on_says_all_that_must_be_said_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wish = RunOptions(backend="local", baselines="all")
    assert flags(wish) == " --baselines all --backend local" and flags(RunOptions()) == ""
    monkeypatch.setenv("RAY_ADDRESS", "there:1")
    assert flags(RunOptions()) == " --backend processes"  # else it would go on with Ray
    monkeypatch.delenv("RAY_ADDRESS")
    assert flwr_cli.resume(tmp_path / "a run", how=flags(wish)).endswith(
        f"--resume '{tmp_path}/a run' --baselines all --backend local"
    )
    monkeypatch.setenv("PATH", str(tmp_path))  # no `python` there
    assert flwr_cli.python() in (sys.executable, os.path.relpath(sys.executable))


def test_a_rollback_is_said_in_the_runs_report_and_page(tmp_path: Path) -> None:
    for number in (1, 2):
        about = Version(number, objections=("too weak",) * (2 - number))
        versions.keep(tmp_path, about, [np.zeros(1, np.float32)], {})
        (versions.home(tmp_path, number) / "export.json").write_text(json.dumps({"files": {}, "refused": {}}))
    versions.publish(tmp_path, versions.home(tmp_path, 2))
    record.save(tmp_path, Report(Scenario("x"), current=2, seconds={"total": 1.0}))
    sentence = continuation.rollback(tmp_path / "versions" / "1")
    assert "version 0001 is current, instead of 0002" in sentence and "too weak" in sentence
    report = record.load(tmp_path)
    assert report.current == 1 and report.events == ("version 1 was made current by --rollback",)
    assert "made current by --rollback" in (tmp_path / "report.html").read_text()
    continuation.rollback(tmp_path / "versions" / "1")  # which changes nothing
    assert record.load(tmp_path).events == report.events
    assert pipeline._taken_back(record.finished(tmp_path)) == (1, list(report.events))  # which a resumed run keeps
    (tmp_path / "report.json").rename(tmp_path / "report.before.json")  # where one that goes on with it puts it aside
    assert pipeline._taken_back(record.finished(tmp_path)) == (1, list(report.events))
    record.save(tmp_path, report.with_(seconds={"training": 1.0}, current=None))  # and it, too, was stopped
    continuation.rollback(tmp_path / "versions" / "2")
    assert record.finished(tmp_path).current == 2 and not (tmp_path / "report.before.json").exists()  # type: ignore[union-attr]
    record.save(tmp_path, report.with_(seconds={"training": 1.0}))  # its rounds went on meanwhile
    assert pipeline._taken_back(record.finished(tmp_path)) == (None, [])


def test_files_that_were_made_anew_are_in_report_page_and_card(tmp_path: Path) -> None:
    made = Exports(images=7, files={"model.fp16.tflite": ExportedFile(450_000, 0.9, 0.0, 1.0)})
    report = Report(Scenario("x"), current=1, seconds={"total": 1.0})
    record.save(tmp_path, report)
    renew(tmp_path, exports=made)
    assert record.load(tmp_path).exports == made
    assert all("model.fp16.tflite" in (tmp_path / name).read_text() for name in ("report.html", "README.md"))


def test_a_run_that_is_not_finished_gets_no_page(tmp_path: Path) -> None:
    """Its server has ended, and its exports are still to come."""
    record.save(tmp_path, Report(Scenario("x"), seconds={"training": 1.0}))
    renew(tmp_path, exports=Exports(images=7))
    renew(tmp_path / "nowhere")
    assert record.load(tmp_path).exports == Exports() and not (tmp_path / "report.html").exists()


def test_without_a_name_a_runs_own_scenario_goes_on(finished: Path, tiny: Scenario, capsys: Say) -> None:
    assert run.main(["--from", str(finished), "--set", "local.epochs=2", "--show"]) == 0
    shown = Scenario.of(capsys.readouterr().out)
    assert shown == replace(tiny, classes=10, past=1, local=replace(tiny.local, epochs=2))
    assert "--from nowhere: no run there" in refused(capsys, run.main, "--from", "nowhere")


def test_on_real_nodes_a_run_names_all_those_before_it(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "weights", lambda version: [np.zeros(3, np.float32)])
    monkeypatch.setattr(versions, "shared", lambda version: {})
    (finished / "id").write_text("b")
    (finished / "before").write_text("a simulation")
    with pytest.raises(ValueError, match=r"memories are on devices of their own; use: .* run NAME --from"):
        continuation.begin(finished, tmp_path / "no")
    continuation.begin(finished, tmp_path / "new", real=True)
    assert (tmp_path / "new" / "before").read_text() == "b a simulation"
    assert not (tmp_path / "new" / "clients").exists()
    (finished / "id").unlink()  # a simulation: its clients' memories stay where they are
    continuation.begin(finished, tmp_path / "other", real=True)
    assert (tmp_path / "other" / "before").read_text() == continuation.SIMULATED
