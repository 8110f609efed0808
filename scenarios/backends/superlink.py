"""Rounds on real nodes: handed to a SuperLink, and seen to their end."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from core.config.scenario import Scenario
from scenarios.deployment import flwr_cli, processes
from server import run_folder
from server.record import load_rounds
from server.run import Watch

POLL = 0.3  # seconds between looks at a run's folder
LOOK = 15.0  # seconds between questions to the SuperLink, each of which costs a process and more than a second of work
HEARD = 30.0  # seconds that a run has to hear that it should stop


def run(home: Path, scenario: Scenario, folder: Path, watch: Watch) -> None:
    """Rounds on real nodes, seen to their end. A run that is asked to stop keeps its last finished round.

    Raises KeyboardInterrupt if somebody asked to stop, RuntimeError if the run failed.
    """
    stop = folder / run_folder.STOP
    stop.unlink(missing_ok=True)
    rounds_reported = len(load_rounds(folder))  # a resumed run's are known
    number, looked, asked_at, status, details = flwr_cli.submit(home, scenario, folder), time.monotonic(), 0.0, "", ""
    while not status.startswith("finished"):
        new = load_rounds(folder, rounds_reported)
        for row in new:
            watch.ended(row)
        rounds_reported += len(new)
        now = time.monotonic()
        if watch.stopped() and not asked_at:
            stop.touch()  # the server ends after the round's last checkpoint
            asked_at = now
        if asked_at and now - asked_at > HEARD:
            flwr_cli.ask(home, "stop", number, flwr_cli.LINK)
            asked_at = now
        if now - looked > LOOK or (folder / run_folder.REPORT).exists():
            if "superlink" not in processes.running(home):
                how = f"{flwr_cli.up(home)}, then: {flwr_cli.resume(folder, home)}"
                raise RuntimeError(f"the SuperLink has ended; go on with: {how}")
            status, details = flwr_cli.state(home, number)
            looked = now
        time.sleep(POLL)
    stop.unlink(missing_ok=True)
    if watch.stopped():
        raise KeyboardInterrupt
    if not (folder / run_folder.REPORT).exists():
        why, output = flwr_cli.error(home, number)
        print(output, file=sys.stderr)  # into the run's log
        raise RuntimeError(f"the run ended as {status}{details and f' ({details})'}; the server's last words:\n{why}")
