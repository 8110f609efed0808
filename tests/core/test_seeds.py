"""Randomness lives at addresses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.seeds import rng

PATHS = st.lists(st.one_of(st.integers(0, 99), st.text(max_size=5)), max_size=4).map(tuple)


def draws(seed: int, path: tuple[str | int, ...]) -> list[int]:
    return rng(seed, *path).integers(0, 2**62, 4).tolist()  # type: ignore[no-any-return]


@given(st.integers(0, 2**63 - 1), PATHS)
def test_an_address_gives_the_same_numbers_whatever_was_drawn_before(seed: int, path: tuple[str | int, ...]) -> None:
    first = draws(seed, path)
    rng(seed, "elsewhere").random(10)
    assert draws(seed, path) == first


@given(st.tuples(st.integers(0, 9), PATHS), st.tuples(st.integers(0, 9), PATHS))
def test_two_addresses_give_different_numbers(
    one: tuple[int, tuple[str | int, ...]], other: tuple[int, tuple[str | int, ...]]
) -> None:
    assert (draws(*one) == draws(*other)) == (one == other)


def test_a_path_is_not_its_parts_glued_together() -> None:
    streams = [draws(0, path) for path in (("a", 12), ("a1", 2), ("a12",), ("a", 1, 2), ("a", "12"))]
    assert len({tuple(numbers) for numbers in streams}) == 5
