"""Server and clients in this process, one client after another: the same weights, easier to debug."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from flwr.app import Context, Error, Message, RecordDict

from clients.app import app as client_app
from core.config.scenario import Scenario
from core.disk import of_machine
from fl import roster
from scenarios.backends.grid import Backend, OwnGrid


@contextmanager
def opened(scenario: Scenario, workers: int, environment: Mapping[str, str]) -> Iterator[Backend]:
    """Everything in this process; there are no workers."""
    yield Backend(LocalGrid(roster.nodes(scenario), {"memory": environment["CLIENTS_HOME"]}))


class LocalGrid(OwnGrid):
    """A grid whose nodes live in this process and answer when they are asked for their reply."""

    def __init__(self, nodes: int = 1, config: Mapping[str, str] | None = None) -> None:
        """config: each node's own."""
        super().__init__(nodes)
        self._config = dict(config or {})

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Let the next client answer, of those whose answer is awaited: a round's time may be over before all were asked."""
        awaited = set(message_ids)
        while self.unsent:
            if (ask := self.unsent.popleft()).metadata.message_id in awaited:
                return [self._answer(ask)]
        return []

    def _answer(self, ask: Message) -> Message:
        try:
            return client_app(ask, Context(0, ask.metadata.dst_node_id, dict(self._config), RecordDict(), {}))
        except Exception as error:
            if fault := of_machine(error):
                raise fault from None
            # A client's failure is its own, as on a real grid.
            return Message(Error(code=0, reason=str(error)), reply_to=ask)
