"""Clients come with digits that nobody had, and others leave with theirs: nobody is asked for what is gone."""

from dataclasses import replace

from core.scenario import Local, Part
from scenarios.class_incremental import SCENARIO as CLASS_INCREMENTAL

SCENARIO = replace(
    CLASS_INCREMENTAL,
    name="newcomers",
    partition=Part("labels", {"k": 3}),
    stream=Part("whole"),
    join=((6, 8), (7, 8), (8, 15), (9, 15)),
    leave=((0, 15), (1, 15)),
    schedule=Part("constant"),  # whoever comes late deserves as large a step
    local=Local(rate=0.05),
    probe=0,
)
