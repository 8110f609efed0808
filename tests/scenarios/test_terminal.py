"""Progress on standard error, results on standard output, and a wish to stop."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from scenarios.terminal import Terminal
from server.record import RoundRecord


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def ended_round(number: int, failed: dict[int, str] | None = None, server_error: str = "") -> RoundRecord:
    return RoundRecord(number, accuracy=0.9876, failed=failed or {}, server_error=server_error)


def test_progress_goes_to_standard_error_and_results_to_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.begin(20, 0, "a title")
    terminal.ended(ended_round(1))
    terminal.ended(ended_round(2, {7: "no answer"}, "it made NaN"))
    terminal.line('{"a": 1}')
    out, err = capfd.readouterr()
    assert out == '{"a": 1}\n'
    assert (
        "a title" in err
        and "round 1/20  accuracy 98.76 %" in err
        and "left out: the server's own step, client 7" in err
    )


def test_quiet_says_nothing_on_the_way_and_still_gives_the_result(capfd: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(quiet=True)
    terminal.begin(20, 0, "a title")
    terminal.ended(ended_round(1))
    terminal.line("result")
    assert capfd.readouterr() == ("result\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_wish_to_stop(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.listen()
    terminal.pause()
    assert not terminal.stopped()
    os.kill(os.getpid(), number)
    assert terminal.stopped() and "stopping" in capfd.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        terminal.pause(60)


@pytest.mark.parametrize(
    ("done", "ended", "words"),
    [
        (None, 0, "stopping (again"),  # its rounds have not begun
        (0, 0, "stopping: no round is finished, so nothing is kept yet (again"),
        (0, 1, "stopping: the last finished round is kept (again"),
        (2, 0, "stopping: the last finished round is kept (again"),  # of the process before
    ],
)
def test_who_stops_hears_whether_anything_is_kept(
    done: int | None, ended: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    terminal.listen()
    if done is not None:
        terminal.begin(6, done, "a title")
    for number in range(1, 1 + ended):
        terminal.ended(ended_round(number))
    os.kill(os.getpid(), signal.SIGINT)
    assert words in capfd.readouterr().err


def test_a_signal_while_a_line_is_being_written_is_a_wish_to_stop_too(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python's buffered writers cannot be entered twice: RuntimeError, reentrant call."""

    class Writing(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def fileno(self) -> int:
            return 2

        def write(self, octets: Any) -> int:
            os.kill(os.getpid(), signal.SIGINT)
            return len(octets)

    terminal = Terminal()
    terminal.screen.file = io.TextIOWrapper(io.BufferedWriter(Writing()), line_buffering=True)
    terminal.listen()
    terminal.say("a line")
    assert terminal.stopped() and "stopping" in capfd.readouterr().err


def test_a_second_signal_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    terminal = Terminal(quiet=True)
    terminal.listen()
    os.kill(os.getpid(), signal.SIGINT)
    assert ended == []
    os.kill(os.getpid(), signal.SIGINT)
    assert ended == [130]


def test_what_is_left_of_a_resumed_run_is_reckoned_by_its_rounds_after_the_first(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter((100.0, 110.0))  # the first one, with all that is loaded and traced, is over after 100 seconds
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    terminal = Terminal()
    terminal.begin(30, 20, "a title")
    terminal.ended(ended_round(21))
    assert "left" not in capfd.readouterr().err
    terminal.ended(ended_round(22))
    assert "about 80 s left" in capfd.readouterr().err
