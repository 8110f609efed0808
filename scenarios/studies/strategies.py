"""Every strategy where each client has two labels: what each is worth where clients differ most."""

from __future__ import annotations

from dataclasses import replace

from core.config.part import Part
from core.config.scenario import Local
from scenarios.presets import SCENARIOS
from scenarios.studies.study import ALL, Changes, Study, Tuning, product, strategies

# Small, so that all of it takes about twenty minutes on two cores. Eight clients a round: a rule against hostile ones needs seven.
BASE = replace(
    SCENARIOS["noniid"][0],
    train=5000,
    test=5000,
    clients=10,
    cohort=8,
    rounds=12,
    partition=Part("labels", {"k": 2}),
    looks=(),
    augment=(),
    strategy=Part("fedavg"),
    softmax=Part("plain"),
    local=Local(epochs=1.0, rate=0.03, momentum=0.9),
)


# With batch norm there is what FedBN keeps; "alone" is Ditto whose personal models are not held to the global one at all.
PERSONAL: dict[str, Changes] = {
    "fedavg": (("strategy", "fedavg"),),
    "fedper": (("strategy", "fedper"),),
    "ditto": (("strategy", "ditto"),),
    "alone": (("strategy", "ditto"), ("strategy.strength", "0")),
    "fedavg batch norm": (("strategy", "fedavg"), ("model.norm", "batch")),
    "fedbn batch norm": (("strategy", "fedbn"), ("model.norm", "batch")),
}


def personal() -> Study:
    """What each client gets, on test images of its own two labels: by its personal model, or by the global one where it has none.

    Nothing is tuned, for trials are judged by the global model: all have the rate that `strategies` finds best for FedAvg.
    """
    return Study(
        "personal",
        "what a personal model brings each client, two labels a client",
        BASE,
        PERSONAL,
        {"two labels": (("partition.k", "2"),)},
        seeds=(0, 1, 2),
        measures=("served", "worst_served", "accuracy"),
    )


def study() -> Study:
    """Three rates are tried for every strategy; its other settings are the usual ones."""
    rows, left_out = strategies(BASE)
    return Study(
        "strategies",
        "every strategy, two labels a client",
        BASE,
        rows,
        {"two labels": (("partition.k", "2"),)},
        seeds=(0, 1, 2),
        tuning=Tuning({ALL: product({"local.rate": ("0.01", "0.03", "0.1")})}, seeds=(101,)),
        left_out=left_out,
    )
