"""Whose turn it is follows from seed and round alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.scenario import Local, Scenario
from fl import roster

BASE = Scenario("roster", clients=50, cohort=8)


@given(st.integers(1, 200), st.data(), st.integers(0, 99), st.integers(1, 1000))
def test_a_cohort_is_distinct_ascending_and_repeatable(
    clients: int, data: st.DataObject, seed: int, round: int
) -> None:
    scenario = Scenario("roster", seed=seed, clients=clients, cohort=data.draw(st.integers(1, clients)))
    chosen = roster.choose(scenario, round)
    assert len(chosen) == scenario.cohort and chosen == sorted(set(chosen))
    assert chosen[0] >= 0 and chosen[-1] < clients and {type(client) for client in chosen} == {int}
    assert chosen == roster.choose(scenario, round)


def test_rounds_and_seeds_choose_differently_and_all_get_their_turn() -> None:
    turns = [tuple(roster.choose(BASE, round)) for round in range(1, 101)]
    assert len(set(turns)) > 95
    times = [sum(client in turn for turn in turns) for client in range(50)]
    assert min(times) >= 3 and max(times) <= 32  # 16 on average; 3.7 is a standard deviation
    assert turns[0] != tuple(roster.choose(replace(BASE, seed=1), 1))


def test_nothing_but_clients_cohort_and_seed_matters() -> None:
    other = replace(BASE, name="other", rounds=3, noise=0.5)
    assert [roster.choose(BASE, r) for r in range(1, 9)] == [roster.choose(other, r) for r in range(1, 9)]


def test_nodes_are_as_many_as_a_round_needs_up_to_a_limit() -> None:
    assert roster.nodes(BASE) == 8
    assert roster.nodes(Scenario("many", clients=10_000, cohort=1000)) == roster.NODES


@given(st.lists(st.integers(0, 99), unique=True, min_size=1), st.lists(st.integers(1, 9), unique=True, min_size=1))
def test_seats_are_dealt_evenly(clients: list[int], nodes: list[int]) -> None:
    assignment = roster.dealt(clients, nodes)
    assert list(assignment) == clients and set(assignment.values()) <= set(nodes)
    loads = [list(assignment.values()).count(node) for node in nodes]
    assert max(loads) - min(loads) <= 1


def test_only_clients_that_are_there_are_chosen() -> None:
    scenario = replace(BASE, clients=6, cohort=4, rounds=9, join=((5, 4),), leave=((0, 7), (1, 7), (2, 7)))
    assert roster.present(scenario, 3) == [0, 1, 2, 3, 4] and roster.present(scenario, 4) == [0, 1, 2, 3, 4, 5]
    assert roster.present(scenario, 7) == [3, 4, 5] == roster.choose(scenario, 7)  # fewer than a cohort: all of them
    assert all(len(roster.choose(scenario, r)) == 4 and 5 not in roster.choose(scenario, r) for r in (1, 2, 3))


SLOW = replace(BASE, stragglers=0.5, local=Local(epochs=20.0))


def test_a_share_of_a_rounds_clients_are_stragglers_of_one_to_all_passes() -> None:
    seen = []
    for round in range(1, 101):
        slow, chosen = roster.stragglers(SLOW, round), roster.choose(SLOW, round)
        assert set(slow) <= set(chosen) and len(slow) == int(0.5 * len(chosen) + 0.5)
        assert slow == roster.stragglers(SLOW, round) and roster.asked(SLOW, round) == chosen
        assert roster.asked(replace(SLOW, drop_stragglers=True), round) == [c for c in chosen if c not in slow]
        for client in chosen:
            assert roster.paced(SLOW, client, round).local.epochs == slow.get(client, 20.0)
        seen += slow.values()
    assert set(seen) == {float(n) for n in range(1, 21)} and np.mean(seen) == pytest.approx(10.5, abs=1.2)


def test_without_stragglers_nothing_is_drawn() -> None:
    assert roster.stragglers(BASE, 1) == {} and roster.paced(BASE, 0, 1) is BASE
    assert roster.asked(BASE, 1) == roster.choose(BASE, 1)
