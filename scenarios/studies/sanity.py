"""One client on Split-MNIST, as Mammoth has it (Buzzega et al. 2020, arXiv:2004.07211): do our methods read what theirs do?

Published, class-incremental, with buffers of 200, 500 and 5,120 images in all: ER about 82, 87, 94 %; online EWC about 20 %, SGD
19.6 %, all data at once 95.6 %.

Like theirs: five tasks of two digits in order, one pass over each, all 60,000 training images, no augmentation, an MLP
784-100-100-10 with the same law of initial weights, plain SGD at a constant rate, 10 own images a step and 10 of the buffer, whose
loss is one mean over the 20; a reservoir; and each row's rate, strength, alpha and beta, as their code has them
(utils/best_args.py). Nothing is tuned here.

Not like theirs: our buffer takes a task's images in when the task is over, so no step rehearses the present task; in the first
task, where nothing is remembered, a step has 20 own images where theirs has 10 and 10 of the buffer. Our DER++ draws 10 images of
the buffer for labels and answers alike; theirs draws twice, 128, 10 and 64 images. Our EWC has the true Fisher information,
of 2,000 images of a task; theirs is of the true labels alone, each by how likely the model thinks it, of all images.

The published figures are rounded, as this study was planned with them; the paper's own table was not at hand.
"""

from __future__ import annotations

from core.config.part import Part
from core.config.scenario import Local, Model, Scenario
from scenarios.studies.study import Changes, Study

BASE = Scenario(
    name="sanity",
    validation=0,  # nothing is chosen, so nothing is held out
    clients=1,
    cohort=1,
    rounds=5,  # one a task
    partition=Part("iid"),
    stream=Part("classes", {"per_task": 2}),
    schedule=Part("constant"),
    model=Model(kind="mlp100"),
    local=Local(epochs=1.0, batch=10, rate=0.03),
)
# Half of a batch is rehearsed: 10 own images a step, so two passes by our count see each own image once.
REHEARSED: Changes = (("local.batch", "20"), ("local.epochs", "2"))
REPLAY = {200: "0.01", 500: "0.1", 5120: "0.1"}  # their rates
DERPP = {200: ("0.03", "0.2", "1"), 500: ("0.03", "1", "0.5"), 5120: ("0.1", "0.2", "0.5")}  # rate, alpha, beta


def study() -> Study:
    """Rows are methods with their published settings; there is one column, and nothing is tuned."""
    rows: dict[str, Changes] = {"finetune": (("methods", "finetune"),)}
    # Their penalty has no half.
    rows["ewc"] = (("methods", "ewc"), ("methods.ewc.strength", "180"), ("methods.ewc.samples", "2000"))
    for images, rate in REPLAY.items():
        rows[f"replay {images}"] = (*_with_reservoir("replay", images), ("local.rate", rate))
    for images, (rate, alpha, beta) in DERPP.items():
        # Theirs adds up a mean over own images and one over the buffer; ours is one mean of both, so half of it.
        twice = ("local.rate", f"{2 * float(rate):g}")
        rows[f"derpp {images}"] = (
            *_with_reservoir("derpp", images), twice, ("methods.derpp.alpha", alpha), ("methods.derpp.beta", beta),
        )  # fmt: skip
    rows["joint"] = (("stream", "whole"), ("rounds", "1"))  # all digits at once, one pass
    return Study(
        "sanity",
        "one client on Split-MNIST with the settings of Mammoth's paper: are the published figures met?",
        BASE,
        rows,
        {"class-incremental": ()},
        seeds=(0, 1, 2, 3, 4),
        measures=("accuracy", "forgetting", "incremental"),
    )


def _with_reservoir(name: str, images: int) -> Changes:
    """A method that rehearses, with a reservoir of so many images."""
    prefix = f"methods.{name}"
    return (("methods", name), (f"{prefix}.images", str(images)), (f"{prefix}.select", "reservoir"), *REHEARSED)
