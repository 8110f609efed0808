"""The MLP of the literature on permuted MNIST, 784-400-400-400-10: of ten classes 638,810 weights."""

from __future__ import annotations

from core.models.layers import Dense, Flatten
from core.models.spec import ModelSpec


def mlp(image: tuple[int, int], classes: int) -> ModelSpec:
    """Three dense layers of 400 units, and the logits"""
    dense = (Dense(name, 400) for name in ("first", "second", "hidden"))
    return ModelSpec("mlp", image, classes, (Flatten(), *dense, Dense("logits", classes, relu=False)))
