"""What is named again keeps its settings, and a memory keeps its budget unless another is named."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.config.overrides import text
from core.config.part import Part
from core.data import settled
from scenarios import run
from scenarios.deployment import flwr_cli
from scenarios.experiment.again import again
from scenarios.experiment.options import RunOptions
from scenarios.overrides import changed, difference
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


@pytest.mark.parametrize(
    "preset, line",
    [
        ("noniid", ""),
        ("noniid", "--set partition.alpha=0.05"),
        ("noniid", "--set partition=labels --set partition.k=1 --set looks=none"),
        ("noniid", "--set strategy=fedprox --set strategy.mu=0.1 --set local.epochs=2.0"),
        ("class_incremental", "--set methods=replay"),  # which takes over the preset's budget
        ("class_incremental", "--set methods.derpp.images=50"),  # which means that limit alone
        ("class_incremental", "--set methods=replay+ewc --set methods.replay.images=50 --set softmax=masked"),
        ("newcomers", "--set 'join=[[6, 9]]' --set 'digits=[8, 9]'"),
    ],
)
def test_a_run_is_made_again_by_what_was_changed(preset: str, line: str) -> None:
    """Not by forty settings: the changes that were given are found again, and they make the same scenario."""
    before = SCENARIOS[preset][0]
    changes = [tuple(word.split("=", 1)) for word in shlex.split(line)[1::2]]
    found = difference(before, changed(before, changes))
    assert sorted(found) == sorted(changes)


@pytest.mark.parametrize("name", SCENARIOS)
def test_most_presets_can_become_any_other(name: str) -> None:
    count = 0
    for other in SCENARIOS:
        before, wanted = (replace(SCENARIOS[one][0], name="x") for one in (name, other))
        try:
            found = difference(before, wanted)
        except ValueError:  # a piece of the same name cannot lose a setting
            continue
        assert changed(before, found) == wanted
        count += 1
    assert count >= 10


def test_the_number_of_classes_that_data_has_by_itself_is_not_said(tmp_path: Path) -> None:
    """A run of a user's own data has it in its settings, where nobody has set it."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (60, 28, 28), np.uint8), np.arange(60) % 12
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    preset, changes = SCENARIOS["iid"][0], [("data", str(tmp_path / "own.npz"))]
    scenario = settled(changed(preset, changes))
    assert scenario.classes == 12 and difference(preset, scenario) == changes


def test_what_a_preset_cannot_become_is_refused() -> None:
    preset = SCENARIOS["noniid"][0]
    with pytest.raises(ValueError, match="no --set makes"):
        difference(preset, replace(preset, looks=(Part("stroke"),)))  # without the limits that the preset's has


def test_the_command_of_a_run() -> None:
    scenario = changed(SCENARIOS["noniid"][0], [("partition.alpha", "0.05"), ("seed", "3")])
    line = "python -m scenarios.run noniid --set partition.alpha=0.05 --seed 3"
    assert shlex.join(again(scenario, RunOptions(workers=2, baselines="all"))) == line
    assert (
        shlex.join(again(scenario, RunOptions())) == f"{line} --baselines centralized"
    )  # noniid is compared with all, if nobody says
    later = replace(scenario, past=1)
    assert shlex.join(again(later, RunOptions(baselines="all", source=Path("runs/a b")))) == f"{line} --from 'runs/a b'"
    home = RunOptions(baselines="none", federation=flwr_cli.HOME.absolute())
    assert shlex.join(again(scenario, home)) == line.replace("scenarios.run", "scenarios.deploy run")
    args = run.parser().parse_args(shlex.split(line)[3:])
    assert run._wanted(args)[0] == scenario


@pytest.mark.parametrize("preset", ["noniid", "class_incremental"])
def test_the_command_of_a_run_that_has_a_name_of_its_own_begins_with_the_nearest_preset(preset: str) -> None:
    scenario = changed(SCENARIOS[preset][0], [("name", "mine"), ("rounds", "3")])
    words = again(scenario, RunOptions())
    assert words[3] == preset and run._wanted(run.parser().parse_args(words[3:]))[0] == scenario


def test_values_from_python_are_written_as_the_command_line_takes_them() -> None:
    assert [text(one) for one in (0.1, 3, True, [8, 9], ["replay", "ewc"], (), "x")] == [
        "0.1", "3", "true", "[8, 9]", "replay+ewc", "none", "x",
    ]  # fmt: skip
