"""What is named again keeps its settings, and a memory keeps its budget unless another is named."""

from __future__ import annotations

import shlex

import pytest

from core.config.part import Part
from scenarios import run
from scenarios.overrides import changed
from scenarios.presets import SCENARIOS

BUDGET = {"images": 0, "kilobytes": 157.8}


def methods(preset: str, line: str) -> dict[str, dict[str, object]]:
    """The methods that this command line makes of a preset, each with its settings."""
    args = run.parser().parse_args([preset, *shlex.split(line)])
    scenario, _ = run._wanted(args)
    return {part.name: dict(part.args) for part in scenario.methods}


@pytest.mark.parametrize(
    "line, wanted",
    [
        ("--set methods=derpp", {"derpp": BUDGET}),
        ("--set methods=replay", {"replay": BUDGET}),
        ("--set methods=replay+ewc", {"replay": BUDGET, "ewc": {}}),
        ("--set methods=derpp+agem", {"derpp": BUDGET, "agem": BUDGET}),
        ("--set methods=joint", {"joint": {}}),
        ("--set methods=replay --set methods.replay.share=0.3", {"replay": BUDGET | {"share": 0.3}}),
        # One limit that is named is the limit: the preset's bytes do not undercut it, nor do 200 images, the usual.
        ("--set methods=replay --set methods.replay.images=50", {"replay": {"images": 50, "kilobytes": 0}}),
        ("--set methods=replay --set methods.replay.kilobytes=500", {"replay": {"images": 0, "kilobytes": 500}}),
        ("--set methods.derpp.images=400", {"derpp": {"images": 400, "kilobytes": 0}}),
        (
            "--set methods=der --set methods.der.images=9 --set methods.der.kilobytes=20",
            {"der": {"images": 9, "kilobytes": 20}},
        ),
    ],
)
def test_a_memory_keeps_the_presets_budget_unless_another_is_named(line: str, wanted: object) -> None:
    assert methods("class_incremental", line) == wanted


def test_without_a_budget_in_the_preset_a_method_has_its_own() -> None:
    assert methods("noniid", "--set methods=replay") == {"replay": {}}


def test_a_piece_that_is_named_again_keeps_its_settings() -> None:
    noniid, staged = SCENARIOS["noniid"][0], SCENARIOS["class_incremental"][0]
    assert changed(staged, [("partition", "dirichlet")]).partition == Part("dirichlet", {"alpha": 1.0})
    assert changed(staged, [("stream", "classes")]).stream == staged.stream
    zoom = next(part for part in noniid.looks if part.name == "zoom")
    assert changed(noniid, [("looks", "rotate+zoom")]).looks == (Part("rotate"), zoom)
    assert changed(staged, [("partition", "labels")]).partition == Part("labels")
