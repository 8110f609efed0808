"""Federations to be timed: ours (the real thing, on Ray), and stock Flower with Keras on the same Ray.

Run by `measure.child`, each in a process of its own.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from unittest import mock

from core.config.scenario import Scenario
from scenarios.environment import prepare
from server.record import RoundRecord
from tests.bench.measure import Facts, Tell, memory

WORKERS = 2


class Telling:
    """A `Watch` that tells when the first messages went out, the first answer came, and every round ended."""

    def __init__(self, tell: Tell, weigh: bool) -> None:
        self.tell, self.weigh = tell, weigh
        self._parent, self._seen = os.getppid(), set[str]()

    def _once(self, event: str) -> None:
        if event not in self._seen:
            self._seen.add(event)
            self.tell({"event": event})

    def stopped(self) -> bool:
        self._once("sent")  # the loop asks this as soon as a round's messages are out
        return os.getppid() != self._parent

    def replied(self, round: int, done: int, of: int) -> None:
        self._once("answered")

    def ended(self, record: RoundRecord) -> None:
        """Seconds without evaluation and checkpoint; memory, if it is to be weighed."""
        if record.failed or record.server_error:
            raise RuntimeError(f"round {record.round} failed: {record.failed}{record.server_error}")
        weight: Facts = {"memory": memory()} if self.weigh else {}
        self.tell({"event": "round", "round": record.round, "seconds": record.seconds.train} | weight)


def ours(tell: Tell, folder: Path, scenario: str, weigh: bool = False) -> None:
    """This project: server.run and clients.app under scenarios.backends.ray, just as the command runs them."""
    environment = prepare(folder)
    from scenarios import backends
    from server import run

    wanted = Scenario.of(scenario)
    backends.ray.run(run.build(wanted, folder, Telling(tell, weigh)), wanted, WORKERS, environment)


def stock(tell: Tell, folder: Path, scenario: str) -> None:
    """Flower's quickstart (tests/bench/stock.py) under the very same Ray, nodes and environment as ours."""
    environment = prepare(folder)
    from scenarios import backends
    from tests.bench import stock

    wanted, last = Scenario.of(scenario), time.perf_counter()

    def clock(number: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if number:
            tell({"event": "round", "round": number, "seconds": now - last})
        last = now

    with mock.patch.object(backends.ray, "client_app", stock.app):
        backends.ray.run(stock.build(wanted, clock), wanted, WORKERS, environment)
