"""Ten tasks, each with all pixels in a new order: the classic test of how much a network can hold.

Clients, cohort, shards, batch and model are those of FOT (Bakman et al. 2024, arXiv:2309.01289, and its code); FOT takes
200 rounds a task and stores nothing of the images; we take 20, with momentum on the server, and store 157.8 kB a client.
"""

from dataclasses import replace

from core.scenario import Local, Model, Part
from scenarios.class_incremental import SCENARIO as CLASS_INCREMENTAL

SCENARIO = replace(
    CLASS_INCREMENTAL,
    name="permuted",
    clients=125,
    cohort=64,
    rounds=200,  # twenty a task
    partition=Part("shards", {"per_client": 2}),  # two digits or so a client
    stream=Part("permuted", {"tasks": 10}),
    strategy=Part("fedavgm"),  # with two digits a client, single rounds point to many sides
    augment=(),  # there is no geometry in permuted pixels
    model=Model(kind="mlp"),
    local=Local(rate=0.1, batch=64),
    probe=0,
)
