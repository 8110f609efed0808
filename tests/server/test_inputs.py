"""No run goes on with other settings, data or another training step than its rounds until now were played with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.config.part import Part
from core.config.scenario import Scenario
from fl.channel import Stopped
from server import checkpoint, inputs, run_folder
from tests.fakes import Onlooker, federate


@pytest.fixture
def two(tiny: Scenario) -> Scenario:
    return replace(tiny, train=200, test=60, validation=40, clients=2, cohort=2, rounds=2, looks=())


def interrupted(scenario: Scenario, folder: Path) -> None:
    """After its first round."""
    with pytest.raises(Stopped):
        federate(scenario, folder, Onlooker(2))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 7}, "seed = 0"),
        ({"rounds": 5, "strategy": Part("fedadam")}, 'rounds = 2, strategy = {"name": "fedavg"'),
    ],
)
def test_a_run_of_other_settings_is_refused(
    two: Scenario, changes: dict[str, object], words: str, tmp_path: Path
) -> None:
    interrupted(two, tmp_path)
    with pytest.raises(ValueError, match="is not what rounds 1 to 1 were played with: put it back") as refused:
        federate(replace(two, **changes), tmp_path)  # type: ignore[arg-type]
    assert words in str(refused.value)
    assert len(federate(two, tmp_path).history) == 2


def test_a_run_of_other_data_is_refused(two: Scenario, tmp_path: Path) -> None:
    """Whose labels somebody put right in the meantime, say."""
    dice = np.random.default_rng(0)
    own = {
        f"{what}_{part}": dice.integers(0, top, (count, *shape)).astype(np.uint8)
        for part, count in (("train", 400), ("test", 80))
        for what, top, shape in (("x", 256, (28, 28)), ("y", 10, ()))
    }
    file = tmp_path / "own.npz"
    np.savez(file, **own)  # type: ignore[arg-type]
    scenario = replace(two, data=str(file))
    interrupted(scenario, tmp_path / "run")
    np.savez(file, **own | {"y_train": (own["y_train"] + 1) % 10})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the data are not those that rounds 1 to 1"):
        federate(scenario, tmp_path / "run")
    np.savez(file, **own)  # type: ignore[arg-type]
    assert len(federate(scenario, tmp_path / "run").history) == 2


def test_a_checkpoint_of_a_program_that_knew_no_inputs_is_believed(two: Scenario, tmp_path: Path) -> None:
    interrupted(two, tmp_path)
    state, _ = checkpoint.newest(tmp_path)
    assert state and set(state.inputs) == {inputs.SETTINGS, inputs.IMAGES, inputs.STEP}
    checkpoint.save(tmp_path, replace(state, inputs={}))
    assert len(federate(replace(two, seed=7), tmp_path).history) == 2


def test_slow_devices_may_be_waited_for_longer_from_then_on(two: Scenario, tmp_path: Path) -> None:
    interrupted(two, tmp_path)
    assert len(federate(replace(two, round_timeout=700), tmp_path).history) == 2


def test_settings_of_older_names_are_compared_too() -> None:
    """By whatever a key was called then."""
    now = {inputs.SETTINGS: Scenario("x", seed=0).json(), inputs.IMAGES: "", inputs.STEP: ""}
    settings = json.loads(Scenario("x", seed=7).json())
    older = {{"round_timeout": "patience"}.get(key, key): value for key, value in settings.items()}
    with pytest.raises(ValueError, match="seed = 7"):
        inputs.check(Path("run"), 3, now | {inputs.SETTINGS: json.dumps(older)}, now)
    inputs.check(
        Path("run"), 3, now | {inputs.SETTINGS: '{"unheard": 1}'}, now
    )  # another version's: nothing can be said


def test_a_torn_training_step_is_made_anew(two: Scenario, tmp_path: Path) -> None:
    """Else no client could learn from there on, in every round."""
    scenario = replace(two, engine="litert", train=60, validation=20)
    whole = federate(scenario, tmp_path / "whole")
    interrupted(scenario, tmp_path / "parts")
    step = tmp_path / "parts" / run_folder.STEP
    before = step.read_bytes()
    step.write_bytes(before[:3000])
    assert federate(scenario, tmp_path / "parts").weights_sha256 == whole.weights_sha256
    assert step.read_bytes() == before
