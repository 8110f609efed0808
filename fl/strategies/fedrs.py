"""FedRS: inside a client's cross-entropy, logits of classes that it does not hold are scaled down."""

from __future__ import annotations

import numpy as np

from core.config.scenario import Scenario
from core.methods.base import Finetune
from core.models import ModelSpec, of
from core.softmax import Calibration
from fl.strategies.base import its_own_softmax, within
from fl.strategies.flower import Flower


class Restricted(Finetune):
    """The cross-entropy of alpha·z for classes of which the client learns no image, z for the others"""

    name = "restricted"

    def __init__(self, model: ModelSpec, alpha: float) -> None:
        super().__init__(model)
        self.alpha = alpha

    def calibrate(self, class_counts: np.ndarray) -> Calibration:
        scale = np.where(class_counts > 0, np.float32(1), np.float32(self.alpha))
        return Calibration(scale, Calibration.none(class_counts).shift)


def fedrs(
    scenario: Scenario,
    *,
    alpha: float = 0.5,  # what multiplies the logits of classes that a client does not hold; 1 is FedAvg; range [0, 1]
) -> Flower:
    """FedAvg whose clients scale the logits of classes they hold nothing of by alpha, inside the cross-entropy: these classes'
    weights move less where nothing is known of them (restricted softmax, Li and Zhan 2021, KDD, doi:10.1145/3447548.3467254)

    The paper's formula: 1 for a class that is held, alpha for another. The authors' later code has a smooth one, alpha +
    (1 - alpha) times the class's share of the most frequent one. Our logits have a bias, which is scaled with the rest.
    """
    its_own_softmax(scenario, "fedrs")
    return Flower("FedAvg", methods=(Restricted(of(scenario), within("alpha", alpha, 0, 1)),))
