"""Processes are found by what they inherit, however they were started, and no others are ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.processes import Process, end, marked

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
