"""Nine of ten clients a round too slow, as FedProx's paper has it (Li et al. 2020, arXiv:1812.06127, figure 1, MNIST).

Theirs are the 1,000 clients of two digits each, whose sizes follow a power law, ten of them a round, 20 epochs in batches of ten,
and mu = 1; a straggler makes 1 … 20 epochs (their code: 1 … 19). Their FedAvg waits for no straggler, so it hears one client a
round; FedProx counts what stragglers did, and with mu = 0 that is all it does: it is FedAvg that waits.

Two things differ. Their pixels are standardized and their rate is 0.03; here pixels are 0 … 1, which makes a step of the same rate
shorter, so three rates are tried for every row, theirs among them. They test on a tenth of each client's images, here it is MNIST's
test set. With one client a round the last round is luck, so what is compared is the mean over the last tenth of the rounds.
"""

from __future__ import annotations

from core.config.part import Part
from core.config.scenario import Local, Model, Scenario
from scenarios.studies.study import ALL, Changes, Published, Study, Tuning, product

BASE = Scenario(
    name="pathological",
    clients=1000,
    cohort=10,
    rounds=200,
    stragglers=0.9,
    partition=Part("powerlaw", {"k": 2}),
    schedule=Part("constant"),
    model=Model(kind="logistic"),
    local=Local(epochs=20.0, batch=10, rate=0.03),
)
ROWS: dict[str, Changes] = {
    "fedavg drops stragglers": (("strategy", "fedavg"), ("drop_stragglers", "true")),
    "fedavg keeps them = fedprox 0": (("strategy", "fedavg"),),
    "fedprox 1": (("strategy", "fedprox"), ("strategy.mu", "1")),
}
SOURCE = (
    "Li et al. 2020, arXiv:1812.06127, figure 1, read off: FedProx with mu = 1 about 85 %, FedAvg that drops about 65 %"
)


def study() -> Study:
    """The paper's logistic regression, then this project's CNN."""
    columns: dict[str, Changes] = {"logistic": (("model.kind", "logistic"),), "cnn": (("model.kind", "cnn"),)}
    return Study(
        "stragglers",
        "what stragglers' work is worth: dropped, kept, and kept near",
        BASE,
        ROWS,
        columns,
        seeds=(0, 1, 2),
        tuning=Tuning(
            {ALL: product({"local.rate": ("0.03", "0.1", "0.3")})}, seeds=(101,), changes=(("rounds", "60"),)
        ),
        measures=("late", "accuracy"),
        published={"logistic": Published(0.85, SOURCE)},
    )
