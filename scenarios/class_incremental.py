"""New digits, two at a time: the Federated Split-MNIST protocol, with a replay memory of 200 images a client."""

from core.scenario import Local, Part, Scenario

SCENARIO = Scenario(
    name="class_incremental",
    clients=10,
    cohort=10,
    rounds=25,  # five a task
    partition=Part("dirichlet", {"alpha": 1.0}),
    stream=Part("classes", {"per_task": 2}),
    methods=(Part("replay", {"images": 200}),),
    augment=tuple(Part(name) for name in ("rotate", "zoom", "shift", "elastic")),  # few images, seen often: fresh views
    schedule=Part("constant"),  # the last task deserves as large a step as the first
    local=Local(rate=0.05),
    probe=200,
)
