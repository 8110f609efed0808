"""Presets for real devices."""

from __future__ import annotations

from core.config.part import Part
from core.config.scenario import Local, Scenario

PI = Scenario(
    name="pi",
    train=6000,
    clients=4,
    cohort=4,
    rounds=5,
    validation=500,
    partition=Part("dirichlet", {"alpha": 1.0}),
    augment=(Part("rotate"), Part("shift")),
    engine="litert",  # a node starts a fresh process for every message: TensorFlow alone takes seconds to import
    local=Local(rate=0.05, momentum=0.9),
    round_timeout=300.0,
)
