"""Mutated requests to the service, six hundred of them; `python -m tests.fuzz requests` sends ten thousand."""

from __future__ import annotations

from tests.fuzz import requests


def test_a_mutated_request_is_answered_or_refused_and_the_service_lives() -> None:
    outcomes = requests.run(seed=0, count=600)
    assert not [name for name, outcome in outcomes if outcome == "finding"]
    assert sum(outcomes.values()) == 600
    assert all(outcomes[name, outcome] > 3 for name in ("grpc", "rest", "bytes") for outcome in ("answered", "refused"))
