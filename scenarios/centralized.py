"""A federation of one, on all data, for twenty epochs: what the model can do when nothing is in its way."""

from dataclasses import replace

from core.scenario import Local, Part
from scenarios.noniid import GEOMETRY
from scenarios.noniid import SCENARIO as NONIID

SCENARIO = replace(
    NONIID,
    name="centralized",
    clients=1,
    cohort=1,
    rounds=20,  # of one epoch each
    partition=Part("iid"),
    looks=(),
    augment=GEOMETRY,
    local=Local(rate=0.03, momentum=0.9),
)
