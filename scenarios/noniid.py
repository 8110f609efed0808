"""The default experience: clients that differ in what they hold, how it looks and how they augment it.

A client that holds few digits makes its own look a clue to them, and training, centralized too, learns the clue: with two labels
a client the loss on plain images rose from round 4 on, while it fell on the clients' own (tests.bench.stability). No rate and no
clipping cures that. So looks differ less than augmentations vary: what varies at random is a clue to nothing.
"""

from core.scenario import Local, Part, Scenario

GEOMETRY = tuple(Part(name) for name in ("rotate", "zoom", "shift", "elastic"))

SCENARIO = Scenario(
    name="noniid",
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
