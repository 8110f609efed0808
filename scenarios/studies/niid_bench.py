"""MNIST and Fashion-MNIST as NIID-Bench has them (Li et al. 2022, arXiv:2102.02079), against the tables of Flower's reproduction.

Theirs are the ten clients, all of them in each of 50 rounds, the batches of 64, the momentum, the three rates and the small
network of two convolutions (6 and 16 channels of 5 × 5). They make ten local epochs a round, `niid-bench` makes one: a tenth of
their gradient examples. `niid-bench-e10` makes ten, for few rows.

One thing makes ours harder: `labels` deals labels round a circle, so that two labels a client are five islands (docs/non-iid.md);
theirs draws all but a client's first label at random.

What it costs decides the rest: a round of one epoch takes 4 to 5 processor seconds, a run 230, and five columns of a row 20
minutes (with a norm, 25).

- One seed is reported; `--seeds 3` makes more.
- Rates are tuned on one seed and two columns: two labels a client, for all columns but one; and one label a client for itself,
  for there a rate that is right elsewhere loses everything. There trials have 15 rounds, elsewhere five: with one label a client
  FedAvg with a rate of 0.001 has learned nothing after eight.
- `niid-bench` has the strategies that are made for unlike clients; `niid-bench-rest` has all others (ASIDE says why).
- Heads in closed form take no gradient once their body has trained, so they are set apart from the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from core.config.part import Part
from core.config.scenario import Local, Model, Scenario
from scenarios.studies.study import ALL, Changes, Published, Study, Tuning, product, strategies

BASE = Scenario(
    name="noniid",
    clients=10,
    cohort=10,  # all of them in every round
    rounds=50,
    schedule=Part("constant"),
    model=Model(kind="lenet"),
    local=Local(epochs=1.0, batch=64, rate=0.01, momentum=0.9),
)
COLUMNS: dict[str, Changes] = {
    "IID": (("partition", "iid"),),
    "Dirichlet 0.5": (("partition", "dirichlet"), ("partition.alpha", "0.5")),
    **{f"{k} label{'s' * (k > 1)}": (("partition", "labels"), ("partition.k", str(k))) for k in (3, 2, 1)},
}
TRIALS = {"2 labels": 5, "1 label": 15}  # the columns that are tuned on, and the rounds of a trial
RATES = ("0.1", "0.01", "0.001")  # NIID-Bench's

# The best figure of a column in the two tables of Flower's reproduction, whoever's of its four strategies it is.
SOURCE = "the better of two published tables of Flower's reproduction of NIID-Bench, best of FedAvg, FedProx, SCAFFOLD, FedNova"
MNIST = {"IID": 0.992, "Dirichlet 0.5": 0.9907, "3 labels": 0.982, "2 labels": 0.9692, "1 label": 0.813}
FASHION = {"IID": 0.895, "Dirichlet 0.5": 0.886, "3 labels": 0.842, "2 labels": 0.81, "1 label": 0.38}

# Normalization layers, which their network has not. With one label a client a group norm wins 23 points (docs/studies.md).
NORMS: dict[str, Changes] = {
    f"{name} {norm} norm": (("strategy", name), ("model.norm", norm))
    for name, norm in (("fedavg", "group"), ("fedcm", "group"), ("fedavg", "batch"))
}
# A rate that falls to nothing, which theirs does not; with norms, too, which are the best where clients differ little.
COSINE: dict[str, Changes] = {
    "fedavg cosine": (("strategy", "fedavg"), ("schedule", "cosine")),
    **{f"{row} cosine": (*NORMS[row], ("schedule", "cosine")) for row in NORMS},
}
RANDOM = "acil on a random body"
# Without their momentum, as its paper has it: with it, and two labels a client, it falls apart after 22 rounds.
PLAIN: dict[str, Changes] = {"scaffold no momentum": (("strategy", "scaffold"), ("local.momentum", "0"))}
HEADS: dict[str, Changes] = {
    RANDOM: (("methods", "acil"), ("methods.acil.warm", "0")),
    "acil after 4 rounds": (("methods", "acil"), ("methods.acil.warm", "4")),  # of FedAvg: the shortest trial has five
}
HOSTILE = "a rule against hostile clients, which leaves out what only some clients know"
ASIDE = {
    "fednova": "with equal passes it is FedAvg but for shares of unequal size",
    "moon": "three forward passes a step: a run costs as much as two or three of others",
    "fedadam": "made for few clients of many a round; here are all of them",
    "fedyogi": "as fedadam",
    "fedadagrad": "as fedadam",
    **dict.fromkeys(("fedmedian", "fedtrimmedavg", "krum", "multikrum", "bulyan"), HOSTILE),
}
# Theirs that are here, and the best of `niid-bench` where clients lack labels. At one label each costs 0.8 processor hours, at
# all columns 3.2.
E10: dict[str, Changes] = {
    **{name: (("strategy", name),) for name in ("fedavg", "fedprox", "scaffold", "feddyn")},
    "fedcm group norm": NORMS["fedcm group norm"],
}


def _study(
    name: str, meaning: str, base: Scenario, rows: Mapping[str, Changes], left_out: Mapping[str, str],
    published: Mapping[str, float],
) -> Study:  # fmt: skip
    return Study(
        name,
        meaning,
        base,
        rows,
        COLUMNS,
        seeds=(0,),
        tuning=_tuning(rows, TRIALS),
        left_out=left_out,
        published={column: Published(value, SOURCE) for column, value in published.items()},
        apart=tuple(row for row in HEADS if row in rows),
    )


def _tuning(rows: Iterable[str], trials: Mapping[str, int]) -> Tuning:
    """trials: the columns on which is tuned, and for how many rounds."""
    grids = {ALL: product({"local.rate": RATES})}
    grids |= {row: product({"methods.acil.ridge": ("0.01", "0.1", "1")}) for row in rows if row == RANDOM}
    where = {column: (*COLUMNS[column], ("rounds", str(rounds))) for column, rounds in trials.items()}
    return Tuning(grids, seeds=(101,), where=where)


def _breadth(name: str, data: str, base: Scenario, published: Mapping[str, float]) -> Study:
    rows, left_out = strategies(base)
    aside = {row: f"{why} (niid-bench-rest has it, on MNIST)" for row, why in ASIDE.items() if row in rows}
    chosen = {row: change for row, change in rows.items() if row not in aside}
    chosen |= {**COSINE, **PLAIN, **NORMS, **HEADS}
    return _study(
        name, f"strategies on {data}, one epoch a round, by NIID-Bench's partitions", base, chosen, left_out | aside, published
    )  # fmt: skip


def study() -> Study:
    """One local epoch a round on MNIST: a tenth of their gradient examples. Eight processor hours."""
    return _breadth("niid-bench", "MNIST", BASE, MNIST)


def rest() -> Study:
    """The strategies that `niid-bench` leaves aside, in the same setting; FedAvg is there. About four processor hours."""
    rows, left_out = strategies(BASE)
    aside: Sequence[str] = [row for row in ASIDE if row in rows]
    others = {row: "niid-bench has it" for row in rows if row not in ASIDE}
    return _study(
        "niid-bench-rest", "the other strategies on MNIST, one epoch a round, by NIID-Bench's partitions", BASE,
        {row: rows[row] for row in aside}, left_out | others, MNIST,
    )  # fmt: skip


def ten_epochs() -> Study:
    """Their ten local epochs a round, like for like. All rows and columns are 17 processor hours: choose by --rows, --columns."""
    base = replace(BASE, local=replace(BASE.local, epochs=10.0))
    found = _study(
        "niid-bench-e10", "few strategies on MNIST, ten epochs a round as NIID-Bench has them", base, E10, {}, MNIST
    )
    return replace(found, tuning=_tuning(E10, {"2 labels": 2, "1 label": 5}))


def fashion() -> Study:
    """The same as `niid-bench` on Fashion-MNIST."""
    return _breadth("niid-bench-fashion", "Fashion-MNIST", replace(BASE, data="fashion"), FASHION)
