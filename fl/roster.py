"""Whose turn it is this round, and which node plays whom.

The server chooses clients by seeded index and the message names the client. In simulation any node may play any client,
so a few Flower nodes play ten thousand clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from core.config.scenario import Scenario
from core.seeds import rng

if TYPE_CHECKING:
    from flwr.serverapp import Grid

NODES = 64  # Flower's engine hands each node one message a tenth of a second, and looks at every node each time


def choose(scenario: Scenario, round: int) -> list[int]:
    """The clients of a round, ascending: `cohort` of those present (or all of them), drawn by address without replacement."""
    candidates: Sequence[int] | int = scenario.clients
    if scenario.join or scenario.leave:
        candidates = present(scenario, round)
    count = candidates if isinstance(candidates, int) else len(candidates)
    if scenario.cohort >= count:
        return list(range(candidates)) if isinstance(candidates, int) else list(candidates)
    drawn = rng(scenario.seed, "cohort", round).choice(candidates, scenario.cohort, replace=False)
    return sorted(int(client) for client in drawn)


def stragglers(scenario: Scenario, round: int) -> dict[int, float]:
    """The slow clients of a round, and how many passes over its data each makes: 1 … local.epochs, all alike likely (as in
    FedProx's experiments, Li et al. 2020, arXiv:1812.06127). Drawn by address, so server and clients agree."""
    return {client: _passes(scenario, client, round) for client in sorted(_slow(scenario, round))}


def _slow(scenario: Scenario, round: int) -> set[int]:
    if not scenario.stragglers:
        return set()
    cohort = choose(scenario, round)
    count = int(scenario.stragglers * len(cohort) + 0.5)
    return {int(client) for client in rng(scenario.seed, "stragglers", round).choice(cohort, count, replace=False)}


def _passes(scenario: Scenario, client: int, round: int) -> float:
    epochs = scenario.local.epochs
    return min(epochs, 1.0 + int(rng(scenario.seed, "straggler", client, round).integers(max(1, int(epochs)))))


def asked(scenario: Scenario, round: int) -> list[int]:
    """The clients of a round that the server waits for, ascending."""
    dropped = _slow(scenario, round) if scenario.drop_stragglers else set()
    return [client for client in choose(scenario, round) if client not in dropped]


def paced(scenario: Scenario, client: int, round: int) -> Scenario:
    """The scenario as a client has it in a round: a straggler makes fewer passes."""
    if client not in _slow(scenario, round):
        return scenario
    return replace(scenario, local=replace(scenario.local, epochs=_passes(scenario, client, round)))


def present(scenario: Scenario, round: int) -> list[int]:
    """The clients that have joined by this round and not left."""
    away = {client for client, first in scenario.join if round < first}
    away |= {client for client, last in scenario.leave if round >= last}
    return [client for client in range(scenario.clients) if client not in away]


def nodes(scenario: Scenario) -> int:
    """How many Flower nodes a simulation needs: one for each client of a round, up to a limit."""
    return min(scenario.cohort, NODES)


class Assignment(Protocol):
    """Who plays whom."""

    run: str  # the run's name on real nodes, by which they keep its memory apart; in simulation none
    before: tuple[str, ...]  # the names of the runs that it goes on from, the newest first
    pause: float  # seconds between looks for replies
    one_by_one: bool  # is each reply pulled by itself (fl/channel.py)?

    def __call__(self, grid: Grid, clients: Sequence[int]) -> dict[int, int]:
        """{client: node}; a client whose node is not there is left out."""

    def notes(self) -> Sequence[str]:
        """What has been noticed of nodes since the last call, in words."""


class AnyNode:
    """Simulation: any node plays any client."""

    pause, one_by_one = 0.004, False
    before: tuple[str, ...] = ()

    def __init__(self, run: str = "") -> None:
        """run: its name, if clients of several runs keep their memories in one place."""
        self.run = run

    def __call__(self, grid: Grid, clients: Sequence[int]) -> dict[int, int]:
        """Dealt round the nodes in turn."""
        return dealt(clients, sorted(grid.get_node_ids()))

    def notes(self) -> Sequence[str]:
        """Nothing: these nodes are ours."""
        return ()


def dealt(clients: Sequence[int], ids: Sequence[int]) -> dict[int, int]:
    """{client: node}: dealt round the nodes in turn."""
    return {client: ids[i % len(ids)] for i, client in enumerate(clients)}
