"""A trainer beside a node does what the node's own process would do, to the same bits; without it nothing is missing."""

from __future__ import annotations

import logging
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clients import trainer
from core import processes
from core.config.scenario import Scenario
from core.disk import hold
from tests.clients.test_app import ask, play

CODE = Path(__file__).parents[2]


@pytest.fixture
def socket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short path: a unix socket's path has a limit. The node's processes know it."""
    with tempfile.TemporaryDirectory(prefix="a % home ü ") as folder:
        monkeypatch.setenv(trainer.SOCKET, f"{folder}/trainer")
        yield Path(folder) / "trainer"


@pytest.fixture
def serving(socket: Path, home: Path) -> Iterator[Path]:
    server = trainer.serve(socket)
    yield socket
    server.stop(None).wait()


def test_it_answers_what_the_node_itself_would(
    serving: Path, tiny: Scenario, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    together = [play(ask(tiny, kind), client=2) for kind in ("train", "evaluate")]
    monkeypatch.delenv(trainer.SOCKET)
    alone = [play(ask(tiny, kind), client=2) for kind in ("train", "evaluate")]
    for mine, theirs in zip(together, alone, strict=True):
        # How long it took is its own
        numbers, same = ({**one["metrics"], "seconds": 0.0, "processor": 0.0} for one in (mine, theirs))
        assert list(mine) == list(theirs) and numbers == same
        for key, record in theirs.array_records.items():
            assert all(np.array_equal(mine[key][name].numpy(), record[name].numpy()) for name in record)
    assert not caplog.records


def test_its_failures_are_told_in_their_own_words(serving: Path, tiny: Scenario) -> None:
    with pytest.raises(RuntimeError, match="this node plays client 3, not 2"):
        play(ask(tiny, "train"), client=3)


def test_only_its_owner_can_open_it(serving: Path) -> None:
    mode = serving.stat().st_mode
    assert stat.S_ISSOCK(mode) and not stat.S_IMODE(mode) & 0o077


@pytest.mark.parametrize("why", ["nobody is there", "it runs other code"])
def test_whoever_finds_no_fitting_trainer_does_the_work_itself(
    why: str,
    socket: Path,
    home: Path,
    tiny: Scenario,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)
    if why == "it runs other code":
        server = trainer.serve(socket)
        codes = iter(["of the message", trainer.code()])  # the asker's, then what the trainer finds on its disk
        monkeypatch.setattr(trainer, "code", lambda: next(codes))
    assert play(ask(tiny, "train"), client=2).array_records["arrays"]
    assert any("this process does" in record.getMessage() for record in caplog.records)
    if why == "it runs other code":
        server.stop(None).wait()


def test_a_place_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 100 bytes"):
        trainer.serve(tmp_path / ("x" * 101))


def test_it_is_there_while_its_node_is(socket: Path) -> None:
    """`resident SOCKET -- COMMAND` becomes the command; the trainer sees it end, however it does."""
    node = subprocess.Popen([sys.executable, "-m", "clients.trainer", str(socket), "--", "sleep", "60"], cwd=CODE)
    end = time.monotonic() + 30
    while not socket.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert socket.exists() and Path(f"/proc/{node.pid}/cmdline").read_bytes().startswith(b"sleep")
    os.kill(node.pid, 9)
    node.wait()
    while socket.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not socket.exists()


def test_a_second_trainer_waits_for_the_place(socket: Path) -> None:
    trainer = [sys.executable, "-m", "clients.trainer", str(socket)]
    with hold(socket.parent):
        second = subprocess.Popen(trainer, cwd=CODE)
        time.sleep(2)
        assert not socket.exists() and second.poll() is None
    end = time.monotonic() + 30
    while not socket.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert socket.exists()
    second.kill()
    second.wait()


def test_one_that_died_is_started_again_by_the_next_message(
    socket: Path, home: Path, tiny: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That message's own process does its work; the one after is the new trainer's, which ends with the node, too."""

    def come(there: bool) -> bool:
        last = time.monotonic() + 60
        while socket.exists() != there and time.monotonic() < last:
            time.sleep(0.05)
        return socket.exists() == there

    node = subprocess.Popen([sys.executable, "-m", "clients.trainer", str(socket), "--", "sleep", "300"], cwd=CODE)
    try:
        assert come(there=True)
        for variable in (
            Path(f"/proc/{node.pid}/environ").read_text().split("\0")
        ):  # what it hands to a message's process
            name, _, value = variable.partition("=")
            if name in (trainer.OWNER, trainer.CODE):
                monkeypatch.setenv(name, value)
        (first,) = processes.marked(trainer.OWNER, os.environ[trainer.OWNER]) - {processes.by_pid(node.pid)}
        os.kill(first.pid, signal.SIGKILL)
        while processes.by_pid(first.pid):
            time.sleep(0.05)
        socket.unlink()  # what it left behind: else nothing shows when the next one is there
        content = ask(tiny, "train").content
        assert trainer.ask("train", content, {"client": 2}) == (None, "") and come(there=True)
        answer, _ = trainer.ask("train", content, {"client": 2, "memory": str(home)})
        assert answer and answer.array_records["arrays"]
        assert trainer.main([str(socket), "--if-none"]) == 0  # one is there: a second ends at once
    finally:
        node.kill()
        node.wait()
    assert come(there=False)


def test_a_node_that_cannot_start_leaves_no_trainer(socket: Path) -> None:
    trainer = [sys.executable, "-m", "clients.trainer", str(socket), "--", "no-such-node"]
    done = subprocess.run(trainer, cwd=CODE, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "no-such-node: no such program" in done.stderr and not socket.exists()


# A node that starts a process for a message, as Flower does, and is gone before it has ended.
NODE = """
import signal, subprocess, sys, time
work = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(100)"
print(subprocess.Popen([sys.executable, "-c", work], start_new_session=True).pid, flush=True)
time.sleep(100)
"""


@pytest.mark.slow
def test_what_a_node_has_started_does_not_outlive_it(socket: Path) -> None:
    """Flower's processes for messages go on when their node ends: the trainer ends them."""
    command = [sys.executable, "-m", "clients.trainer", str(socket), "--", sys.executable, "-c", NODE]
    node = subprocess.Popen(command, cwd=CODE, stdout=subprocess.PIPE, text=True)
    assert node.stdout
    work, end = int(node.stdout.readline()), time.monotonic() + 40
    while not socket.exists() and time.monotonic() < end:
        time.sleep(0.05)
    node.terminate()
    node.wait()
    while Path(f"/proc/{work}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    there = Path(f"/proc/{work}").exists()
    if there:
        os.kill(work, signal.SIGKILL)
    assert not there


@pytest.mark.slow
def test_a_nodes_processes_leave_their_temporary_files_in_its_home(socket: Path) -> None:
    (socket.parent / "tmp").mkdir()
    (socket.parent / "tmp" / "__autograph_generated_file_of_before.py").touch()
    code = "import os, tempfile; print(tempfile.gettempdir(), os.listdir(tempfile.gettempdir()))"
    command = [sys.executable, "-m", "clients.trainer", str(socket), "--", sys.executable, "-c", code]
    done = subprocess.run(command, cwd=CODE, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == f"{socket.parent / 'tmp'} []"
