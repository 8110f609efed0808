"""McMahan's pathological split (arXiv:1602.05629): two label shards a client, a tenth of the clients a round."""

from core.scenario import Local, Part, Scenario

SCENARIO = Scenario(
    name="pathological",
    clients=100,
    cohort=10,
    rounds=60,
    partition=Part("shards", {"per_client": 2}),
    augment=tuple(Part(name) for name in ("rotate", "zoom", "shift")),
    local=Local(rate=0.05),
)
