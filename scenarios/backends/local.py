"""Server and clients in this process, one client after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from clients.app import app as client_app
from core.config.scenario import Scenario
from fl import roster


def run(server: ServerApp, scenario: Scenario, workers: int, environment: Mapping[str, str]) -> None:
    """Everything in this process, one client after another: the same weights, easier to debug."""
    # A Message asks who sends it; outside Flower's own runtimes nobody has said so, and there is no public name for it.
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    server(
        LocalGrid(roster.nodes(scenario), {"memory": environment["CLIENTS_HOME"]}), Context(0, 0, {}, RecordDict(), {})
    )


class LocalGrid(Grid):
    """A grid whose nodes live in this process and answer when they are asked for their reply."""

    def __init__(self, nodes: int = 1, config: Mapping[str, str] | None = None) -> None:
        """config: each node's own."""
        self._ids, self._config = list(range(1, nodes + 1)), dict(config or {})
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
            return [client_app(ask, Context(0, ask.metadata.dst_node_id, dict(self._config), RecordDict(), {}))]
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
