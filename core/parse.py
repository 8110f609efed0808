"""JSON from a disk or a wire, read with care: whatever is wrong with it becomes a ValueError."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


def json_object(text: str | bytes) -> dict[str, Any]:
    """The object that a JSON text is. Raises ValueError if it is none, names a key twice, or is nested too deep."""
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("JSON that is nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}, where an object should be")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, if each of its keys is there once: of two, nobody can know which was meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"JSON with the key {max(counts, key=lambda key: counts[key])[:40]!r} more than once")
    return found
