"""Every client meets the digits in an order of its own, and enters its stages late by up to half their length."""

from dataclasses import replace

from scenarios.class_incremental import SCENARIO as CLASS_INCREMENTAL

SCENARIO = replace(CLASS_INCREMENTAL, name="asynchronous", order=1.0, lag=0.5)
