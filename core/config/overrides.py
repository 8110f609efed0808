"""What `--set path=text` makes of a scenario's values."""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import replace
from typing import Any

from core.config.parse import typed, unknown
from core.config.part import Part


def changed(path: str, old: Any, rest: list[str], text: str, hint: Any) -> Any:
    """What `--set` makes of one field of a scenario."""
    if text == "none" and typing.get_origin(hint) is tuple and not rest:
        return ()
    if typing.get_args(hint)[:1] == (Part,):
        if not rest:
            before = {part.name: part for part in old}  # a piece that is named again keeps its settings
            return tuple(before.get(name, Part(name)) for name in text.split("+"))
        if rest[0] not in [part.name for part in old]:
            raise unknown(f"piece of {path.split('.')[0]!r}:", rest[0], [p.name for p in old] or ["none is set"])
        return tuple(changed(path, p, rest[1:], text, Part) if p.name == rest[0] else p for p in old)
    if isinstance(old, Part):
        if not rest:
            return old if text == old.name else Part(text)
        return Part(old.name, dict(old.args) | {".".join(rest): _plain(text)})
    if dataclasses.is_dataclass(old):
        known = typing.get_type_hints(type(old))
        if not rest or rest[0] not in known:
            raise unknown(f"key of {path.split('.')[0]!r}:", ".".join(rest), known)
        return replace(old, **{rest[0]: typed(path, _plain(text), known[rest[0]])})  # type: ignore[type-var]
    if rest:
        raise ValueError(f"{path.split('.')[0]} has no parts; set it with {path.split('.')[0]}=value")
    return typed(path, text if hint is str else _plain(text), hint)


def _plain(text: str) -> Any:
    """The value that a text on the command line means: a JSON number, list or truth value, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the former is also raised for a number of many thousand digits
        return text
