"""One run folder is one process's, from its first write to its last; whoever comes second is refused and changes no file."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.config.scenario import Scenario
from scenarios import export, run
from server.record import Version
from server.versions import keep

HOME = Path(__file__).parents[2]
HOLD = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from core.disk import hold
with hold(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""
# A run that waits at the beginning of each phase until its mark is taken away.
PAUSED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from scenarios.experiment import pipeline
from scenarios.run import main

def paused(name, phase):
    def wait(*arguments):
        mark = Path(sys.argv[2]) / name
        mark.touch()
        while mark.exists():
            time.sleep(0.02)
        return phase(*arguments)
    return wait

for name in ("_rounds", "_join_baselines", "_export", "_draw"):
    setattr(pipeline, name, paused(name, getattr(pipeline, name)))
sys.exit(main(sys.argv[3:]))
"""
Hold = Callable[[Path], None]


@pytest.fixture
def hold_elsewhere() -> Iterator[Hold]:
    """Lets another process hold folders, until the end of the test."""
    others = []

    def hold(folder: Path) -> None:
        other = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(HOME), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        others.append(other)
        assert other.stdout and other.stdout.readline() == "held\n"

    yield hold
    for other in others:
        other.communicate()


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a folder: what is in it, and when it was written; folders, too."""
    return {
        str(path.relative_to(folder)): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
    }


def refused(command: Callable[[list[str]], int], *words: str) -> None:
    with pytest.raises(SystemExit) as stop:
        command(list(words))
    assert stop.value.code == 2


@pytest.fixture
def finished(tiny: Scenario, tmp_path: Path) -> Path:
    """What a run leaves, as far as these commands look at it."""
    folder = tmp_path / "a run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "scenario.json").write_text(tiny.json())
    (folder / "report.json").write_text("{}")
    keep(folder, Version(1), [], {})
    return folder


@pytest.mark.parametrize("lock", [".", "checkpoints"])  # the driver's; that of the rounds, which may go on without one
@pytest.mark.parametrize("who", ["resume", "rollback", "export"])
def test_whoever_comes_second_is_refused_and_changes_no_file(
    who: str, lock: str, finished: Path, hold_elsewhere: Hold, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = {
        "resume": (run.main, "--resume", str(finished)),
        "rollback": (run.main, "--rollback", str(finished / "versions" / "1")),
        "export": (export.main, str(finished)),
    }
    hold_elsewhere(finished / lock)
    before = files(finished)
    refused(*commands[who])  # type: ignore[arg-type]
    assert files(finished) == before
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1 and f"{finished} is in use: another process is at a run there" in stderr


@pytest.mark.slow
def test_a_run_is_its_process_s_in_every_phase(tiny: Scenario, tmp_path: Path) -> None:
    """The rounds, waiting for baselines, exporting, drawing: a real second process finds the door shut each time."""
    folder, marks = tmp_path / "a run", tmp_path / "marks"
    folder.mkdir()
    marks.mkdir()
    (folder / "scenario.json").write_text(tiny.json())
    flags = ["--resume", str(folder), "--backend", "local", "--baselines", "none", "--quiet"]
    first = subprocess.Popen([sys.executable, "-c", PAUSED, str(HOME), str(marks), *flags], cwd=HOME)
    second = [sys.executable, "-m", "scenarios.run", *flags]
    try:
        for phase in ("_rounds", "_join_baselines", "_export", "_draw"):
            while not (marks / phase).exists():
                assert first.poll() is None
                time.sleep(0.02)
            before = files(folder)
            done = subprocess.run(second, cwd=HOME, capture_output=True, text=True, timeout=100)
            assert files(folder) == before, phase
            assert done.returncode == 2 and done.stderr.count("\n") == 1 and "is in use" in done.stderr, done.stderr
            (marks / phase).unlink()
        assert first.wait(100) == 0 and (folder / "report.html").exists()
    finally:
        first.kill()
        first.wait()


def test_an_app_s_folder_with_other_files_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, app = tmp_path / "run", tmp_path / "app"
    folder.mkdir()
    app.mkdir()
    (folder / "scenario.json").write_text(Scenario("app").json())
    (app / "MainActivity.kt").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        export.main([str(folder), "--android", str(app)])
    assert ended.value.code == 2 and "MainActivity.kt" in capsys.readouterr().err
    assert [file.name for file in folder.iterdir()] == ["scenario.json"]
