"""Real nodes: each plays the one client for which its key was admitted, so the server asks who they are before it sends work."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from core.safe_json import read_object
from core.text import cleaned
from fl import wire
from fl.channel import Channel, exchange
from server import run_folder
from server.record import write

log = logging.getLogger("flwr")
WAIT = 60.0  # seconds that the run waits for a client's node the first time that it is missed
ANSWER = 30.0  # seconds for a node to say who it is
TRIES = 3  # times that it is asked: one that is silent on purpose should not hold up every round


class Fleet:
    """Which node plays which client. Where nodes were admitted each for one client (`scenarios.deploy admit --client`), only
    that is believed; elsewhere what a node says of itself, asked a few times each time that it comes."""

    pause = 0.2  # each look is a request to the SuperLink
    one_by_one = True

    def __init__(
        self, folder: Path, stopped: Callable[[], bool] = lambda: False, wait: float = WAIT,
        admitted: Path | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.run, self.stopped, self.wait = folder, _run_id(folder), stopped, wait
        before = folder / run_folder.BEFORE
        self.before = tuple(before.read_text().split()) if before.exists() else ()
        self.admitted = admitted  # {node: {"name", "client"}}, JSON; it may change while the run lasts
        self._plays: dict[int, int] = {}  # node: client
        self._written: dict[int, int] = {}  # the same, as last written down
        self._asked = Counter[int]()  # how often each node was asked since it came
        self._missed: set[int] = set()  # clients that a whole wait was spent on: once is enough
        self._notes: dict[str, bool] = {}  # what was noticed, and whether the report has it

    def __call__(self, grid: Grid, clients: Sequence[int]) -> dict[int, int]:
        """{client: node} of those whose nodes are there, waiting a while for the others."""
        end = time.monotonic() + self.wait
        while True:
            online = set(grid.get_node_ids())
            allowed = admitted(self.admitted) if self.admitted else None
            self._plays = {n: c for n, c in self._plays.items() if n in online and self._may(allowed, n, c)}
            self._asked = Counter({node: times for node, times in self._asked.items() if node in online})
            if fresh := sorted(node for node in online - set(self._plays) if self._asked[node] < TRIES):
                self._asked.update(fresh)
                self._ask(grid, fresh, allowed)
            assignment = {client: node for node, client in sorted(self._plays.items(), reverse=True)}
            self._missed -= set(assignment)
            if set(clients) - self._missed <= set(assignment):
                break
            if time.monotonic() > end or self.stopped():
                self._missed |= set(clients) - set(assignment)
                break
            time.sleep(self.pause)
        if self._plays != self._written:  # for `scenarios.deploy status`
            write(self.folder / run_folder.NODES, json.dumps(self._plays))
            self._written = dict(self._plays)
        return {client: assignment[client] for client in clients if client in assignment}

    @staticmethod
    def _may(allowed: Mapping[int, Admitted] | None, node: int, client: int) -> bool:
        """May this node play this client still? Who is admitted may change while a run lasts."""
        return allowed is None or (node in allowed and allowed[node].client == client)

    def replied(self, round: int, done: int, of: int) -> None:
        """Nobody is shown how many nodes have said who they are."""

    def notes(self) -> list[str]:
        """What was noticed since the last call; the same is said once."""
        new = [note for note, reported in self._notes.items() if not reported]
        self._notes |= dict.fromkeys(new, True)
        return new

    def _ask(self, grid: Grid, nodes: list[int], allowed: Mapping[int, Admitted] | None) -> None:
        """Ask nodes for their clients. Whose key was admitted for one is who its key says, whatever it answers, unless it says
        that it is another."""
        asks = {
            node: Message(RecordDict(), dst_node_id=node, message_type=f"{MessageType.QUERY}.who") for node in nodes
        }
        replies, failed, _ = exchange(Channel(grid, ANSWER, self, self), asks, lambda node, reply: reply)
        for node in nodes:
            admission = allowed.get(node) if allowed is not None else None
            name = f"node {admission.name}" if admission else f"node {node}"
            try:
                client = wire.who(replies[node].content) if node in replies else None
            except ValueError as error:
                self._note(f"{name} does not say which client it plays: {error}")
                continue
            if allowed is not None and admission is None:
                self._note(f"{name} was admitted for no client, and gets no work: admit it again, with --client")
            elif admission and client not in (None, admission.client):
                self._note(
                    f"{name} says it plays client {client}, but was admitted for client {admission.client}; it gets no work"
                )
            elif admission:  # if it answers no task either, the round goes on without it
                self._plays[node] = admission.client
            elif client is None:
                self._note(f"{name} does not say which client it plays: {failed[node]}")
            elif client in self._plays.values():
                self._note(f"{name} says it plays client {client}, whom another plays already; it gets no work")
            else:
                self._plays[node] = client

    def _note(self, words: str) -> None:
        if words not in self._notes:
            log.warning("%s", words)
            self._notes[words] = False


@dataclass(frozen=True)
class Admitted:
    """A node that was let in."""

    name: str
    client: int  # the only one that its key may play


def admitted(file: Path) -> dict[int, Admitted]:
    """{node: who it is} of a federation's nodes.json; those that were admitted for no client are left out."""
    try:
        nodes = read_object(file)
    except (FileNotFoundError, ValueError) as error:
        log.warning("%s", error)
        return {}
    return {
        int(node): Admitted(cleaned(one.get("name"), 40), one["client"])
        for node, one in nodes.items()
        if node.isdecimal() and isinstance(one, dict) and type(one.get("client")) is int and one["client"] >= 0
    }


def _run_id(folder: Path) -> str:
    """This run's own name, by which clients keep its memory apart from other runs'."""
    file = folder / run_folder.ID
    if not file.exists():
        write(file, uuid.uuid4().hex)
    return file.read_text()
