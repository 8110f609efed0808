"""Real nodes: each plays the one client that its owner configured, so the server asks who they are before it sends work."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fl import wire
from server.report import write

log = logging.getLogger("flwr")
PATIENCE = 60.0  # seconds that the run waits for a client's node the first time that it is missed
NODES = "nodes.json"  # in the run's folder: which node plays each client
ANSWER = 30.0  # seconds for a node to say who it is


class Fleet:
    """Which node plays which client, as the nodes themselves say; asked once each time that a node comes."""

    pause = 0.2  # each look is a request to the SuperLink

    def __init__(self, folder: Path, stopped: Callable[[], bool] = lambda: False, patience: float = PATIENCE) -> None:
        self.folder, self.run, self.stopped, self.patience = folder, _named(folder), stopped, patience
        self._plays: dict[int, int] = {}  # node: client
        self._told: dict[int, int] = {}  # the same, as last written down
        self._missed: set[int] = set()  # clients that a whole wait was spent on: once is enough

    def __call__(self, grid: Grid, clients: Sequence[int]) -> dict[int, int]:
        """{client: node} of those whose nodes are there, waiting a while for the others."""
        end = time.monotonic() + self.patience
        while True:
            there = set(grid.get_node_ids())
            self._plays = {node: client for node, client in self._plays.items() if node in there}
            if fresh := sorted(there - set(self._plays)):
                self._ask(grid, fresh)
            seats = {client: node for node, client in sorted(self._plays.items(), reverse=True)}
            self._missed -= set(seats)
            if set(clients) - self._missed <= set(seats):
                break
            if time.monotonic() > end or self.stopped():
                self._missed |= set(clients) - set(seats)
                break
            time.sleep(self.pause)
        if self._plays != self._told:  # for `scenarios.deploy status`
            write(self.folder / NODES, json.dumps(self._plays))
            self._told = dict(self._plays)
        return {client: seats[client] for client in clients if client in seats}

    def _ask(self, grid: Grid, nodes: list[int]) -> None:
        """Ask nodes for their clients. One that does not answer well is asked again the next time."""
        asks = [Message(RecordDict(), dst_node_id=node, message_type=f"{MessageType.QUERY}.who") for node in nodes]
        for reply in sorted(grid.send_and_receive(asks, timeout=ANSWER), key=lambda reply: reply.metadata.src_node_id):
            node = reply.metadata.src_node_id
            try:
                client = -1 if reply.has_error() else wire.who(reply.content)
            except (KeyError, TypeError, ValueError) as error:
                log.warning("node %d does not say which client it plays: %r", node, error)
                continue
            if client in self._plays.values():
                log.warning(
                    "node %d says it plays client %d, whom another plays already; it is not asked", node, client
                )
            elif client >= 0:
                self._plays[node] = client


def _named(folder: Path) -> str:
    """This run's own name, by which clients keep its memory apart from other runs'."""
    file = folder / "id"
    if not file.exists():
        write(file, uuid.uuid4().hex)
    return file.read_text()
