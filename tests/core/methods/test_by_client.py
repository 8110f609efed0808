"""Whole numbers by client: as a dictionary has them."""

from __future__ import annotations

import numpy as np
import pytest

from core.methods import by_client


@pytest.mark.parametrize("seed", range(5))
def test_it_holds_what_a_dictionary_holds(seed: int) -> None:
    generator, model = np.random.default_rng(seed), dict[int, int]()
    shared = dict[str, np.ndarray]()
    for _ in range(20):
        fresh = {int(c): int(n) for c, n in generator.integers(0, 50, (int(generator.integers(0, 8)), 2))}
        shared, model = by_client.written(shared, "table", fresh), model | fresh
        assert [tuple(row) for row in shared["table"]] == sorted(model.items())
        assert [by_client.number(shared, "table", c, -1) for c in range(-1, 51)] == [
            model.get(c, -1) for c in range(-1, 51)
        ]


def test_without_a_table_nobody_has_a_number() -> None:
    assert by_client.number({}, "table", 0, -1) == -1
