"""Every strategy on `noniid` with two labels a client: what each is worth where clients differ most."""

from __future__ import annotations

from scenarios.presets import SCENARIOS
from scenarios.studies.study import ALL, Changes, Study, Tuning, product, strategies


def study() -> Study:
    """Three rates are tried for every strategy; its other settings are the usual ones."""
    two: Changes = (("partition", "labels"), ("partition.k", "2"))
    base = SCENARIOS["noniid"][0]
    rows, left_out = strategies(base)
    return Study(
        "strategies",
        "every strategy on noniid with two labels a client",
        base,
        rows,
        {"two labels": two},
        seeds=(0, 1, 2),
        tuning=Tuning({ALL: product({"local.rate": ("0.01", "0.03", "0.1")})}, seeds=(101,)),
        left_out=left_out,
    )
