"""Mutated replies, five hundred of them; `python -m tests.fuzz replies` takes a hundred thousand."""

from __future__ import annotations

import pytest

from tests.fuzz import replies


@pytest.mark.slow
def test_a_mutated_reply_is_refused_or_moves_the_model_within_its_limits() -> None:
    outcomes = replies.run(seed=0, count=500)
    assert not [name for name, outcome in outcomes if outcome == "finding"]
    read = sum(count for (_, outcome), count in outcomes.items() if outcome.startswith("read"))
    assert 25 < read < 250 and sum(outcomes.values()) == 500
