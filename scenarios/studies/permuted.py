"""Permuted MNIST as FOT has it (Federated Orthogonal Training, Bakman et al. 2024, arXiv:2309.01289, and its code).

Published, average accuracy and forgetting after ten tasks of 200 rounds. Two shards a client: FedAvg 80.06 / 9.21, FOT
85.21 / 1.97. Equal parts: FedAvg 85.68 / 8.29, FOT 90.35 / 1.75. FOT keeps no image; it sends sketches of what each layer sees.

Like theirs: 125 clients, 64 a round, one local epoch in batches of 64, plain SGD at a constant rate, a mean of clients of equal
sizes; the MLP 784-400-400-400-10; ten orders of all pixels with one head of ten classes; for each task the images are dealt to
clients anew, two label shards or an equal part each.

Not like theirs: our dropout is before the logits only (0.5), theirs drops 0.2 and 0.5 of the two layers before, too; our pixels are
0 … 1, theirs are less their mean and over their deviation, so a rate is worth more there (theirs is 0.01; ours is tuned); their
weights decay by 1e-5; our first order is drawn like the others, theirs is the images as they are; our batches are all full, and
passes are rounded to these; 2,000 training images are held out here, from which rates and strengths are chosen. `permuted` has 20
rounds a task, where FOT has 200; `permuted-200` has 200.
"""

from __future__ import annotations

from dataclasses import replace

from core.config.part import Part
from core.config.scenario import Local, Model, Scenario
from scenarios.studies.study import ALL, Changes, Study, Tuning, by_method, product

TASKS = 10
BASE = Scenario(
    name="permuted",
    clients=125,
    cohort=64,
    rounds=20 * TASKS,
    partition=Part("redealt", {"times": TASKS, "per_client": 2}),
    stream=Part("permuted", {"tasks": TASKS, "redealt": True}),
    schedule=Part("constant"),
    model=Model(kind="mlp", dropout=0.5),
    local=Local(epochs=1.0, batch=64, rate=0.1),
)
COLUMNS: dict[str, Changes] = {
    "two shards": (("partition.per_client", "2"),),
    "equal parts": (("partition.per_client", "0"),),
}
FREE = ("finetune", "ewc", "si", "fedcurv", "lwf")  # no image is kept
KEEP = ("replay", "derpp")
MEMORY = 157.8  # kB a client: 200 plain images
RATES = ("0.03", "0.1", "0.3")
STRENGTHS = {
    "ewc": ("10", "100", "1000"),
    "si": ("0.1", "0.5", "2"),
    "fedcurv": ("1", "10", "100"),
    "lwf": ("0.1", "0.3", "1"),
}


def study() -> Study:
    """Rows are methods without memory, and two with 157.8 kB a client; three points are tried for each, on three of the tasks."""
    rows: dict[str, Changes] = {name: (("methods", name),) for name in FREE}
    rows |= {name: (("methods", name), (f"methods.{name}.kilobytes", f"{MEMORY}")) for name in KEEP}
    grids = {ALL: product({"local.rate": RATES}), **by_method("strength", STRENGTHS)}
    first = next(iter(COLUMNS))
    shorter: Changes = (("stream.tasks", "3"), ("partition.times", "3"), ("rounds", "30"))
    return Study(
        "permuted",
        "ten orders of pixels, 20 rounds each: methods without memory, and with some, on FOT's clients",
        BASE,
        rows,
        COLUMNS,
        seeds=(0,),
        tuning=Tuning(grids, seeds=(11,), where={first: COLUMNS[first]}, changes=shorter),
        measures=("average", "forgetting", "memory", "megabytes"),
    )


def as_long() -> Study:
    """The same with FOT's 200 rounds a task, once, with usual strengths and one rate: nothing is tuned."""
    short = study()
    return replace(
        short,
        name="permuted-200",
        meaning="the same with 200 rounds each, as FOT has them, once",
        base=replace(BASE, rounds=200 * TASKS),
        seeds=(0,),
        tuning=None,
    )
