"""Run server and clients together on this machine or a Ray cluster. The only file that starts Flower's simulation."""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from clients.app import app as client_app
from core.scenario import Scenario
from fl import roster

STORE = 200_000_000  # bytes of Ray's object store: a hundred times the weights


def ray(server: ServerApp, scenario: Scenario, workers: int, environment: Mapping[str, str]) -> None:
    """Flower's simulation on Ray: `workers` processes of one core each, or whatever a cluster at RAY_ADDRESS has.

    A worker that dies is started again and its message repeated.
    """
    import ray as cluster
    from flwr.simulation import run_simulation

    home = str(Path(__file__).parents[1])
    told = dict(environment) | {"PYTHONPATH": os.pathsep.join([home, os.environ.get("PYTHONPATH", "")])}
    # "local": never join a cluster that merely happens to run on this machine.
    own: dict[str, Any] = {"address": "local", "num_cpus": workers, "object_store_memory": STORE}
    size = {} if os.environ.get("RAY_ADDRESS") else own
    asked = signal.getsignal(signal.SIGTERM)
    cluster.init(
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": told},
        **size,
    )
    signal.signal(signal.SIGTERM, asked)  # Ray takes it for itself, and would end the run without a word
    resources: Any = {"num_cpus": 1, "num_gpus": 0.0, "max_restarts": -1, "max_task_retries": 2}
    try:
        run_simulation(
            server_app=server,
            client_app=client_app,
            num_supernodes=roster.nodes(scenario),
            backend_config={"client_resources": resources},
        )
    finally:
        cluster.shutdown()


def local(server: ServerApp, scenario: Scenario, workers: int, environment: Mapping[str, str]) -> None:
    """Everything in this process, one client after another: the same weights, easier to debug."""
    # A Message asks who sends it; outside Flower's own runtimes nobody has said so, and there is no public name for it.
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    server(LocalGrid(roster.nodes(scenario)), Context(0, 0, {}, RecordDict(), {}))


BACKENDS = {"ray": ray, "local": local}


class LocalGrid(Grid):
    """A grid whose nodes live in this process and answer when they are asked for their reply."""

    def __init__(self, nodes: int = 1) -> None:
        self._ids = list(range(1, nodes + 1))
        self._asked: deque[Message] = deque()

    def get_node_ids(self) -> list[int]:
        return self._ids

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        keys = []
        for message in messages:
            keys.append(str(uuid4()))
            message.metadata.__dict__["_message_id"] = keys[-1]
            self._asked.append(message)
        return keys

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Let the next client answer."""
        if not self._asked:
            return []
        ask = self._asked.popleft()
        try:
            return [client_app(ask, Context(0, ask.metadata.dst_node_id, {}, RecordDict(), {}))]
        except Exception as error:  # a client's failure is its own, as on a real grid
            return [Message(Error(code=0, reason=str(error)), reply_to=ask)]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        keys = self.push_messages(messages)
        return [reply for _ in keys for reply in self.pull_messages(keys)]

    def set_run(self, run: Any) -> None:
        raise NotImplementedError("a local grid has one run")

    @property
    def run(self) -> Any:
        raise NotImplementedError("a local grid has one run")

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        raise NotImplementedError("use flwr.app.Message")
