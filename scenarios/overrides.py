"""What `--set` makes of a scenario: its values as they are given, and a memory's budget that stays what it was; and which
changes, at least, make one scenario of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.config.overrides import departures
from core.config.part import Part, options
from core.config.scenario import Scenario
from core.data import settled
from core.methods import METHODS

LIMITS = ("images", "kilobytes")  # of a client's memory; 0: only the other limits it
Change = tuple[str, str]


def parsed(text: str) -> Change:
    """What KEY=VALUE asks for. Raises ValueError if it is no such thing."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set {text!r} should be key=value")
    return key, value


def changed(scenario: Scenario, changes: Sequence[Change]) -> Scenario:
    """The scenario with these changes (Scenario.with_).

    A method that comes new takes over the budget of those before it, so that methods are compared within the same memory;
    who names one limit of a method, and not the other, means that one alone.
    """
    new = scenario.with_(*changes)
    budget = next((limits for part in scenario.methods if (limits := _limits(part))), {})
    paths = {path for path, _ in changes}
    before = {part.name for part in scenario.methods}
    return replace(
        new, methods=tuple(_budgeted(part, {} if part.name in before else budget, paths) for part in new.methods)
    )


def difference(preset: Scenario, scenario: Scenario) -> list[Change]:
    """The changes with which `changed` makes the scenario of its preset, none that follows from the others.

    Raises ValueError if no changes do, as where a piece has fewer settings than the preset's.
    """
    scenario = _unsettled(preset, scenario)
    changes = departures(preset, scenario)
    if not _makes(preset, changes, scenario):
        raise ValueError(f"no --set makes this scenario of {preset.name}")
    for change in [*changes]:
        rest = [other for other in changes if other != change]
        changes = rest if _makes(preset, rest, scenario) else changes
    return changes


def _unsettled(preset: Scenario, scenario: Scenario) -> Scenario:
    """Without the number of classes, if that is what its data says by itself."""
    without = replace(scenario, classes=preset.classes)
    return without if settled(without) == scenario else scenario


def _makes(preset: Scenario, changes: Sequence[Change], scenario: Scenario) -> bool:
    try:
        return changed(preset, changes).json() == scenario.json()
    except ValueError:  # a setting of a piece that is not named
        return False


def _limits(part: Part) -> dict[str, object]:
    return {name: part.args[name] for name in LIMITS if name in part.args}


def _budgeted(part: Part, budget: dict[str, object], paths: set[str]) -> Part:
    if part.name not in METHODS or not set(LIMITS) <= set(options(METHODS[part.name])):
        return part
    limits = [name for name in LIMITS if f"methods.{part.name}.{name}" in paths]
    if len(limits) == 1:
        (alone,) = limits
        (other,) = set(LIMITS) - {alone}
        return Part(part.name, dict(part.args) | {other: 0} if part.args[alone] else part.args)
    return Part(part.name, budget | dict(part.args))
