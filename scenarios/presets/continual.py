"""Presets of continual learning: new digits, new conditions, more data and new clients arrive while the federation learns."""

from __future__ import annotations

from dataclasses import replace

from core.config.part import Part
from core.config.scenario import Local, Model, Scenario

# The Federated Split-MNIST protocol, with 157.8 kB a client (200 plain images) to remember by.
CLASS_INCREMENTAL = Scenario(
    name="class_incremental",
    clients=10,
    cohort=10,
    rounds=25,  # five a task
    partition=Part("dirichlet", {"alpha": 1.0}),
    stream=Part("classes", {"per_task": 2}),
    methods=(Part("derpp", {"images": 0, "kilobytes": 157.8}),),
    augment=tuple(Part(name) for name in ("rotate", "zoom", "shift", "elastic")),  # few images, seen often: fresh views
    schedule=Part("restarts"),  # large steps for what is new, small ones before the next task
    weight_exponent=0.5,  # whoever holds most of the new digits does not outvote those who remember the old ones
    # Half of every batch is rehearsed, so two passes see what is new once; a new task begins with long gradients.
    local=Local(epochs=2.0, rate=0.1, clip=5.0),
    probe=200,
)

DOMAIN_INCREMENTAL = replace(
    CLASS_INCREMENTAL,
    name="domain_incremental",
    rounds=30,  # five a condition
    stream=Part("domains"),
)

ARRIVALS = replace(
    CLASS_INCREMENTAL, name="arrivals", stream=Part("arrivals", {"portions": 5}), schedule=Part("cosine"), probe=0
)

# Each client enters its stages late by up to half their length.
ASYNCHRONOUS = replace(CLASS_INCREMENTAL, name="asynchronous", order=1.0, lag=0.5)

# Nobody is asked for what is gone.
NEWCOMERS = replace(
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

# Clients, cohort, shards, batch and model are those of FOT (Bakman et al. 2024, arXiv:2309.01289, and its code); FOT takes
# 200 rounds a task and stores nothing of the images; we take 20, with momentum on the server, and store 157.8 kB a client.
PERMUTED = replace(
    CLASS_INCREMENTAL,
    name="permuted",
    clients=125,
    cohort=64,
    rounds=200,  # twenty a task
    partition=Part("shards", {"per_client": 2}),  # two digits or so a client
    stream=Part("permuted", {"tasks": 10}),
    # With two digits a client, single rounds point to many sides.
    strategy=Part("fedavgm", {"rate": 1.0, "momentum": 0.7}),
    augment=(),  # there is no geometry in permuted pixels
    model=Model(kind="mlp"),
    local=Local(epochs=2.0, rate=0.1, batch=64),
    probe=0,
)

# As arXiv:2601.13456 does with clothes.
SEASONAL = replace(
    CLASS_INCREMENTAL,
    name="seasonal",
    rounds=24,  # three a season
    stream=Part("seasons", {"seasons": 4, "years": 2, "mix": 0.05}),
)
