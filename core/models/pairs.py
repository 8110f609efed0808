"""What is fast for a pair of layers, all of it exact: the same function and the same gradients as one after the other.

- Bias and ReLU commute with max-pooling (both are monotone), so we pool first and touch a quarter of the elements.
- A first convolution has one channel: as a matrix product over windows (one for each pooled cell, holding the kernel's
  positions in it) it is far denser work than a convolution, and its results are just what the pool compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.models.layers import Conv, Layer, Pool, Shape, Watch


@dataclass(frozen=True)
class ConvPool:
    """A convolution and the pool behind it."""

    conv: Conv
    pool: Pool

    @property
    def name(self) -> str:
        return self.conv.name

    def out(self, shape: Shape) -> Shape:
        return self.pool.out(self.conv.out(shape))

    def shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return self.conv.shapes(shape)

    def reach(self, length: int) -> int:
        return self.conv.reach(self.pool.reach(length))

    def forward(self, ops: Any, arrays: Sequence[Any], x: Any, watch: Watch | None = None) -> Any:
        kernel, bias = arrays
        if watch:
            pooled = ops.pool(watch(ops.conv(x, kernel)), self.pool.size)
        elif self._whole(x.shape):
            pooled = ops.conv_pool(x, kernel, self.pool.size)
        else:
            pooled = ops.pool(ops.conv(x, kernel), self.pool.size)
        return ops.relu(pooled + bias)

    def _whole(self, shape: Shape) -> bool:
        """Are the windows on images [n, rows, columns, channels] of whole cells of a pool's window, of one channel?"""
        _, rows, columns, channels = shape
        whole = not any(length % self.pool.size for length in (self.conv.size - 1, rows, columns))
        return self.pool.size > 1 and channels == 1 and whole

    def squares(self, ops: Any, x: Any, slope: Any) -> list[Any]:
        return self.conv.squares(ops, x, slope)

    def largest(self, arrays: Sequence[np.ndarray], bound: np.ndarray) -> np.ndarray:
        return self.conv.largest(arrays, bound)

    def keras(self, l2: Any) -> Any:
        raise NotImplementedError("Keras has the two layers one after the other")


def paired(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers as they are computed."""
    blocks: list[Layer] = []
    for layer in layers:
        if isinstance(layer, Pool) and blocks and isinstance(blocks[-1], Conv):
            blocks[-1] = ConvPool(blocks[-1], layer)
        else:
            blocks.append(layer)
    return tuple(blocks)
