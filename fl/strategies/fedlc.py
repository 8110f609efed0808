"""FedLC: inside a client's cross-entropy, logits of classes of which it holds few images are lowered."""

from __future__ import annotations

import numpy as np

from core.config.scenario import Scenario
from core.methods.base import Finetune
from core.models import ModelSpec, of
from core.softmax import Calibration
from fl.strategies.base import its_own_softmax, within
from fl.strategies.flower import Flower

# Images of a class that the client does not hold, as public implementations have it: it is lowered by 100·tau
NONE = 1e-8


class Calibrated(Finetune):
    """The cross-entropy of z - tau·n^(-1/4), n being how many images of each class the client learns from"""

    name = "calibrated"

    def __init__(self, model: ModelSpec, tau: float) -> None:
        super().__init__(model)
        self.tau = tau

    def calibrate(self, class_counts: np.ndarray) -> Calibration:
        margin = self.tau * np.maximum(class_counts, NONE) ** -0.25
        return Calibration(Calibration.none(class_counts).scale, -margin.astype(np.float32))


def fedlc(
    scenario: Scenario,
    *,
    tau: float = 1.0,  # what multiplies the margins; 0 is FedAvg; range [0, 100]
) -> Flower:
    """FedAvg whose clients lower the logit of each class by tau·n^(-1/4), n being how many images of it they hold, inside the
    cross-entropy: rare classes get a larger margin (Zhang et al. 2022, arXiv:2209.00189)

    A class that a client does not hold is lowered by 100·tau (n = 1e-8), so with the usual tau it does not compete at all, as with
    softmax=present: classes that no client holds together are never told apart. With few labels a client, fedrs is the safer.
    """
    its_own_softmax(scenario, "fedlc")
    return Flower("FedAvg", methods=(Calibrated(of(scenario), within("tau", tau, 0, 100)),))
