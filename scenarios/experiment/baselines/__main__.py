"""Run one baseline of the scenario in a JSON file; a run starts this beside itself."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from core.config.scenario import Scenario
from core.disk import hold
from scenarios.experiment.baselines import KINDS, reduced, result
from scenarios.experiment.baselines.centralized import centralized
from scenarios.experiment.baselines.federated import federated
from scenarios.experiment.baselines.local import local
from server.record import RoundRecord


class Beside:
    """Watches a baseline for the run that wants it: says how far it is, stops when that run is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.parent = folder, os.getppid()

    def stopped(self) -> bool:
        """Is the run that wanted it gone?"""
        return os.getppid() != self.parent

    def replied(self, round: int, done: int, of: int) -> None:
        """Nobody counts single replies."""

    def ended(self, record: RoundRecord) -> None:
        """A round of the joint baseline is over."""
        self.done(record.round, record.accuracy)

    def done(self, count: int, accuracy: float | None = None) -> None:
        """So many rounds, or clients, are done."""
        (self.folder / "done").write_text(str(count))
        print(json.dumps({"done": count, "accuracy": accuracy}), flush=True)


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m scenarios.experiment.baselines", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("scenario", type=Path, help="a run's scenario.json")
    parser.add_argument("folder", type=Path, help="the folder for its result and checkpoints")
    args = parser.parse_args()
    scenario = reduced(Scenario.of(args.scenario.read_text()), args.kind)
    args.folder.mkdir(parents=True, exist_ok=True)
    with hold(args.folder, wait=True):  # another run may want the same one at the same time
        if not result(args.folder):
            make(args.kind, scenario, args.folder, Beside(args.folder))
        return 0 if result(args.folder) else 1


def make(kind: str, scenario: Scenario, folder: Path, watch: Beside) -> None:
    """Make it, until it is done or the run that wanted it is gone."""
    if kind in ("fedavg", "joint"):
        federated(scenario, folder, watch)
    elif kind == "centralized":
        for point in centralized(scenario, folder):
            watch.done(point.round or 0, point.accuracy)
            if watch.stopped():
                return
    else:
        for client in local(scenario, folder):
            watch.done(client + 1)
            if watch.stopped():
                return


if __name__ == "__main__":
    sys.exit(main())
