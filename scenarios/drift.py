"""Seasons: each brings its own digits, and every year they come back (as arXiv:2601.13456 does with clothes)."""

from dataclasses import replace

from core.scenario import Part
from scenarios.class_incremental import SCENARIO as CLASS_INCREMENTAL

SCENARIO = replace(
    CLASS_INCREMENTAL,
    name="drift",
    rounds=24,  # three a season
    stream=Part("seasons", {"seasons": 4, "years": 2, "mix": 0.05}),
)
