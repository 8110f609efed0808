"""An impossible scenario is refused at the door; every registered one is possible."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.part import Part
from core.config.scenario import Model, Scenario
from scenarios.check import LOOK_BACK, REGISTRIES, cautions, check, listing, without_effect
from scenarios.presets import SCENARIOS
from tests.fakes import federate


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_is_possible(name: str) -> None:
    check(SCENARIOS[name][0])


@pytest.mark.parametrize("kind, name", [(kind, name) for kind in REGISTRIES for name in REGISTRIES[kind]])
def test_every_registered_piece_can_be_asked_for_by_its_name(tiny: Scenario, kind: str, name: str) -> None:
    wide = replace(tiny, clients=10, cohort=10, rounds=10)
    if name == "fedbn":  # which keeps a model's norms
        wide = replace(wide, model=Model(norm="batch"))
    changes = [(kind, name)]
    if name == "redealt":  # a deal for each stage
        changes += [("stream", "permuted"), ("stream.redealt", "true")]
    check(wide.with_(*changes))


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
        ({"partition": Part("redealt")}, "partition = redealt goes with stream.redealt = true"),
        ({"stream": Part("permuted", {"tasks": 1, "redealt": True})}, "times being stream.tasks"),
        ({"looks": (Part("blur"), Part("blur"))}, "looks = blur+blur names one piece twice"),
        ({"augment": (Part("zoom"), Part("shift"), Part("zoom"))}, "augment = zoom+shift+zoom names one piece twice"),
        ({"methods": (Part("finetune"), Part("finetune"))}, "names one piece twice"),
        ({"methods": (Part("acil"), Part("stsa"))}, "methods = acil+stsa each solve the head"),
        ({"looks": (Part("blur", {"high": 9.0}),)}, "blur: 0.0 … 9.0"),
        ({"augment": (Part("rotate", {"degrees": "wide"}),)}, "'wide'"),
        (
            {"stragglers": 1.0, "drop_stragglers": True},
            "stragglers = 1 with drop_stragglers leaves nobody of cohort = 3",
        ),
        (
            {"strategy": Part("krum"), "cohort": 5, "clients": 5, "leave": ((0, 2),)},
            "not 4, as are asked in round 2",
        ),
        (
            {"strategy": Part("bulyan"), "cohort": 7, "clients": 7, "stragglers": 0.5, "drop_stragglers": True},
            "strategy bulyan needs a cohort of at least 7 (4·malicious + 3), not 3, as are asked in round 1",
        ),
        ({"strategy": Part("ditto"), "methods": (Part("acil", {"warm": 2}),)}, "strategy = ditto cannot be had with"),
        (
            {"test": 3, "rounds": 10, "stream": Part("classes", {"per_task": 1})},
            "few.npz has 3 test images (test = 3), and none of them for: ",
        ),
        ({"test_condition": "zoom:0"}, "zoom: 0.0 … 0.0 should be a range within 0.25 … 4"),
        *[
            ({"stream": Part("domains", {"conditions": f"plain+{condition}"})}, words)
            for condition, words in (
                ("zoom:0", "zoom: 0.0 … 0.0 should be a range within 0.25 … 4"),
                ("rotate:400", "within -180 … 180"),
                ("permute:inf", "should be name or name:number"),
                ("permute:0.5", "permute:0.5 should be a whole number"),
                ("noise:nan", "should be name or name:number"),
                ("noise:-1", "noise:-1 should be 0 … 10"),
                ("invert:2", "invert:2 should be 0 … 1"),
                ("deformed:3", "deformed:3 should be 0 … 2"),
            )
        ],
        ({"stream": Part("domains", {"conditions": "noise+noise:0.3"})}, "names one twice"),
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


def test_what_was_taught_before_and_has_no_test_image_is_said_and_refuses_nothing(tiny: Scenario) -> None:
    """Data of one's own may have none of an earlier run's labels."""
    later = replace(tiny, classes=12, digits=(4, 5), validation=0, past=1, past_tasks=("10,11 plain",))
    (note,) = check(later)
    assert "and none for earlier: 10, 11: it counts as misread, before and after" in note


def test_a_list_names_everything_with_its_meaning_and_settings() -> None:
    found = listing()
    assert set(found) == {"scenario", "condition", "model", "data", *REGISTRIES} and set(found["scenario"]) == set(
        SCENARIOS
    )
    for kind, registry in REGISTRIES.items():
        assert set(found[kind]) == set(registry) and all(found[kind].values())
    assert "alpha=0.3" in found["partition"]["dirichlet"]


MANY = replace(SCENARIOS["iid"][0], train=30000, validation=100)
ONE_STAGE = replace(SCENARIOS["iid"][0], train=600, validation=100)
WITHOUT = {
    "methods = replay": ("methods=replay",),
    "methods = lwf": ("methods=finetune+lwf",),
    "methods = stsa has no effect: its body trains in 150 of 150 rounds": ("methods=stsa", "rounds=150"),
    "methods = acil has no effect": ("methods=acil", "methods.acil.warm=150", "rounds=150"),
    "order = 0.5": ("order=0.5",),
    "lag = 0.2": ("lag=0.2",),
    "gate.forgetting = 0.05": ("gate.forgetting=0.05",),
    "probe = 100": ("probe=100",),
    "stragglers = 0.5": ("stragglers=0.5",),
    "drop_stragglers = true": ("drop_stragglers=true",),
    "weight_exponent = 0.5 has no effect: one client": ("weight_exponent=0.5", "clients=1", "cohort=1"),
    "weight_exponent = 0.5 has no effect: strategy krum": ("weight_exponent=0.5", "strategy=krum"),
    "strategy.beta = 0.2 has no effect": ("strategy=fedtrimmedavg", "cohort=4"),
    "methods = lwf has no effect: every stage": ("methods=lwf", "stream=domains", "train=30000"),
}


CAUTIONS = {
    "local.rate = 0 lets no client learn": ("local.rate=0",),
    "strategy = krum keeps the old weights where one": ("strategy=krum", "cohort=5"),
    "strategy = scaffold goes on counting": ("strategy=scaffold", "leave=[[1,2]]"),
    "schedule = plateau may end the run within a stage": ("schedule=plateau", "stream=classes"),
    "strategy = feddyn goes on counting": ("strategy=feddyn", "leave=[[1,2]]"),
    "methods = fedcurv sends something else": ("strategy=fedmedian", "methods=fedcurv"),
}


@pytest.mark.parametrize("words", CAUTIONS)
def test_what_a_strategy_does_not_do_is_said(words: str) -> None:
    (note,) = cautions(ONE_STAGE.with_(*(tuple(one.split("=")) for one in CAUTIONS[words])))  # type: ignore[misc]
    assert note.startswith(words)
    assert not any(cautions(scenario) for scenario, _ in SCENARIOS.values())


@pytest.mark.parametrize("words", WITHOUT)
def test_a_setting_that_cannot_have_an_effect_is_named(words: str) -> None:
    notes = without_effect(ONE_STAGE.with_(*(tuple(one.split("=")) for one in WITHOUT[words])))  # type: ignore[misc]
    assert len(notes) == 1 and notes[0].startswith(words)


@pytest.mark.parametrize(
    "change",
    [
        ("stream", "classes"),
        ("past", "2"),
        ("methods", "fedcurv"),
        ("gate.accuracy", "0.9"),
        ("strategy", "fedtrimmedavg"),
    ],
)
def test_what_has_an_effect_is_not_named(change: tuple[str, str]) -> None:
    of_stages = (("order", "0.5"), ("gate.forgetting", "0.05"), ("methods", "replay"))
    assert without_effect(ONE_STAGE.with_(*(of_stages if change[0] in ("stream", "past") else ()), change)) == []


@pytest.mark.parametrize("change", [("partition", "labels"), ("train", "600"), ("digits", "[0,1,2]")])
def test_lwf_has_an_effect_where_clients_lack_classes(change: tuple[str, str]) -> None:
    assert without_effect(MANY.with_(("methods", "lwf"), ("stream", "domains"), change)) == []


def test_a_trimmed_mean_cuts_where_more_are_asked_later() -> None:
    joined = [[client, 5] for client in range(4, 10)]
    few = ONE_STAGE.with_(("strategy", "fedtrimmedavg"), ("cohort", "8"), ("rounds", "9"), ("join", str(joined)))
    assert without_effect(few) == []
    assert len(without_effect(few.with_(("cohort", "4")))) == 1


def test_of_all_scenarios_only_one_says_such_a_thing_of_itself() -> None:
    assert {name for name, (scenario, _) in SCENARIOS.items() if without_effect(scenario)} <= {"newcomers"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LOOK_BACK, "fedcurv"])
def test_methods_that_look_back_learn_the_same_as_none_where_there_is_one_stage(
    tiny: Scenario, name: str, tmp_path: Path
) -> None:
    """That a note says the truth, and that it is not said of what does have an effect."""
    small = replace(tiny, train=200, rounds=2, clients=2, cohort=2, looks=(), augment=())
    with_it = federate(replace(small, methods=(Part(name),)), tmp_path / "with").weights_sha256
    without = federate(replace(small, methods=(Part("finetune"),)), tmp_path / "without").weights_sha256
    assert (with_it == without) == (name in LOOK_BACK)


@pytest.mark.parametrize("setting", ["gate.accuracy=0.5", "gate.forgetting=0.1"])
def test_a_gate_without_validation_images_is_refused_by_name(tiny: Scenario, setting: str) -> None:
    name, value = setting.split("=")
    gated = tiny.with_((name, value))
    check(gated)
    with pytest.raises(ValueError, match=rf"{name} = {value} needs validation > 0"):
        check(replace(gated, validation=0))
