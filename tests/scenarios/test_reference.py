"""docs/settings.md is what the code says, and the code says something of every setting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.config.overrides import departures
from core.config.scenario import RANGES, Scenario
from scenarios import reference
from scenarios.check import REGISTRIES
from scenarios.presets import SCENARIOS

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == reference.page(), "make it anew: python -m scenarios.reference > docs/settings.md"


def test_every_setting_has_a_meaning() -> None:
    assert [key for key, _, note in reference.paths() if not note] == []
    pieces = [(kind, name, piece) for kind, registry in REGISTRIES.items() for name, piece in registry.items()]
    silent = [(kind, name, one[0]) for kind, name, piece in pieces for one in reference.settings(piece) if not one[3]]
    assert silent == []


def test_every_range_is_of_a_key() -> None:
    assert {name for name, _, _ in RANGES} <= {key for key, _, _ in reference.paths()}


@dataclass
class Sample:
    """Fields with comments wherever there may be some."""

    plain: int = 0
    beside: int = 0  # on its line
    # Above it,
    # in two lines.
    above: int = 0
    wide: tuple[int, ...] = (
        1,  # on a line of a
        2,  # wide value
    )


def spread(
    first: int,  # no setting
    *,
    one: float = 0.5,  # of every batch; range [0, 1)
    two: str = "# no comment",
) -> None:
    """Settings on lines of their own."""


def test_comments_are_read_beside_and_above() -> None:
    assert reference.comments(Sample) == {
        "plain": "", "beside": "on its line", "above": "Above it, in two lines.", "wide": "on a line of a wide value",
    }  # fmt: skip
    assert reference.comments(spread) == {"one": "of every batch; range [0, 1)", "two": ""}


def test_a_presets_changes_make_it_from_the_defaults() -> None:
    for scenario, _ in SCENARIOS.values():
        assert Scenario(scenario.name).with_(*departures(Scenario(scenario.name), scenario)).json() == scenario.json()
