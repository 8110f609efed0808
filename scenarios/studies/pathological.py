"""Two shards of labels a client, as McMahan et al. 2017 have it (arXiv:1602.05629, table 2): rounds to 99 %, by local epochs."""

from __future__ import annotations

from core.config.part import Part
from core.config.scenario import Local, Scenario
from scenarios.studies.study import ALL, Changes, Study, Tuning, product

BASE = Scenario(
    name="pathological",
    clients=100,
    cohort=10,
    rounds=500,
    partition=Part("shards", {"per_client": 2}),
    schedule=Part("constant"),
    local=Local(epochs=1.0, batch=10, rate=0.1),
)


def study() -> Study:
    """Their clients, cohort, batch and epochs, and a rate for each of them; the model is this project's."""
    rows: dict[str, Changes] = {f"E = {epochs}": (("local.epochs", str(epochs)),) for epochs in (1, 5, 20)}
    columns: dict[str, Changes] = {
        "shards": (("partition", "shards"), ("partition.per_client", "2")),
        "iid": (("partition", "iid"),),
    }
    grid = product({"local.rate": ("0.05", "0.1", "0.2")})
    return Study(
        "pathological",
        "FedAvg's rounds to 99 %, by local epochs, for two shards a client and for equal shares",
        BASE,
        rows,
        columns,
        seeds=(0, 1, 2),
        tuning=Tuning({ALL: grid}, seeds=(101,), changes=(("rounds", "60"),)),
        measures=("rounds_to_99_smoothed", "rounds_to_99", "accuracy"),
    )
