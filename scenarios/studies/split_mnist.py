"""Federated Split-MNIST, and Split-Fashion-MNIST: every continual method, within two memories, for two skews and two paces."""

from __future__ import annotations

from dataclasses import replace

from scenarios.presets import SCENARIOS
from scenarios.studies.study import ALL, Changes, Study, Tuning, by_method, product

KEEP = ("replay", "derpp", "der", "agem", "fedagem")  # images, within a budget
OTHERS = ("finetune", "lwf", "ewc", "si", "fedssi", "fedcurv", "acil", "slda", "stsa", "joint")
TRAINED = ("acil", "slda")  # heads on random features, and once more on what the first stage trains, as stsa is
MAIN = (
    "finetune", "finetune-masked", "ewc", "lwf", "replay 50", "replay 200", "derpp 50", "derpp 200", "acil", "slda",
    "acil-trained", "slda-trained", "joint",
)  # fmt: skip
IMAGES = (50, 200)  # a client's memory
BYTES = 789  # of an image with its label and its key
PACES = {"sync": ("0", "0"), "async": ("1", "0.5")}  # order and lag
# A trial has a fifth of the images, so that 39 of them take as long as eight runs
FEWER: Changes = (("train", "12000"),)
RATES = ("0.03", "0.1", "0.3")
STRENGTHS = {
    "lwf": ("0.3", "1", "3"),
    "ewc": ("100", "1000", "10000"),
    "si": ("0.1", "0.5", "2"),
    "fedssi": ("0.1", "0.5", "2"),
    "fedcurv": ("10", "100", "1000"),
}
RIDGES = {"acil": ("0.01", "0.1", "1"), "slda": ("0.0001", "0.001", "0.01"), "stsa": ("0.01", "0.1", "1")}


def study() -> Study:
    """The methods that say most, each column on one seed: what an afternoon on two cores carries out. More: --seeds."""
    meaning = "new digits, two at a time: what methods keep, replay and DER++ in the bytes of 50 images and of 200"
    return replace(everything().narrowed(MAIN), name="split-mnist", meaning=meaning, seeds=(0,))


def fashion() -> Study:
    """The same on clothes, two kinds at a time; what is tuned is tuned anew."""
    digits = study()
    return replace(
        digits,
        name="split-fashion",
        meaning="split-mnist on Fashion-MNIST: two kinds of clothes at a time",
        base=replace(digits.base, data="fashion"),
    )


def everything() -> Study:
    """The rows are methods and memories, the columns paces and Dirichlet's alpha; three points are tried for every row."""
    rows: dict[str, Changes] = {name: (("methods", name),) for name in OTHERS}
    rows["finetune-masked"] = (("methods", "finetune"), ("softmax", "masked"))  # how much of it is no method at all
    for name in TRAINED:
        rows[f"{name}-trained"] = (("methods", name), (f"methods.{name}.warm", "-1"))
    grids = {
        ALL: product({"local.rate": RATES}), **by_method("strength", STRENGTHS), **by_method("ridge", RIDGES),
    }  # fmt: skip
    for name in KEEP:
        for images in IMAGES:  # equal bytes: what a method keeps beside each image takes the place of some
            budget = (f"methods.{name}.kilobytes", f"{images * BYTES / 1000:g}")
            rows[f"{name} {images}"] = (("methods", name), budget)
    rows |= {f"derpp-balanced {images}": (*rows[f"derpp {images}"], ("softmax", "balanced")) for images in IMAGES}
    columns: dict[str, Changes] = {
        f"{pace} Dirichlet {float(alpha):g}": (("order", order), ("lag", lag), ("partition.alpha", alpha))
        for pace, (order, lag) in PACES.items()
        for alpha in ("1.0", "0.1")
    }
    first = next(iter(columns))
    return Study(
        "split-mnist-all",
        "new digits, two at a time, by every method: those that keep images in the bytes of 50 and of 200",
        SCENARIOS["class_incremental"][0].with_(("probe", "0")),
        rows,
        columns,
        seeds=(0, 1, 2),
        tuning=Tuning(grids, seeds=(11,), where={first: columns[first]}, changes=FEWER),
        measures=("accuracy", "forgetting", "clients_forgetting", "incremental", "memory", "megabytes"),
    )
