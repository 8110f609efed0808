"""Whose turn it is this round, and which node plays whom.

The server chooses clients by seeded index and the message names the client. In simulation any node may play any client,
so a few Flower nodes play ten thousand clients.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.scenario import Scenario
from core.seeds import rng

NODES = 64  # Flower's engine hands each node one message a tenth of a second, and looks at every node each time


def choose(scenario: Scenario, round: int) -> list[int]:
    """The clients of a round, ascending: `cohort` of them, drawn by address without replacement."""
    if scenario.cohort == scenario.clients:
        return list(range(scenario.clients))
    drawn = rng(scenario.seed, "cohort", round).choice(scenario.clients, scenario.cohort, replace=False)
    return sorted(int(client) for client in drawn)


def nodes(scenario: Scenario) -> int:
    """How many Flower nodes a simulation needs: one for each client of a round, up to a limit."""
    return min(scenario.cohort, NODES)


def seat(clients: Sequence[int], ids: Sequence[int]) -> dict[int, int]:
    """{client: node}: dealt round the nodes in turn."""
    return {client: ids[i % len(ids)] for i, client in enumerate(clients)}
