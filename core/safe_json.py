"""JSON from a disk or a wire, read with care: whatever is wrong with it becomes a ValueError that names the file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.disk import contents

LARGEST = 200_000_000  # bytes of a file; what it holds takes several times as much


def json_value(text: str | bytes) -> Any:
    """What a JSON text holds. Raises ValueError if it is none, names a key twice, or is nested too deep."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("JSON that is nested too deep") from None


def json_object(text: str | bytes) -> dict[str, Any]:
    """The object that a JSON text is. Raises ValueError if it is none."""
    value = json_value(text)
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}, where an object should be")
    return value


def read_json(path: Path, most: int = LARGEST) -> Any:
    """What a JSON file of at most so many bytes holds.

    Raises ValueError, naming the file, whatever is wrong with it; FileNotFoundError if there is none.
    """
    try:
        return json_value(contents(path, most))
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def read_object(path: Path, *keys: str) -> dict[str, Any]:
    """A JSON file's object, which has at least these keys. Raises as `read_json`, and ValueError if it is another value."""
    return _object(str(path), read_json(path), keys)


def read_lines(path: Path, *keys: str, known: int = 0) -> list[dict[str, Any]]:
    """The objects of a file with one a line, each with at least these keys, without the first `known`; empty if there is no file.

    Raises ValueError as `read_json`.
    """
    try:
        lines = contents(path, LARGEST).splitlines()
        values = [
            (f"line {number} of {path}", json_value(line)) for number, line in enumerate(lines[known:], known + 1)
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    return [_object(name, value, keys) for name, value in values]


def _object(name: str, value: Any, keys: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} cannot be read: {str(value)[:40]!r} is no object")
    if lacking := sorted(set(keys) - set(value)):
        raise ValueError(f"{name} cannot be read: it lacks {', '.join(lacking)}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, if each of its keys is there once: of two, nobody can know which was meant."""
    members = dict(pairs)
    if len(members) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"JSON with the key {max(counts, key=lambda key: counts[key])[:40]!r} more than once")
    return members
