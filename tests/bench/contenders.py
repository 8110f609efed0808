"""Federations to be timed: ours (the real thing, in worker processes), and stock Flower with Keras in Flower's simulation engine.

Run by `measure.child`, each in a process of its own.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from core.config.scenario import Scenario
from fl import roster
from scenarios.environment import prepare
from server.record import RoundRecord
from tests.bench.measure import HOME, Facts, Tell, memory

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
        weight: Facts = {"memory": memory(), "workers": memory(all_but=os.getpid())} if self.weigh else {}
        self.tell({"event": "round", "round": record.round, "seconds": record.seconds.train} | weight)


def ours(tell: Tell, folder: Path, scenario: str, weigh: bool = False) -> None:
    """This project: server.run and clients.app under scenarios.backends.processes, just as the command runs them."""
    environment = prepare(folder)
    from scenarios.backends import processes
    from scenarios.backends.grid import serve
    from server import run

    wanted = Scenario.of(scenario)
    with processes.opened(wanted, WORKERS, environment) as backend:
        serve(run.build(wanted, folder, Telling(tell, weigh), backend.judge), backend.grid)


def stock(tell: Tell, folder: Path, scenario: str) -> None:
    """Flower's quickstart (tests/bench/stock.py) in Flower's own engine on Ray, with as many actors as ours has workers."""
    environment = prepare(folder)
    import ray
    from flwr.simulation import run_simulation

    from tests.bench import stock

    wanted, last = Scenario.of(scenario), time.perf_counter()

    def clock(number: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if number:
            tell({"event": "round", "round": number, "seconds": now - last})
        last = now

    variables = environment | {"PYTHONPATH": os.pathsep.join([str(HOME), os.environ.get("PYTHONPATH", "")])}
    ray.init(address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000,
             runtime_env={"env_vars": variables})  # fmt: skip
    resources = {"num_cpus": 1, "num_gpus": 0.0}
    run_simulation(
        stock.build(wanted, clock), stock.app, roster.nodes(wanted), backend_config={"client_resources": resources}
    )
    ray.shutdown()
