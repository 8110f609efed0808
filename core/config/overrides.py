"""What `--set path=text` makes of a scenario's values, and a scenario as such paths and texts."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.config.parse import excerpt, typed, unknown
from core.config.part import Part

if TYPE_CHECKING:
    from core.config.scenario import Scenario


def changed(path: str, old: Any, rest: list[str], text: str, hint: Any) -> Any:
    """What `--set` makes of one field of a scenario."""
    if text == "none" and typing.get_origin(hint) is tuple and not rest:
        return ()
    if typing.get_args(hint)[:1] == (Part,):
        if not rest:
            if "," in text:
                joined = "+".join(name.strip() for name in text.split(","))
                raise ValueError(f"{path} = {excerpt(text)}: several are joined by +, as in {joined[:100]}")
            by_name = {part.name: part for part in old}  # a piece that is named again keeps its settings
            return tuple(by_name.get(name, Part(name)) for name in text.split("+"))
        if rest[0] not in [part.name for part in old]:
            raise unknown(f"piece of {path.split('.')[0]!r}:", rest[0], [p.name for p in old] or ["none is set"])
        return tuple(changed(path, p, rest[1:], text, Part) if p.name == rest[0] else p for p in old)
    if isinstance(old, Part):
        if not rest:
            return old if text == old.name else Part(text)
        return Part(old.name, dict(old.args) | {".".join(rest): _plain(text)})
    if dataclasses.is_dataclass(old):
        hints = typing.get_type_hints(type(old))
        if not rest or rest[0] not in hints:
            raise unknown(f"key of {path.split('.')[0]!r}:", ".".join(rest), hints)
        return replace(old, **{rest[0]: typed(path, _listed(path, text, hints[rest[0]]), hints[rest[0]])})  # type: ignore[type-var]
    if rest:
        raise ValueError(f"{path.split('.')[0]} has no parts; set it with {path.split('.')[0]}=value")
    return typed(path, text if hint is str else _listed(path, text, hint), hint)


def values(scenario: Scenario) -> dict[str, Any]:
    """Each setting by its path, in an order that `--set` takes: a piece before its settings. Several pieces are joined by +,
    an empty list is "none"; other values are as they are."""
    return dict(_values("", scenario))


def _values(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, Part):
        for field in dataclasses.fields(value):
            yield from _values(f"{path}.{field.name}".lstrip("."), getattr(value, field.name))
    elif isinstance(value, Part):
        yield path, value.name
        yield from ((f"{path}.{key}", setting) for key, setting in value.args.items())
    elif isinstance(value, tuple) and all(isinstance(part, Part) for part in value):
        yield path, "+".join(part.name for part in value) or "none"
        yield from ((f"{path}.{part.name}.{key}", setting) for part in value for key, setting in part.args.items())
    else:
        yield path, value


def flat(scenario: Scenario) -> dict[str, str]:
    """A scenario as {path: text}, in the notation and an order that `--set path=text` takes."""
    return {path: _word(value) for path, value in values(scenario).items()}


def departures(before: Scenario, after: Scenario) -> list[tuple[str, str]]:
    """In which settings the later scenario departs from the earlier one, as `--set` takes them, the seed and the name too.
    What the earlier one has and the later one lacks is not among them."""
    earlier_texts = flat(before)
    return [(path, word) for path, word in flat(after).items() if earlier_texts.get(path) != word]


def text(value: Any) -> str:
    """A value from Python as `--set` takes it: a list of words names pieces, and is joined by +; an empty one is "none"."""
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return "+".join(value) or "none"
    return _word(value)


def _word(value: Any) -> str:
    """As `_plain` reads it."""
    return value if isinstance(value, str) else json.dumps(value)


def _listed(path: str, text: str, hint: Any) -> Any:
    """What a text means (`_plain`). Raises ValueError if it is no list where one should be, and shows how one is given."""
    value = _plain(text)
    if typing.get_origin(hint) is tuple and not isinstance(value, list):
        example = f"[{text}]" if isinstance(_plain(f"[{text}]"), list) else "[…]"
        raise ValueError(f"{path} = {excerpt(text)} should be a list: --set '{path}={example[:100]}'")
    return value


def _plain(text: str) -> Any:
    """The value that a text on the command line means: a JSON number, list or truth value, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the former is also raised for a number of many thousand digits
        return text
