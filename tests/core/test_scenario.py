"""A scenario checks itself, says what is wrong, and survives JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import overrides
from core.config.part import Part, options
from core.config.scenario import Scenario
from core.methods import METHODS
from core.schedule import SCHEDULES
from core.views.augment import AUGMENTS
from core.views.looks import LOOKS
from fl.partition import PARTITIONERS
from fl.strategies import STRATEGIES
from scenarios.presets import SCENARIOS


def piece(alpha: int, *, k: int = 2, share: float = 0.5, flag: bool = False, needed: str) -> str:
    """a registered piece"""
    return f"{alpha} {k} {share} {flag} {needed}"


BASE = Scenario("base", augment=tuple(Part(name) for name in AUGMENTS), looks=(Part("blur"),))
REGISTRY = {"piece": piece, "bare": lambda alpha: alpha}


def one_of(registry: Any) -> st.SearchStrategy[str]:
    return st.sampled_from(sorted(registry))


def several(registry: Any) -> st.SearchStrategy[str]:
    names = st.lists(one_of(registry), max_size=4, unique=True)
    return names.map(lambda chosen: "+".join(chosen) if chosen else "none")


OVERRIDES = st.fixed_dictionaries({}, optional={
    "seed": st.integers(0, 2**63 - 1), "train": st.integers(0, 60_000), "clients": st.integers(100, 1_000_000),
    "rounds": st.integers(1, 1_000_000), "noise": st.floats(0, 1), "round_timeout": st.floats(0.001, 1e9),
    "model.dropout": st.floats(0, 0.99), "model.l2": st.floats(0, 100), "local.momentum": st.floats(0, 0.9999),
    "local.epochs": st.floats(0.01, 100), "local.batch": st.integers(1, 65_536), "local.rate": st.floats(0, 1000),
    "partition": one_of(PARTITIONERS), "strategy": one_of(STRATEGIES), "schedule": one_of(SCHEDULES),
    "methods": one_of(METHODS), "looks": several(LOOKS), "augment": several(AUGMENTS), "data": st.text(min_size=1),
})  # fmt: skip


@given(one_of(SCENARIOS), OVERRIDES)
def test_every_scenario_survives_json(name: str, overrides: dict[str, Any]) -> None:
    preset = SCENARIOS[name][0]
    if preset.join:  # clients come and go in rounds that must be there
        overrides.pop("rounds", None)
    scenario = preset.with_(*((key, str(value)) for key, value in overrides.items()))
    back = Scenario.of(scenario.json())
    assert back == scenario and back.json() == scenario.json()
    assert "\n" not in scenario.json()


@given(OVERRIDES)
def test_an_override_changes_its_key_and_no_other(overrides: dict[str, Any]) -> None:
    changed = dataclasses.asdict(BASE.with_(*((key, str(value)) for key, value in overrides.items())))
    roots = {key.split(".")[0] for key in overrides}
    assert {key for key, value in dataclasses.asdict(BASE).items() if changed[key] != value} <= roots
    for key in roots & {"seed", "train", "clients", "rounds", "noise", "round_timeout", "data"}:
        assert changed[key] == overrides[key] and type(changed[key]) is type(overrides[key])


def test_settings_are_the_defaults_with_what_is_given() -> None:
    settings = Part("piece", {"needed": "x", "share": 1}).settings("piece", REGISTRY)
    assert settings == {"k": 2, "share": 1.0, "flag": False, "needed": "x"}
    assert type(settings["share"]) is float
    assert Part("piece", {"needed": "x"}).build("piece", REGISTRY, 7) == "7 2 0.5 False x"


@pytest.mark.parametrize(
    "part, words",
    [
        (Part("peace"), ["unknown toy", "'peace'", "bare, piece"]),
        (Part("piece", {"needed": "x", "kk": 1}), ["'kk'", "k, needed, share"]),
        (Part("bare", {"k": 1}), ["'k'", "(it has none)"]),
        (Part("piece", {}), ["toy 'piece' needs needed"]),
        (Part("piece", {"needed": 3}), ["toy.needed = 3", "str"]),
        (Part("piece", {"needed": "x", "k": 2.5}), ["toy.k = 2.5", "whole number"]),
        (Part("piece", {"needed": "x", "k": True}), ["toy.k = True", "whole number"]),
        (Part("piece", {"needed": "x", "share": "wide"}), ["toy.share = 'wide'", "should be a number"]),
        (Part("piece", {"needed": "x", "share": True}), ["toy.share = True", "should be a number"]),
        (Part("piece", {"needed": "x", "share": float("nan")}), ["toy.share = nan", "should be a number"]),
        (Part("piece", {"needed": "x", "flag": 1}), ["toy.flag = 1", "bool"]),
    ],
)
def test_a_wrong_setting_is_named_with_the_choices(part: Part, words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        part.settings("toy", REGISTRY)
    assert all(word in str(caught.value).replace("flag, ", "") for word in words), caught.value


@pytest.mark.parametrize("registry", [PARTITIONERS, STRATEGIES, SCHEDULES, METHODS, AUGMENTS, LOOKS])
def test_every_registered_piece_has_a_meaning_and_typed_defaults(registry: dict[str, Any]) -> None:
    for name, entry in registry.items():
        assert entry.__doc__ and entry.__doc__.strip()
        settings = Part(name).settings("piece", registry)  # so all settings have defaults …
        assert Part(name, settings).settings("piece", registry) == settings  # … of the right types
        assert set(settings) == set(options(entry))


@pytest.mark.parametrize(
    "path, text, words",
    [
        ("colour", "red", ["unknown key 'colour'", "strategy"]),
        ("seed", "1.5", ["seed = 1.5", "whole number"]),
        ("seed", "true", ["seed = True", "whole number"]),
        ("seed", "-1", ["seed = -1", "0"]),
        ("seed", "x", ["seed = 'x'", "whole number"]),
        ("seed.x", "1", ["seed has no parts"]),
        ("noise", "1.01", ["noise = 1.01", "0 … 1"]),
        ("noise", "NaN", ["noise = nan"]),
        ("clients", "0", ["clients = 0"]),
        ("cohort", "21", ["cohort = 21", "clients = 20"]),
        ("rounds", "0", ["rounds = 0"]),
        ("round_timeout", "0", ["round_timeout = 0"]),
        *[(key, "Infinity", [f"{key} = inf"]) for key in ("round_timeout", "max_update_ratio", "count_ratio")],
        ("local", "5", ["unknown key of 'local'", "batch, clip, epochs, momentum, rate"]),
        ("local.bach", "5", ["'bach'", "batch, clip, epochs, momentum, rate"]),
        ("local.batch", "0", ["local.batch = 0"]),
        ("local.batch", "8.5", ["local.batch = 8.5", "whole number"]),
        ("local.momentum", "1", ["local.momentum = 1"]),
        ("model.dropout", "1", ["model.dropout = 1"]),
        ("augment.rotat.degrees", "5", ["'rotat'", "contrast, elastic, focus, rotate, shift, stroke, zoom"]),
    ],
)
def test_a_wrong_override_is_refused_and_named(path: str, text: str, words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        BASE.with_((path, text))
    assert all(word in str(caught.value) for word in words), caught.value


def test_overrides_are_typed() -> None:
    changed = BASE.with_(
        ("noise", "1"), ("local.epochs", "2"), ("data", "123"), ("partition", "labels"), ("partition.k", "1"),
        ("augment", "rotate+shift"), ("augment.rotate.degrees", "10"), ("looks", "none"),
    )  # fmt: skip
    assert type(changed.noise) is float and changed.noise == 1.0
    assert changed.local == replace(BASE.local, epochs=2.0) and type(changed.local.epochs) is float
    assert changed.data == "123"
    assert changed.partition == Part("labels", {"k": 1})
    assert changed.augment == (Part("rotate", {"degrees": 10}), Part("shift")) and changed.looks == ()


def test_limits_that_hang_together_may_change_together_in_any_order() -> None:
    changes = [("cohort", "50"), ("clients", "60")]
    assert BASE.with_(*changes) == BASE.with_(*reversed(changes))


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_made_again_by_its_own_paths_and_texts(name: str) -> None:
    scenario = SCENARIOS[name][0]
    assert Scenario("other").with_(*overrides.flat(scenario).items()).json() == scenario.json()
    assert overrides.departures(scenario, scenario) == []
    assert overrides.departures(scenario, replace(scenario, noise=0.25)) == [("noise", "0.25")]


def test_values_from_python_are_set_as_they_are() -> None:
    digits, pairs, blur = (8, 9), ((1, 2),), (Part("blur"),)
    given: list[tuple[str, Any, Any]] = [
        ("digits", [8, 9], digits), ("digits", digits, digits), ("digits", (), ()), ("join", pairs, pairs),
        ("looks", ["blur"], blur), ("looks", "blur", blur), ("looks", [], ()), ("noise", 0.5, 0.5), ("train", 3, 3),
        ("methods", ["replay", "ewc"], (Part("replay"), Part("ewc"))), ("ink", "dark", "dark"),
    ]  # fmt: skip
    for path, value, made in given:
        assert getattr(BASE.with_((path, overrides.text(value))), path) == made, path


@pytest.mark.parametrize(
    "text",
    [
        "[]", "5", "not json", "{}", '{"name": 1}', '{"name": "x", "colour": 1}', '{"name": "x", "local": 5}',
        '{"name": "x", "local": {"bach": 1}}', '{"name": "x", "looks": [5]}', '{"name": "x", "looks": "blur"}',
        '{"name": "x", "partition": {"name": 5}}', '{"name": "x", "partition": {"name": "iid", "more": 1}}',
        '{"name": "x", "partition": {"name": "iid", "args": 5}}', '{"name": "x", "seed": "0"}',
        '{"name": "x", "noise": NaN}', '{"name": "x", "seed": null}', "", "null", "[" * 100_000, '{"a":' * 100_000,
        '{"name": "x", "noise": 1' + "0" * 400 + "}", '{"name": "x", "seed": 1' + "0" * 5000 + "}",
        '{"name": "x", "name": "y"}', '{"name": "x", "partition": {"name": "iid", "args": {"a": {}}}}',
        '{"name": "x", "partition": {"name": "iid", "args": {"a": ' + "[" * 300 + "]" * 300 + "}}}",
        '{"name": "x", "partition": {"name": "iid", "args": {"a": NaN}}}', '{"name": "x", "ink": "blue"}',
    ],
)  # fmt: skip
def test_json_that_is_no_scenario_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        Scenario.of(text)


def test_a_scenario_of_an_older_version_takes_the_defaults_of_what_it_lacks() -> None:
    assert Scenario.of('{"name": "x", "seed": 3}') == Scenario("x", seed=3)


def test_equal_scenarios_have_equal_json_whatever_the_order_of_their_settings() -> None:
    one = Scenario("x", partition=Part("p", {"a": 1, "b": 2}))
    other = Scenario("x", partition=Part("p", {"b": 2, "a": 1}))
    assert one.json() == other.json() and json.loads(one.json())["partition"]["args"] == {"a": 1, "b": 2}


def test_an_error_shows_the_beginning_of_a_long_value() -> None:
    for text in ('{"name": "x", "' + "k" * 10_000 + '": 1}', '{"name": "x", "seed": "' + "v" * 10_000 + '"}'):
        with pytest.raises(ValueError) as caught:
            Scenario.of(text)
        assert len(str(caught.value)) < 1_000 and "…" in str(caught.value)


def test_brackets_on_the_command_line_are_a_word() -> None:
    with pytest.raises(ValueError, match="seed = '"):
        BASE.with_(("seed", "[" * 100_000))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"digits": (3, 4, 3)}, r"digits = \[3, 4, 3\] names 3 twice"),
        ({"digits": (3,), "noise": 0.1}, "noise = 0.1 needs a wrong label"),
    ],
)
def test_digits_name_each_label_once_and_noise_needs_two(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(BASE, **change)
