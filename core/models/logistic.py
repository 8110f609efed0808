"""Multinomial logistic regression, FedProx's model on MNIST (Li et al. 2020, arXiv:1812.06127): of ten classes 7,850 weights.

Its features are the pixels, and so are the units that dropout touches. Its loss is convex.
"""

from __future__ import annotations

from core.models.layers import Dense, Flatten
from core.models.spec import ModelSpec


def logistic(image: tuple[int, int], classes: int) -> ModelSpec:
    """Logistic regression: the logits of the pixels, with nothing between (FedProx's)"""
    return ModelSpec("logistic", image, classes, (Flatten(), Dense("logits", classes, relu=False)))
