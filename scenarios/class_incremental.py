"""New digits, two at a time: the Federated Split-MNIST protocol, with 157.8 kB a client (200 plain images) to remember by."""

from core.scenario import Local, Part, Scenario

SCENARIO = Scenario(
    name="class_incremental",
    clients=10,
    cohort=10,
    rounds=25,  # five a task
    partition=Part("dirichlet", {"alpha": 1.0}),
    stream=Part("classes", {"per_task": 2}),
    methods=(Part("derpp", {"images": 0, "kilobytes": 157.8}),),
    augment=tuple(Part(name) for name in ("rotate", "zoom", "shift", "elastic")),  # few images, seen often: fresh views
    schedule=Part("restarts"),  # large steps for what is new, small ones before the next task
    weigh=0.5,  # whoever holds most of the new digits does not outvote those who remember the old ones
    local=Local(rate=0.1, clip=5.0),  # a new task begins with long gradients
    probe=200,
)
