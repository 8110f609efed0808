"""Marks that several test files give alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest


def slow_but(fast: Collection[str], names: Iterable[str]) -> list[object]:
    """All names as parameters of a test, those that are not among the fast ones marked slow."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]
