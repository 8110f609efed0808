"""Ten tasks, each with all pixels in a new order: the classic test of how much a network can hold."""

from dataclasses import replace

from core.scenario import Local, Part
from scenarios.class_incremental import SCENARIO as CLASS_INCREMENTAL

SCENARIO = replace(
    CLASS_INCREMENTAL,
    name="permuted",
    rounds=50,  # five a task
    partition=Part("shards", {"per_client": 2}),  # as FOT (arXiv:2309.01289) splits its non-IID clients
    stream=Part("permuted", {"tasks": 10}),
    methods=(Part("replay", {"images": 2000}),),
    augment=(),  # there is no geometry in permuted pixels
    local=Local(rate=0.05, momentum=0.5),
)
