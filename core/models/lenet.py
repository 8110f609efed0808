"""LeNet-5 with ReLU and max-pooling, as NIID-Bench trains it on MNIST: of ten classes 44,426 weights.

LeCun et al. 1998; Li et al. 2022, arXiv:2102.02079. Images are not padded: 28 × 28 pixels end as 4 × 4 × 16 features.
"""

from __future__ import annotations

from core.models.layers import Conv, Dense, Flatten, Pool
from core.models.spec import ModelSpec


def lenet(image: tuple[int, int], classes: int) -> ModelSpec:
    """Two convolutions of 5 × 5, each with a pool, and three dense layers: small (NIID-Bench's)"""
    layers = (
        Conv("conv1", 6, 5), Pool("pool1"), Conv("conv2", 16, 5), Pool("pool2"), Flatten(),
        Dense("dense", 120), Dense("hidden", 84), Dense("logits", classes, relu=False),
    )  # fmt: skip
    return ModelSpec("lenet", image, classes, layers)
