"""Clients side by side in Ray's actors, on this machine or a cluster."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from core.config.scenario import Scenario
from fl import roster
from scenarios.backends import worker
from scenarios.backends.grid import Backend
from scenarios.backends.pool import PoolGrid, judge

LOOK = 1.0  # seconds between looks whether an actor is there, while there is none
STORE = 200_000_000  # bytes of Ray's object store: a hundred times the weights


@contextmanager
def opened(scenario: Scenario, workers: int, environment: Mapping[str, str]) -> Iterator[Backend]:
    """`workers` actors of one core each, or one for every core of the cluster at RAY_ADDRESS.

    One that dies is replaced while the cluster has a core for it, and what it was asked is asked again.
    """
    import ray

    home = str(Path(__file__).parents[2])
    variables = dict(environment) | {"PYTHONPATH": os.pathsep.join([home, os.environ.get("PYTHONPATH", "")])}
    # "local": never join a cluster that merely happens to run on this machine.
    local: dict[str, Any] = {"address": "local", "num_cpus": workers, "object_store_memory": STORE}
    cluster = {} if os.environ.get("RAY_ADDRESS") else local
    handler = signal.getsignal(signal.SIGTERM)
    ray.init(
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": variables},
        **cluster,
    )
    signal.signal(signal.SIGTERM, handler)  # Ray takes it for itself, and would end the run without a word
    try:
        pool = Actors(environment)
        config = {"memory": environment["CLIENTS_HOME"]}
        grid = PoolGrid(pool, roster.nodes(scenario), config)
        yield Backend(grid, judge(pool, grid, scenario))
    finally:
        ray.shutdown()


class Player:
    """An actor: one worker's process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        worker.begin(environment)

    def call(self, function: Any, *arguments: Any) -> Any:
        """What a function makes of its arguments, which Ray has fetched."""
        return function(*arguments)


class Actors:
    """One actor for each core that Ray has.

    Just after a node is lost Ray still counts its cores, so the actor that is to replace a lost one may never be there: it gets
    its first work when it answers.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        import ray

        self.files = None  # nodes may be on other machines
        self._ray, self._environment = ray, dict(environment)
        self.lost = (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError)
        self._kind: Any = ray.remote(num_cpus=1)(Player)
        self._actors: dict[int, Any] = {number: self._kind.remote(self._environment) for number in range(self._room())}
        self._coming = dict[int, tuple[Any, Any]]()  # and what its first answer will be

    def _room(self) -> int:
        return int(self._ray.cluster_resources().get("CPU", 0))

    def workers(self) -> Sequence[int]:
        self._arrived(0)
        while not self._actors:
            self._arrived(LOOK)
            if not self._room():
                raise RuntimeError("no node of the Ray cluster is left")
        return sorted(self._actors)

    def _arrived(self, seconds: float) -> None:
        """Take those in that have answered, waiting at most so long for one."""
        answers = {answer: number for number, (_, answer) in self._coming.items()}
        for answer in self._ray.wait(list(answers), timeout=seconds)[0] if answers else ():
            number = answers[answer]
            self._actors[number], _ = self._coming.pop(number)

    def submit(self, worker: int, function: Any, *arguments: Any) -> Future[Any]:
        future: Future[Any] = self._actors[worker].call.remote(function, *arguments).future()
        return future

    def end(self, worker: int) -> None:
        if worker in self._actors:
            self._ray.kill(self._actors[worker])

    def replace(self, worker: int) -> None:
        if worker not in self._actors:  # it is being replaced
            return
        self._ray.kill(self._actors.pop(worker))
        actor = self._kind.remote(self._environment)
        self._coming[worker] = actor, actor.call.remote(os.getpid)

    def share(self, array: np.ndarray) -> Any:
        return self._ray.put(array)

    def let_go(self, block: Any) -> None:
        """Ray forgets what nobody refers to."""
