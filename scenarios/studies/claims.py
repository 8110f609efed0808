"""What an article about this model claims, as four studies: accuracy, batch norm, augmentation, regularization.

Each is small: together they fit into two processor hours. `python -m tests.bench.claims` makes one table of all of them, claim by
claim, and measures the fifth, quantization, on exported files.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from core.config.part import Part
from core.config.scenario import Scenario
from scenarios.presets import SCENARIOS
from scenarios.studies.study import ALL, Changes, Study, Tuning, product

PLAIN: Scenario = replace(SCENARIOS["centralized"][0], augment=())
USUAL = "rotate+zoom+shift+elastic"  # the preset's own augmentation
RATES = product({"local.rate": ("0.01", "0.03", "0.1")})
AUGMENTED: dict[str, Changes] = {"no augmentation": (), "augmentation": (("augment", USUAL),)}


def accuracy() -> Study:
    """The `centralized` preset, 20 epochs over all training images, with augmentation and without; rates are tried for two."""
    return Study(
        "claims-accuracy",
        "99.2 % after 20 epochs in one place?",
        PLAIN,
        AUGMENTED,
        {"20 epochs": ()},
        seeds=(0, 1, 2),
        tuning=Tuning({ALL: RATES}, seeds=(101,), changes=(("rounds", "2"),)),
        measures=("accuracy", "best"),
    )


def norm() -> Study:
    """Rounds are short, so that the curve is fine: a fifteenth of an epoch in one place, a tenth of each client's images.

    The rate is constant: one that falls with a run's length would make the crossing depend on that. Tuned for accuracy soon,
    after 15 of the 40 rounds; few test images, as none of them counts.
    """
    base = replace(PLAIN, schedule=Part("constant"), test=1000, rounds=40)
    federated: Changes = (
        ("clients", "10"), ("cohort", "10"), ("partition", "dirichlet"), ("partition.alpha", "0.3"),
        ("local.epochs", "0.1"),
    )  # fmt: skip
    return Study(
        "claims-norm",
        "does batch norm reach 98 % of the validation images with fewer steps?",
        base,
        {"no norm": (("model.norm", "none"),), "batch norm": (("model.norm", "batch"),)},
        {"centralized": (("local.epochs", "0.0666"),), "federated": federated},
        seeds=(0, 1, 2, 3, 4),
        tuning=Tuning({ALL: RATES}, seeds=(101,), changes=(("rounds", "15"),)),
        measures=("examples_to_98_validation", "rounds_to_98_validation", "validation_accuracy", "accuracy"),
    )


def deformed() -> Study:
    """Six epochs over all training images, tested on deformed images only; on plain ones `accuracy` has both rows.

    The last row trains on just what the deformed images are made by: the most that augmentation can add here.
    """
    same: Changes = (
        ("augment", "elastic+rotate+shift"), ("augment.elastic.alpha", "34"), ("augment.rotate.degrees", "25"),
    )  # fmt: skip
    return Study(
        "claims-deformed",
        "what does augmentation add on deformed digits?",
        replace(PLAIN, rounds=6, test_condition="deformed"),
        {**AUGMENTED, "as deformed": same},
        {"deformed": ()},
        seeds=(0, 1, 2),
        tuning=Tuning({ALL: RATES}, seeds=(101,), changes=(("rounds", "2"),)),
        measures=("accuracy", "best"),
    )


FACTORS: dict[str, Changes] = {
    "dropout": (("model.dropout", "0.5"),),
    "l2": (("model.l2", "0.001"),),
    "halving": (("schedule.halve", "3"),),
}


def ablation() -> Study:
    """Dropout 0.5, L2 0.001 and a rate halved after 3 epochs without a better validation loss, each with and without.

    Early stopping after 5 such epochs is the fourth: it chooses among the epochs of a run and changes none of them, so it is read
    from the curve, and each run stands for two. On 4,000 training images, where overfitting shows, for 30 epochs.
    """
    never = {"halve": 10**6, "stop": 10**6}
    base = replace(PLAIN, train=5000, validation=1000, test=5000, rounds=30, schedule=Part("plateau", never))
    rows: dict[str, Changes] = {"none": ()}
    for count in range(1, len(FACTORS) + 1):
        for names in itertools.combinations(FACTORS, count):
            rows["+".join(names)] = tuple(change for name in names for change in FACTORS[name])
    return Study(
        "claims-ablation",
        "dropout, L2 and a halved rate, with and without; early stopping in hindsight",
        base,
        rows,
        {"4000 images": ()},
        seeds=(0, 1, 2),
        tuning=Tuning({ALL: RATES}, seeds=(101,), changes=(("rounds", "8"),)),
        measures=("accuracy", "stopped", "stopped_round", "best"),
    )
