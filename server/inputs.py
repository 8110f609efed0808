"""What the rounds of a run are played with, beside its state: a checkpoint knows them, so that no run goes on with others."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.arrays import digest
from core.config.parse import typed
from core.config.scenario import Scenario, renamed
from core.data import DATASETS, Data
from core.safe_json import json_object
from server import run_folder

ASIDE = (
    "name",
    "round_timeout",
)  # settings that may be changed between two rounds: how long slow devices are waited for
SETTINGS, IMAGES, STEP = "settings", "images", "step"


def inputs(scenario: Scenario, data: Data, step: bytes) -> dict[str, str]:
    """The settings, as JSON, and what tells other data and another training step apart: SHA-256, empty where there is none.

    A data set that is known by name is read by its digest anyway.
    """
    parts = (data.train, data.validation, data.test, data.earlier)
    images = "" if scenario.data in DATASETS else digest([array for part in parts for array in (part.x, part.y)])
    return {SETTINGS: scenario.json(), IMAGES: images, STEP: step_digest(step)}


def step_digest(step: bytes) -> str:
    """What tells one training step's file from another."""
    return hashlib.sha256(step).hexdigest() if step else ""


def check(folder: Path, round: int, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raises ValueError if a run's rounds until now were played with other settings or data: the rest would not belong to them.

    before: as the checkpoint of that round has them; an older program's has none, and is believed.
    """
    played, wanted = (_settings(one.get(SETTINGS, "")) for one in (before, now))
    if changed := [key for key in wanted if played and key not in ASIDE and wanted[key] != played[key]]:
        was = ", ".join(f"{key} = {json.dumps(played[key])}" for key in changed)
        raise ValueError(
            f"{folder / run_folder.SCENARIO} is not what rounds 1 to {round} were played with: put it back ({was[:300]}), "
            "or begin anew"
        )
    if before.get(IMAGES, now[IMAGES]) != now[IMAGES]:
        raise ValueError(
            f"the data are not those that rounds 1 to {round} of {folder} learned from: put them back, or begin anew"
        )


def _settings(text: str) -> dict[str, Any]:
    """By key; none, if this version of the program cannot read them."""
    try:
        return dataclasses.asdict(typed("scenario", renamed(json_object(text.encode())), Scenario))
    except ValueError:
        return {}
