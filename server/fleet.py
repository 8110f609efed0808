"""Real nodes: each plays the one client that its owner configured, so the server asks who they are before it sends work."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fl import wire
from server.report import write

PATIENCE = 60.0  # seconds that a round waits for the node of a client that is not there
POLL = 0.1


class Fleet:
    """Which node plays which client, as the nodes themselves say; asked once for each node."""

    def __init__(self, folder: Path, patience: float = PATIENCE) -> None:
        self.run, self.patience = _named(folder), patience
        self._plays: dict[int, int] = {}  # node: client

    def __call__(self, grid: Grid, clients: Sequence[int]) -> dict[int, int]:
        """{client: node} of those whose nodes are there, waiting a while for the others."""
        end = time.monotonic() + self.patience
        while True:
            there = set(grid.get_node_ids())
            if fresh := sorted(there - set(self._plays)):
                self._ask(grid, fresh)
            seats = {client: node for node, client in self._plays.items() if node in there}
            if set(clients) <= set(seats) or time.monotonic() > end:
                return {client: seats[client] for client in clients if client in seats}
            time.sleep(POLL)

    def _ask(self, grid: Grid, nodes: list[int]) -> None:
        """Ask nodes for their clients. One that does not answer is asked again the next time."""
        asks = [Message(RecordDict(), dst_node_id=node, message_type=f"{MessageType.QUERY}.who") for node in nodes]
        for reply in grid.send_and_receive(asks, timeout=self.patience):
            if not reply.has_error():
                self._plays[reply.metadata.src_node_id] = wire.who(reply.content)


def _named(folder: Path) -> str:
    """This run's own name, by which clients keep its memory apart from other runs'."""
    file = folder / "id"
    if not file.exists():
        write(file, uuid.uuid4().hex)
    return file.read_text()
