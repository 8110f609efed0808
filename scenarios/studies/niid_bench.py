"""MNIST as NIID-Bench has it (Li et al. 2022, arXiv:2102.02079): every strategy, for five ways to share the labels out."""

from __future__ import annotations

from core.config.part import Part
from core.config.scenario import Local, Scenario
from scenarios.studies.study import ALL, Changes, Study, Tuning, product, strategies

BASE = Scenario(
    name="noniid",
    clients=10,
    cohort=10,  # all of them in every round
    rounds=50,
    schedule=Part("constant"),
    local=Local(epochs=1.0, batch=64, rate=0.01, momentum=0.9),
)
COLUMNS: dict[str, Changes] = {
    "iid": (("partition", "iid"),),
    "Dirichlet 0.5": (("partition", "dirichlet"), ("partition.alpha", "0.5")),
    **{f"{k} label{'s' * (k > 1)}": (("partition", "labels"), ("partition.k", str(k))) for k in (1, 2, 3)},
}


def study() -> Study:
    """Their ten clients, batch, momentum and rates; one local epoch a round, where they have ten; the model is this project's."""
    rows, left_out = strategies(BASE)
    return Study(
        "niid-bench",
        "every strategy on MNIST, by five partitions, as NIID-Bench has them",
        BASE,
        rows,
        COLUMNS,
        seeds=(0, 1, 2),
        tuning=Tuning({ALL: product({"local.rate": ("0.1", "0.01", "0.001")})}, seeds=(101,)),
        left_out=left_out,
    )
