"""Processes are found by what they inherit, however they were started, and no others are ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.processes import Process, age, cpu_seconds, end, family, marked, memory

# Starts, in a session of its own, a process that does not end when it is asked; then ends itself.
ORPHAN = """
import subprocess, sys
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
"""


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[Process]:
    """A process that outlives whoever started it, in another session."""
    subprocess.run([sys.executable, "-c", ORPHAN], env=os.environ | {"A_MARK": str(tmp_path)}, check=True)
    (process,) = marked("A_MARK", str(tmp_path))
    yield process
    end(lambda: marked("A_MARK", str(tmp_path)), 0)


def test_an_orphan_in_a_session_of_its_own_is_found_and_ended(orphan: Process, tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"], env=os.environ | {"A_MARK": f"{tmp_path}x"})
    try:
        end(lambda: marked("A_MARK", str(tmp_path)), 0.5)
        last = time.monotonic() + 5
        while marked("A_MARK", str(tmp_path)) and time.monotonic() < last:
            time.sleep(0.02)
        assert marked("A_MARK", str(tmp_path)) == set() and stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_number_that_is_given_again_is_another_process(orphan: Process) -> None:
    end(lambda: {Process(orphan.pid, orphan.started - 1)}, 0)
    assert Path(f"/proc/{orphan.pid}").exists()


def test_a_family_is_this_process_and_what_descends_from_it() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True) as child:
        try:
            end_ = time.monotonic() + 5
            while len(family()) < 3 and time.monotonic() < end_:
                time.sleep(0.02)
            found = {process.pid: parent for process, parent in family().items()}
            assert found[os.getpid()] == 0 and found[child.pid] == os.getpid() and child.pid in found.values()
        finally:
            os.killpg(child.pid, 9)


def test_what_a_process_takes_and_how_old_it_is() -> None:
    before, start = cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() < start + 0.1:
        pass
    assert 0.05 <= cpu_seconds(os.getpid()) - before < 5 and memory(os.getpid()) > 5
    assert cpu_seconds(2**22 + 1) == memory(2**22 + 1) == 0  # there is none
    assert 0 < age() < 24 * 3600


def test_files_that_are_let_go_of_are_read_again_when_they_are_needed() -> None:
    """In a process of its own: it holds less, and its libraries still work."""
    program = """
import os, numpy, cv2, core.processes as p
before = p.memory(os.getpid())
p.let_go_of_files()
after = p.memory(os.getpid())
assert float((numpy.eye(3) @ numpy.eye(3)).sum()) == 3 and cv2.GaussianBlur(numpy.zeros((9, 9)), (3, 3), 1).sum() == 0
print(after < before, p.memory(os.getpid()) > after)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"
