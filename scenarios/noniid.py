"""The default experience: clients that differ in what they hold, how it looks and how they augment it."""

from core.scenario import Local, Part, Scenario

SCENARIO = Scenario(
    name="noniid",
    clients=20,
    cohort=6,  # few clients and many rounds: the same examples make more steps, and averaging loses less
    rounds=30,
    partition=Part("dirichlet", {"alpha": 0.3}),  # most clients miss some digits and drown in others
    looks=(
        Part("rotate"),
        Part("stroke"),
        Part("blur"),
        Part("contrast"),
        # Small: a client that holds most of one digit makes the digit's place on the paper a clue that misleads elsewhere.
        Part("zoom", {"low": 0.97, "high": 1.03}),
        Part("right", {"low": -0.3, "high": 0.3}),
        Part("down", {"low": -0.3, "high": 0.3}),
    ),
    augment=tuple(Part(name) for name in ("rotate", "zoom", "shift", "elastic")),
    local=Local(rate=0.03, momentum=0.9),
)
