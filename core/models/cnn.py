"""The CNN: conv 3×3×32, pool 2, conv 3×3×64, pool 2, dense 128, dense; of MNIST's ten classes 225,034 weights.

Of an image of 28 × 28 pixels a crop of 26 × 26 is computed: the second pool drops the 11th row and column of its input, so
nothing that only they depend on is.
"""

from __future__ import annotations

from core.models.layers import Conv, Dense, Flatten, Pool
from core.models.spec import ModelSpec


def cnn(image: tuple[int, int], classes: int) -> ModelSpec:
    """Two convolutions, each with a pool, and two dense layers"""
    layers = (
        Conv("conv1", 32), Pool("pool1"), Conv("conv2", 64), Pool("pool2"), Flatten(),
        Dense("hidden", 128), Dense("logits", classes, relu=False),
    )  # fmt: skip
    return ModelSpec("cnn", image, classes, layers)
