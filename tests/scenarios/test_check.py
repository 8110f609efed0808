"""An impossible scenario is refused at the door; every registered one is possible."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.scenario import Model, Part, Scenario
from scenarios import SCENARIOS
from scenarios.check import REGISTRIES, check, listing


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_is_possible(name: str) -> None:
    check(SCENARIOS[name][0])


@pytest.mark.parametrize("kind, name", [(kind, name) for kind in REGISTRIES for name in REGISTRIES[kind]])
def test_every_registered_piece_can_be_asked_for_by_its_name(tiny: Scenario, kind: str, name: str) -> None:
    wide = replace(tiny, clients=10, cohort=10, rounds=10)
    check(wide.with_((kind, name)))


@pytest.mark.parametrize("kind", REGISTRIES)
def test_an_unknown_name_is_refused_with_the_choices(tiny: Scenario, kind: str) -> None:
    with pytest.raises(ValueError, match=f"unknown {kind} 'nothing'") as caught:
        check(tiny.with_((kind, "nothing")))
    assert all(name in str(caught.value) for name in REGISTRIES[kind])


@pytest.mark.parametrize("kind", REGISTRIES)
def test_an_unknown_setting_is_refused(tiny: Scenario, kind: str) -> None:
    name = next(iter(REGISTRIES[kind]))
    part = Part(name, {"nothing": 1})
    with pytest.raises(ValueError, match=rf"{kind} '{name}': 'nothing'"):
        check(replace(tiny, **{kind: (part,) if isinstance(getattr(tiny, kind), tuple) else part}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"clients": 51, "minimum": 10}, "51 clients × at least 10 examples is more than the 500"),
        ({"train": 801}, "train = 801 is more than the 800"),
        ({"validation": 600}, "validation = 600 leaves nothing"),
        ({"data": "no/such/folder"}, "'no/such/folder'"),
        ({"schedule": Part("plateau"), "validation": 0}, "validation > 0"),
        ({"schedule": Part("cosine", {"floor": 2.0})}, "floor = 2.0"),
        ({"strategy": Part("bulyan")}, "cohort of at least 7"),
        ({"partition": Part("labels", {"k": 11})}, "k = 11"),
        ({"looks": (Part("blur"), Part("blur"))}, "looks = blur+blur names one piece twice"),
        ({"augment": (Part("zoom"), Part("shift"), Part("zoom"))}, "augment = zoom+shift+zoom names one piece twice"),
        ({"methods": (Part("finetune"), Part("finetune"))}, "names one piece twice"),
        ({"looks": (Part("blur", {"high": 9.0}),)}, "blur: 0.0 … 9.0"),
        ({"augment": (Part("rotate", {"degrees": "wide"}),)}, "'wide'"),
        ({"augment": (Part("zoom", {"amount": 1.0}),)}, "amount = 1.0"),
        ({"augment": (Part("zoom", {"amount": -0.1}),)}, "amount = -0.1"),
        ({"augment": (Part("shift", {"share": -0.1}),)}, "share = -0.1"),
        ({"augment": (Part("elastic", {"sigma": -1.0}),)}, "sigma = -1.0"),
    ],
)
def test_what_is_impossible_is_refused_with_its_value(tiny: Scenario, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        check(replace(tiny, **change))
    assert words in str(caught.value)


@given(st.data())
def test_what_is_possible_is_let_in(tiny: Scenario, data: st.DataObject) -> None:
    clients = data.draw(st.integers(1, 50))
    check(replace(
        tiny, clients=clients, cohort=data.draw(st.integers(1, clients)), noise=data.draw(st.floats(0, 1)),
        partition=Part("dirichlet", {"alpha": data.draw(st.floats(0.001, 100))}),
        model=Model(data.draw(st.sampled_from(["cnn", "mlp"])), data.draw(st.floats(0, 0.9)), data.draw(st.floats(0, 1))),
    ))  # fmt: skip


def test_a_list_names_everything_with_its_meaning_and_settings() -> None:
    told = listing()
    assert set(told) == {"scenario", "condition", *REGISTRIES} and set(told["scenario"]) == set(SCENARIOS)
    for kind, registry in REGISTRIES.items():
        assert set(told[kind]) == set(registry) and all(told[kind].values())
    assert "alpha=0.3" in told["partition"]["dirichlet"]
