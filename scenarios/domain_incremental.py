"""The same digits under new conditions: turned, blurred, noisy, pale, inverted; each stage brings new images of them."""

from dataclasses import replace

from core.scenario import Part
from scenarios.class_incremental import SCENARIO as CLASS_INCREMENTAL

SCENARIO = replace(
    CLASS_INCREMENTAL,
    name="domain_incremental",
    rounds=30,  # five a condition
    stream=Part("domains"),
)
