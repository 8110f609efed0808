"""The real command: what it leaves, and that no worker, backend or interruption changes the weights."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core import processes

pytestmark = pytest.mark.slow

HOME = Path(__file__).parents[1]
# Small, yet it learns enough for the int8 file to be as good as the others; round 2 is long enough to be hit inside.
CHANGES = (
    "train=2000", "test=500", "validation=200", "clients=4", "cohort=4", "partition.alpha=1", "local.epochs=3",
    "local.rate=0.05", "local.momentum=0.9", "looks=blur",
)  # fmt: skip
SETTINGS = ["noniid", "--rounds", "3", *(word for change in CHANGES for word in ("--set", change))]
KEYS = [
    "schema", "scenario", "seed", "rounds", "clients", "accuracy", "loss", "baselines", "best", "diverged", "weights_sha256",
    "seconds", "exports", "current", "folder",
]  # fmt: skip


@dataclass
class Run:
    """A finished run."""

    folder: Path
    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.folder / "report.json").read_text())  # type: ignore[no-any-return]

    @property
    def sha(self) -> str:
        return str(self.report["weights_sha256"])


@contextmanager
def hearing() -> Iterator[None]:
    """What starts in here hears Ctrl-C, as in a terminal: what a shell starts in the background ignores it, and hands that on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def started(folder: Path, *words: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process group of its own, as a terminal gives it one; all of it is gone at the end. variables: of its
    environment."""
    command = [sys.executable, "-m", "scenarios.run", *words]
    environment = {k: v for k, v in os.environ.items() if k not in ("CLIENTS_HOME", "RAY_ADDRESS")} | variables
    with hearing():
        process = subprocess.Popen(
            command, cwd=HOME, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def run(folder: Path, *words: str) -> Run:
    """From beginning to end."""
    with started(folder, *words) as process:
        out, err = process.communicate(timeout=300)
    return Run(folder, process.returncode, out, err)


def fresh(folder: Path, *words: str) -> list[str]:
    return [*SETTINGS, "--json", "--baselines", "none", "--workers", "2", "--out", str(folder), *words]


def inside(folder: Path, number: int, process: subprocess.Popen[str]) -> tuple[int, int]:
    """Wait until a worker of this process plays some client's round; returns the client and the worker's process."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        for mark in sorted((folder / "clients").glob(f"client-*/round-{number:04d}.begun")):
            try:
                worker = mark.read_text().partition(":")[2]
            except OSError:  # it has just ended
                continue
            if worker and descends(int(worker), process.pid):  # else an earlier process's, that was killed
                return int(mark.parent.name.split("-")[1]), int(worker)
        time.sleep(0.005)
    process.kill()
    raise AssertionError(f"round {number} was never seen; the command said: {process.communicate()[1]}")


def parent(pid: int) -> int:
    """The process that started this one; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def descends(pid: int, ancestor: int) -> bool:
    while pid > 1 and pid != ancestor:
        pid = parent(pid)
    return pid == ancestor


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An undisturbed run on two workers, with all baselines."""
    folder = tmp_path_factory.mktemp("runs") / "reference"
    return run(folder, *fresh(folder, "--baselines", "all"))


def test_a_run_leaves_every_file_it_promises(reference: Run) -> None:
    assert reference.code == 0, reference.err
    left = {path.name for path in reference.folder.iterdir()}
    assert left >= {
        "scenario.json", "rounds.jsonl", "report.json", "report.html", "model.keras", "model.tflite",
        "model.int8.tflite", "model.onnx", "export.json", "run.log", "checkpoints",
        "options.json",
    }  # fmt: skip
    assert {"accuracy.png", "confusion.png", "labels.png", "looks.png", "drift.png"} <= left
    assert all((reference.folder / name).stat().st_size > 0 for name in left)
    assert not [name for name in left if name.endswith((".refused", ".writing")) or name.startswith(".")]
    assert sorted(p.name for p in (reference.folder / "checkpoints").iterdir()) == [
        "round-00002.npz",
        "round-00003.npz",
    ]


def test_standard_output_is_one_line_of_json(reference: Run) -> None:
    (line,) = reference.out.splitlines()
    summary, report = json.loads(line), reference.report
    assert list(summary) == KEYS and all(report[key] == summary[key] for key in KEYS)
    assert (summary["scenario"], summary["rounds"], summary["clients"]) == ("noniid", 3, 4)
    assert set(summary["baselines"]) == {"centralized", "fedavg", "local"} and summary["folder"] == str(
        reference.folder
    )
    assert 0.5 < summary["accuracy"] <= 1 and re.fullmatch("[0-9a-f]{64}", summary["weights_sha256"])
    assert set(summary["exports"]["files"]) == {"model.keras", "model.tflite", "model.int8.tflite", "model.onnx"}


def test_what_a_person_sees_is_progress_and_no_chatter_of_libraries(reference: Run) -> None:
    assert [line for line in reference.err.splitlines() if line.startswith("round ")][-1].startswith("round 3/3")
    assert not re.search("WARNING|INFO|absl|raylet|tensorflow/|Traceback|cuda", reference.err)
    assert "configure_train" in (reference.folder / "run.log").read_text()


def test_the_report_is_whole_and_nothing_went_wrong(reference: Run) -> None:
    report = reference.report
    assert report["events"] == []
    lines = [json.loads(line) for line in (reference.folder / "rounds.jsonl").read_text().splitlines()]
    assert lines == report["history"] and [one["round"] for one in lines] == [1, 2, 3]
    assert all(one["clients"] == [0, 1, 2, 3] and one["failed"] == one["retried"] == {} for one in lines)
    assert report["exports"] == json.loads((reference.folder / "export.json").read_text())


def test_a_run_is_not_started_over_another(reference: Run) -> None:
    before = (reference.folder / "report.json").read_bytes()
    again = run(reference.folder, *fresh(reference.folder))
    assert again.code == 2 and "not empty" in again.err and again.out == ""
    assert (reference.folder / "report.json").read_bytes() == before


@pytest.mark.parametrize(
    "words", [["--backend", "local", "--export", "none"], ["--workers", "1", "--profile"]], ids=" ".join
)
def test_backend_and_workers_change_nothing(reference: Run, words: list[str], tmp_path: Path) -> None:
    other = run(tmp_path / "run", *fresh(tmp_path / "run", *words))
    assert other.code == 0, other.err
    assert other.sha == reference.sha
    for shown in ("clients at work", "exports", "fork server", "worker 1") if "--profile" in words else ():
        assert shown in other.err
    for one, mine in zip(reference.report["history"], other.report["history"], strict=True):
        assert {k: v for k, v in one.items() if k != "seconds"} == {k: v for k, v in mine.items() if k != "seconds"}


def killed(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL


def interrupted(process: subprocess.Popen[str]) -> None:
    """As Ctrl-C does: every process of the terminal's group gets it."""
    os.killpg(process.pid, signal.SIGINT)
    assert_resume_named(process)


def terminated(process: subprocess.Popen[str]) -> None:
    """As a service manager does: only the run itself gets it."""
    os.kill(process.pid, signal.SIGTERM)
    assert_resume_named(process)


def assert_resume_named(process: subprocess.Popen[str]) -> None:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == ""
    assert re.search(r"go on with: \S+ -m scenarios.run --resume \S+", err), err


def fork_server(process: subprocess.Popen[str]) -> int:
    """Wait until this run has started its fork server, which then loads for some seconds; its process."""
    end, children = time.monotonic() + 120, Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while time.monotonic() < end and process.poll() is None:
        for pid in children.read_text().split():
            with suppress(OSError):  # it has just ended
                if b"multiprocessing.forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
        time.sleep(0.005)
    raise AssertionError("there was no fork server")


@pytest.mark.parametrize("moment", ["the run loads", "the run waits for it"])
def test_ctrl_c_while_the_fork_server_loads_is_answered_calmly(moment: str, tmp_path: Path) -> None:
    with started(tmp_path / "run", *fresh(tmp_path / "run")) as process:
        loading = fork_server(process)
        while moment == "the run waits for it" and process.stderr and "into" not in process.stderr.readline():
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and out == "" and not re.search("failed|Traceback|Error", err), err
    assert err.splitlines()[-1].startswith("stopped; go on with: ") and "--resume" in err
    log = (tmp_path / "run" / "run.log").read_text()
    assert "KeyboardInterrupt" not in log and "EOFError" not in log
    end = time.monotonic() + 10
    while processes.by_pid(loading) and time.monotonic() < end:
        time.sleep(0.05)
    assert processes.by_pid(loading) is None


def test_ctrl_c_before_a_run_has_a_folder_is_answered_in_a_line(tmp_path: Path) -> None:
    module = tmp_path / "asks_to_stop.py"
    module.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = run(tmp_path / "run", *fresh(tmp_path / "run", "--plugin", str(module)))
    assert (done.code, done.out, done.err) == (130, "", "stopped; to go on, give the same command again\n")
    assert not (tmp_path / "run").exists()


def test_a_run_interrupted_inside_a_round_again_and_again_goes_on_to_the_same_weights(
    reference: Run, tmp_path: Path
) -> None:
    """SIGKILL, Ctrl-C and SIGTERM, one after another to one run: each time it goes on after its last whole round."""
    folder = tmp_path / "run"
    words = fresh(folder)
    for number, interrupt in ((2, killed), (2, interrupted), (3, terminated)):
        with started(folder, *words) as process:
            inside(folder, number, process)
            interrupt(process)
        kept = [f"round-{n:05d}.npz" for n in range(1, number)]
        assert sorted(p.name for p in (folder / "checkpoints").glob("round-*.npz")) == kept
        assert not (folder / "report.json").exists()
        words = ["--resume", str(folder), "--json", "--baselines", "none", "--workers", "2"]
    rest = run(folder, *words)
    assert rest.code == 0, rest.err
    assert rest.sha == reference.sha and "resumed after round 2" in rest.err
    assert [one["round"] for one in rest.report["history"]] == [1, 2, 3]


@pytest.mark.parametrize("backend, title", [("processes", "multiprocessing.forkserver"), ("ray", "ray::Player")])
def test_a_worker_killed_inside_a_round_is_replaced_and_named_and_changes_nothing(
    reference: Run, tmp_path: Path, backend: str, title: str
) -> None:
    folder = tmp_path / "run"
    with started(folder, *fresh(folder, "--backend", backend, "--export", "none")) as process:
        client, worker = inside(folder, 2, process)
        assert title in Path(f"/proc/{worker}/cmdline").read_text() and descends(worker, process.pid)
        os.kill(worker, signal.SIGKILL)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    done = Run(folder, 0, out, err)
    assert done.sha == reference.sha
    retried = done.report["history"][1]["retried"]
    assert any(who.endswith(f":{worker}") for who in retried.values()) and str(client) in retried
    assert any(f":{worker} was lost while it played client {client}" in event for event in done.report["events"])
    assert f":{worker} was lost" in (folder / "report.html").read_text()
