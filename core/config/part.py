"""A registered piece by its name and settings: what scenarios name, and registries hold."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from core.config.parse import excerpt, typed, unknown, unknown_piece

Registry = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True)
class Part:
    """A registered piece and its settings, such as dirichlet with alpha = 0.3."""

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, name: str, value: Any) -> Part:
        """A piece from JSON: its name, or an object with its name and settings. Raises ValueError, naming `name`."""
        value = {"name": value} if isinstance(value, str) else value
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str) or set(value) - {"name", "args"}:
            raise ValueError(f"{name} = {excerpt(value)} is not a named piece")
        if not isinstance(args := value.get("args", {}), Mapping):
            raise ValueError(f"{name} = {excerpt(value)} is not a named piece")
        for key, setting in args.items():
            if not _flat(setting):
                what = f"{name}.{excerpt(key)} = {excerpt(setting)}"
                raise ValueError(f"{what} should be a number, a word, or a list of them")
        return cls(value["name"], dict(args))

    def settings(self, kind: str, registry: Registry) -> dict[str, Any]:
        """All settings of this piece, defaults included. Raises ValueError on an unknown name, key or a wrong type."""
        if self.name not in registry:
            raise unknown_piece(kind, self.name, registry)
        parameters = options(registry[self.name])
        for key in self.args:
            if key not in parameters:
                raise unknown(f"setting of {kind} {self.name!r}:", key, parameters or ["(it has none)"])
        defaults = {key: p.default for key, p in parameters.items() if p.default is not p.empty}
        hints = _hints(registry[self.name])
        given = {key: typed(f"{kind}.{key}", value, hints.get(key, Any)) for key, value in self.args.items()}
        if missing := set(parameters) - set(defaults) - set(given):
            raise ValueError(f"{kind} {self.name!r} needs {', '.join(sorted(missing))}")
        return defaults | given

    def build(self, kind: str, registry: Registry, *context: Any) -> Any:
        """Call the registered piece with its settings, after whatever context it takes."""
        settings = self.settings(kind, registry)
        return registry[self.name](*context, **settings)

    def __str__(self) -> str:
        return self.name + (f"({', '.join(f'{k}={v}' for k, v in self.args.items())})" if self.args else "")


@lru_cache(maxsize=256)  # a client builds its pieces anew in every round
def _hints(piece: Callable[..., Any]) -> Mapping[str, Any]:
    return typing.get_type_hints(piece)


@lru_cache(maxsize=256)
def options(piece: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The settings of a registered piece: its keyword-only parameters."""
    parameters = inspect.signature(piece).parameters
    return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def _flat(setting: Any) -> bool:
    """Is it what a piece's setting can be?"""
    many = setting if isinstance(setting, list | tuple) else [setting]
    return all(isinstance(one, str | int | float | None) and one == one for one in many)
