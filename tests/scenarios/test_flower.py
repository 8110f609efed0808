"""What `flwr run` may be told: a preset's name or a scenario's JSON, changes, a folder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from core.config.scenario import Scenario
from fl.roster import AnyNode
from scenarios import flower
from scenarios.presets import SCENARIOS
from server import run_folder
from server.fleet import Fleet


def play(**config: str) -> Any:
    """The arguments with which the run is played."""
    with mock.patch("scenarios.flower.run") as run:
        flower.main(
            mock.Mock(), SimpleNamespace(run_config={"scenario": "quick", "set": "", "out": "", "nodes": ""} | config)
        )
    return run.call_args.args


def test_a_scenario_is_a_preset_or_json_with_changes() -> None:
    quick = SCENARIOS["quick"][0]
    assert flower.requested("quick", "") == quick
    assert flower.requested("quick", "rounds=3 'methods=replay+ewc'") == quick.with_(
        ("rounds", "3"), ("methods", "replay+ewc")
    )
    assert flower.requested(quick.json(), "seed=7") == quick.with_(("seed", "7"))
    for scenario, changes, message in (
        ("quik", "", "'quik'"),
        ("quick", "rounds", "'rounds' should be key=value"),
        ("{", "", "property name"),
    ):
        with pytest.raises(ValueError, match=message):
            flower.requested(scenario, changes)


def test_a_folder_goes_on_with_its_own_scenario_only(tmp_path: Path) -> None:
    _, scenario, folder, _, assignment = play(out=str(tmp_path / "mine"), set="rounds=3")
    assert Scenario.read(folder / run_folder.SCENARIO) == scenario and isinstance(assignment, AnyNode)
    assert isinstance(play(out=str(folder), set="rounds=3")[4], AnyNode)  # it goes on, as it began
    with pytest.raises(ValueError, match="is another scenario's"):
        play(out=str(folder), set="rounds=4")
    assert isinstance(play(out=str(folder), set="rounds=3", nodes=str(tmp_path / "nodes.json"))[4], Fleet)


def test_two_at_once_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [play()[2] for _ in range(2)] == [Path("runs/quick-0"), Path("runs/quick-0-2")]
