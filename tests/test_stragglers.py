"""Clients that make fewer passes: what they did counts, or they are dropped; either way the report names them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.config.part import Part
from core.config.scenario import Local, Scenario
from core.plan import steps
from fl import roster
from tests.fakes import federate

EPOCHS = 4.0


@pytest.fixture(scope="module")
def slow(tiny: Scenario) -> Scenario:
    return replace(tiny, cohort=4, stragglers=0.5, local=Local(epochs=EPOCHS), partition=Part("iid"))


def test_what_a_straggler_did_counts(slow: Scenario, tmp_path: Path) -> None:
    report = federate(slow, tmp_path)
    for row in report.history:
        assert len(row.clients) == 4 and not row.failed and len(row.stragglers) == 2
        assert row.stragglers == roster.stragglers(slow, row.round)
        passes = [row.stragglers.get(client, EPOCHS) for client in row.clients]
        batches = (steps(row.clients_examples[c], 32, n) for c, n in zip(row.clients, passes, strict=True))
        assert row.examples == 32 * sum(batches)
    assert {n for row in report.history for n in row.stragglers.values()} != {EPOCHS}


def test_dropped_stragglers_are_not_asked_and_are_named(slow: Scenario, tmp_path: Path) -> None:
    dropping = replace(slow, drop_stragglers=True)
    kept, dropped = federate(slow, tmp_path / "kept"), federate(dropping, tmp_path / "dropped")
    for row in dropped.history:
        assert len(row.clients) == 2 and set(row.stragglers.values()) == {0.0} and not row.failed
        assert not set(row.clients) & set(row.stragglers) and set(row.stragglers) == set(
            roster.stragglers(slow, row.round)
        )
    assert dropped.weights_sha256 != kept.weights_sha256


def test_stragglers_that_make_all_passes_change_nothing(slow: Scenario, tmp_path: Path) -> None:
    """With one pass there is nothing less to do."""
    one = replace(slow, local=Local(epochs=1.0))
    plain, other = (federate(s, tmp_path / str(s.stragglers)) for s in (replace(one, stragglers=0.0), one))
    assert plain.weights_sha256 == other.weights_sha256
