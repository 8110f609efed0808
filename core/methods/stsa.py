"""STSA: a body that the first stage trains, a fixed random layer, and ridge regression on it from sums over stages and clients.

Φ(x) = relu(f(x) R), f being the body and R drawn once; the head W = (Σ ΦᵀΦ + ridge·I)⁻¹ Σ Φᵀy, as in the authors' code, which
has no bias either. R and W are the model's own last two dense layers: so the expansion is as wide as the model's hidden
layer (128 units on the CNN, 400 on the MLP), where the paper's is wider than its features. Below their number (1,600 on the
CNN) it is no expansion, and `acil` sees more. These are the exact sums; the paper's STSA-E, which estimates Σ ΦᵀΦ from each
client's sums by class and so sends far less, is not here.
"""

from __future__ import annotations

import numpy as np

from core.arrays import Arrays
from core.config.scenario import Scenario
from core.engines.base import Engine
from core.methods.analytic import FEATURES, UNMET, Acil, check_length
from core.methods.base import Request
from core.models import ModelSpec
from core.plan import Lesson
from core.seeds import rng


class Stsa(Acil):
    """Ridge regression on a random layer over a body that the first stage's rounds trained, solved from clients' sums; no
    images kept, no gradient after that (STSA with exact sums, Guan et al. 2025, arXiv:2506.01327)"""

    name = "stsa"

    def __init__(
        self,
        model: ModelSpec,
        *,
        ridge: float = 0.1,  # of the regression, from 1e-9 on
        warm: int = -1,  # rounds in which the body trains first; -1: the first stage's; 0: none, it stays random
    ) -> None:
        super().__init__(model, ridge=ridge, warm=warm)

    def needs(self, model: ModelSpec) -> str:
        if model.dense >= 2 and model.hidden <= FEATURES:
            return ""
        return f"two dense layers at its end, {FEATURES:,} units before the logits at most"

    @property
    def width(self) -> int:
        return self.model.hidden

    def seen(self, lesson: Lesson, images: np.ndarray, engine: Engine) -> np.ndarray:
        layer = self._layer(lesson.scenario, lesson.start, self.name in lesson.payloads)
        return np.maximum(super().seen(lesson, images, engine) @ layer, 0)

    @property
    def signed(self) -> bool:
        return False

    def largest(self, request: Request) -> np.ndarray:
        (layer,) = self.drawn(request)
        kernel = layer.astype(np.float64)
        # Where a feature may be negative, a weight brings as much whatever its sign.
        return super().largest(request) @ (np.abs(kernel) if self.model.signed else np.maximum(kernel, 0))

    def drawn(self, request: Request) -> Arrays:
        return [self._layer(request.scenario, request.arrays, f"{self.name}/gram" in request.shared)]

    def _layer(self, scenario: Scenario, arrays: Arrays, solved: bool) -> np.ndarray:
        """R, f32 [features, hidden]: drawn by address; the model's own, once there are sums over it, for a run that goes on
        may have another seed. Over √features, so that what it gives is as large as a feature; that only scales the ridge."""
        if solved:
            return self.model.body_and_head(arrays)[1][0]
        shape = (self.model.features, self.model.hidden)
        layer = rng(scenario.seed, "expansion").standard_normal(shape) / np.sqrt(self.model.features)
        return layer.astype(np.float32)

    def solve(self, gram: np.ndarray, cross: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Acil.solve`, without a bias but for classes that nobody has shown yet."""
        weights = np.linalg.solve(gram[:-1, :-1] + self.ridge * np.eye(len(gram) - 1), cross[:-1])
        check_length(weights, np.sqrt(cross[-1].sum() / self.ridge) / 2)
        return 12 * weights, np.where(cross[-1] > 0, 0, UNMET)

    def head(self, weights: np.ndarray, bias: np.ndarray, drawn: Arrays) -> Arrays:
        (layer,) = drawn
        return [layer, np.zeros(self.model.hidden, np.float32), weights.astype(np.float32), bias.astype(np.float32)]
