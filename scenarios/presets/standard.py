"""Presets of standard federated learning: what clients hold, and how it looks, does not change.

A client that holds few digits makes its own look a clue to them, and training, centralized too, learns the clue: with two
labels a client the loss on plain images rose from round 4 on, while it fell on the clients' own (tests.bench.stability). No
rate and no clipping cures that. So in these presets looks differ less than augmentations vary: what varies at random is a clue to
nothing.
"""

from __future__ import annotations

from dataclasses import replace

from core.config.part import Part
from core.config.scenario import Local, Scenario

GEOMETRY = tuple(Part(name) for name in ("rotate", "zoom", "shift", "elastic"))

MILD = Scenario(
    name="mild",
    clients=20,
    cohort=6,  # few clients and many rounds: the same examples make more steps, and averaging loses less
    rounds=30,
    partition=Part("dirichlet", {"alpha": 0.3}),  # most clients miss some digits and drown in others
    looks=(
        Part("rotate"),
        Part("stroke", {"low": -0.15, "high": 0.25}),
        Part("blur", {"low": 0.0, "high": 0.4}),
        Part("contrast", {"low": 0.9, "high": 1.1}),
        Part("zoom", {"low": 0.97, "high": 1.03}),
        Part("right", {"low": -0.3, "high": 0.3}),
        Part("down", {"low": -0.3, "high": 0.3}),
    ),
    augment=(*GEOMETRY, Part("stroke"), Part("focus"), Part("contrast")),
    local=Local(rate=0.03, momentum=0.9),
)

# Where plain FedAvg is visibly worse than all data in one place. Rate, strategy and softmax were chosen with seed 11 on validation
# images; 0.05 is FedAvg's best rate too, of 0.03, 0.05 and 0.1.
NONIID = replace(
    MILD,
    name="noniid",
    train=19_000,
    validation=1000,
    clients=10,
    cohort=10,  # all of them in every round, as hospitals would be
    rounds=52,
    partition=Part("dirichlet", {"alpha": 0.1}),  # most clients lack most digits
    strategy=Part("fedcm", {"momentum": 0.8, "rounds": 2}),
    softmax=Part("balanced", {"strength": 0.5}),
    local=Local(epochs=0.25, rate=0.05, momentum=0.9),
    centralized_rate=0.03,
)

QUICK = replace(
    MILD,
    name="quick",
    train=6000,
    test=2000,
    validation=500,
    clients=10,
    cohort=5,
    rounds=6,
    local=Local(epochs=2.0, rate=0.03, momentum=0.9),
)

IID = replace(MILD, name="iid", partition=Part("iid"), looks=(), augment=GEOMETRY)

PATHOLOGICAL = Scenario(
    name="pathological",
    clients=100,
    cohort=10,
    rounds=60,
    partition=Part("shards", {"per_client": 2}),
    augment=tuple(Part(name) for name in ("rotate", "zoom", "shift")),
    local=Local(rate=0.05),
)

CROWD = Scenario(
    name="crowd",
    clients=100_000,
    cohort=100,
    rounds=50,
    partition=Part("sample", {"images": 60, "k": 2}),
    looks=NONIID.looks,
    augment=GEOMETRY,
    local=Local(rate=0.05, epochs=2.0),
)

CENTRALIZED = replace(
    MILD,
    name="centralized",
    clients=1,
    cohort=1,
    rounds=20,  # of one epoch each
    partition=Part("iid"),
    looks=(),
    augment=GEOMETRY,
    local=Local(rate=0.03, momentum=0.9),
)
