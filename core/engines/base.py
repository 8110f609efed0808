"""What an engine does. Each is made for one model and keeps nothing from one call to the next."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from core.arrays import Arrays
from core.models import ModelSpec
from core.plan import Learned, Plan

PAGE = 500  # images that TensorFlow's engine looks at together; parts of whole pages, wherever they are looked at, change no bit


class Judge(Protocol):
    """Who tries a model on images."""

    @property
    def model(self) -> ModelSpec:
        """Whose weights it takes."""

    def logits(self, weights: Arrays, images: np.ndarray) -> np.ndarray:
        """The model's logits, f32 [n, classes], for images uint8 [n, 28, 28]."""


class Engine(Judge, Protocol):
    """Who carries out plans, and looks: the only gradient loops in the project."""

    def train(self, weights: Arrays, plan: Plan) -> Learned:
        """SGD over the plan's batches."""

    def features(self, weights: Arrays, images: np.ndarray) -> np.ndarray:
        """What the model's head sees, f32 [n, features]."""

    def gradient(self, weights: Arrays, images: np.ndarray, labels: np.ndarray) -> Arrays:
        """Of the mean cross-entropy of these images, at least one, as they are: without dropout, all classes compared."""

    def fisher(self, weights: Arrays, images: np.ndarray) -> Arrays:
        """The diagonal of the Fisher information, of the weights' shapes: the mean over images x of Σ p(y|x) (∂ log p(y|x) / ∂w)²
        over all classes y, p being the model's own answers."""
