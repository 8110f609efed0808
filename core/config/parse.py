"""Values from JSON as the types that are asked for, and errors that name the value and the choices."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

LONGEST = 200  # letters of a value in an error
GREATEST = 10**300  # a whole number that is surely a float too


def unknown(kind: str, name: str, choices: Iterable[str], paths: Iterable[str] = ()) -> ValueError:
    """The error for a name that does not exist: it names the value, the one that it is most like, and the choices.

    paths: names with dots, such as local.rate, whose last part may have been given for the whole.
    """
    names, last_parts = sorted(choices), {path.rpartition(".")[2]: path for path in sorted(paths, reverse=True)}
    near = [name] if name in last_parts else difflib.get_close_matches(name[:LONGEST], [*names, *last_parts], 1)
    likely = near if len(names) > 3 else []  # of so few one sees it
    meant = "".join(f"did you mean {one if one in names else last_parts[one]}? " for one in likely)
    return ValueError(f"unknown {kind} {excerpt(name)}; {meant}choose from {', '.join(names)}")


def unknown_piece(kind: str, name: str, registry: Iterable[str]) -> ValueError:
    """The same of what a plugin may bring: it is known once its module is loaded."""
    return ValueError(f"{unknown(kind, name, registry)}; a plugin's needs its --plugin")


def excerpt(value: Any) -> str:
    """A value in an error: it may come from outside, and be a book."""
    text = repr(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def typed(name: str, value: Any, hint: Any) -> Any:
    """The value as the type that is asked for, or a ValueError that names both.

    Types are those of frozen data: numbers, words, truth values, None or one of these, tuples, mappings, dataclasses. A class
    with a method `parse(name, value)` reads itself.
    """
    if hint is Any:
        return value
    if hasattr(hint, "parse"):
        return hint.parse(name, value)
    if dataclasses.is_dataclass(hint):
        return _dataclass(name, value, hint)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return value if value is None else typed(name, value, inner[0])
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [inner[0]] * len(value) if inner[-1] is ... else list(inner)
        if len(kinds) != len(value):
            raise ValueError(f"{name} = {excerpt(value)} should have {len(kinds)} values")
        return tuple(typed(f"{name}[{i}]", v, kind) for i, (v, kind) in enumerate(zip(value, kinds, strict=True)))
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return {_key(name, key, inner[0]): typed(f"{name}.{key}", one, inner[1]) for key, one in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < GREATEST:
        return float(value)
    if origin is not None or type(value) is not hint or value != value:
        words = {float: "a number", int: "a whole number"}
        what = "a list" if origin is tuple else words.get(hint, f"of type {_name(hint)}")
        raise ValueError(f"{name} = {excerpt(value)} should be {what}")
    return value


def _name(hint: Any) -> str:
    return str(getattr(hint, "__name__", hint))


def _dataclass(name: str, value: Any, hint: Any) -> Any:
    hints = typing.get_type_hints(hint)
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} = {excerpt(value)} should be an object")
    for key in set(value) - set(hints):
        raise unknown(f"key of {name}:", key, hints)
    needed = {f.name for f in dataclasses.fields(hint) if f.default is f.default_factory is dataclasses.MISSING}
    if missing := needed - set(value):
        raise ValueError(f"{name} lacks {', '.join(sorted(missing))}")
    return hint(**{key: typed(f"{name}.{key}", value[key], hints[key]) for key in value})


def _key(name: str, key: Any, hint: Any) -> Any:
    """A mapping's key: JSON has words only, which may be whole numbers."""
    if hint is int and isinstance(key, str) and key.lstrip("-").isdecimal() and len(key) < 20:
        return int(key)
    return typed(f"a key of {name}", key, hint)
