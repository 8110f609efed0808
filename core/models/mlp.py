"""Two MLPs of the literature: 784-400-400-400-10 of permuted MNIST, and 784-100-100-10 of Split-MNIST with one learner.

Of ten classes they have 638,810 and 89,610 weights.
"""

from __future__ import annotations

from core.models.layers import Dense, Flatten
from core.models.spec import ModelSpec


def mlp(image: tuple[int, int], classes: int) -> ModelSpec:
    """Three dense layers of 400 units, and the logits"""
    dense = (Dense(name, 400) for name in ("first", "second", "hidden"))
    return ModelSpec("mlp", image, classes, (Flatten(), *dense, Dense("logits", classes, relu=False)))


def mlp100(image: tuple[int, int], classes: int) -> ModelSpec:
    """Two dense layers of 100 units, and the logits (Mammoth's on MNIST, Buzzega et al. 2020, arXiv:2004.07211)"""
    dense = (Dense(name, 100) for name in ("first", "hidden"))
    return ModelSpec("mlp100", image, classes, (Flatten(), *dense, Dense("logits", classes, relu=False)))
