"""Federated Split-MNIST: which methods, memories, skews and paces the table compares, and the run of each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.config.part import Part
from core.config.scenario import Scenario
from scenarios.presets import SCENARIOS


@dataclass(frozen=True)
class Row:
    """A method as the table compares it."""

    method: str
    keeps: bool = False  # does it keep images, so that the memory budgets apply?
    softmax: str = "plain"


SPLIT = {
    "finetune": Row("finetune"),
    "lwf": Row("lwf"),
    "ewc": Row("ewc"),
    "si": Row("si"),
    "fedcurv": Row("fedcurv"),
    "agem": Row("agem", keeps=True),
    "der": Row("der", keeps=True),
    "replay": Row("replay", keeps=True),
    "derpp": Row("derpp", keeps=True),
    "derpp-balanced": Row("derpp", keeps=True, softmax="balanced"),
    "acil": Row("acil"),
    "slda": Row("slda"),
    "joint": Row("joint"),
}
IMAGES = (50, 200)  # a client's memory, where a method keeps images
BYTES = 789  # of an image with its label and its key
ALPHAS = (1.0, 0.1)  # Dirichlet: some skew, much skew
PACES = {"sync": (0.0, 0.0), "async": (1.0, 0.5)}  # Scenario.order and .lag
SEEDS = 5


@dataclass(frozen=True)
class Cell:
    """One run of the table."""

    row: str
    images: int
    alpha: float
    pace: str
    seed: int

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{self.row}-{self.images}-dirichlet{self.alpha:g}-{self.pace}-{self.seed}"

    def scenario(self) -> Scenario:
        """The protocol with this cell's settings: the preset class_incremental, of which nothing else changes."""
        row, base = SPLIT[self.row], SCENARIOS["class_incremental"][0]
        order, lag = PACES[self.pace]
        # Equal bytes, not equal images: what DER keeps beside each image takes the place of some.
        budget = {"images": 0, "kilobytes": self.images * BYTES / 1000}
        return replace(
            base,
            name=f"{self.row}{f' {self.images}' if self.images else ''}",
            seed=self.seed,
            partition=Part("dirichlet", {"alpha": self.alpha}),
            methods=(Part(row.method, budget if row.keeps else {}),),
            softmax=Part(row.softmax),
            probe=0,
            order=order,
            lag=lag,
        )


def cells(
    only: Sequence[str] = (), images: Sequence[int] = IMAGES, alphas: Sequence[float] = ALPHAS,
    paces: Sequence[str] = tuple(PACES), seeds: int = SEEDS,
) -> list[Cell]:  # fmt: skip
    """The runs of the table, a seed at a time, so that a table that is stopped early compares like with like."""
    return [
        Cell(row, count, alpha, pace, seed)
        for seed in range(seeds)
        for pace in paces
        for alpha in alphas
        for row in only or SPLIT
        for count in (images if SPLIT[row].keeps else (0,))
    ]
