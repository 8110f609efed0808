"""Normalization of what a layer sees: batch norm, whose statistics federate, and group norm, which has none.

A norm stands behind a block's ReLU and pool, before the next kernel. There it is a quarter of the work, pooling first stays
exact whatever the sign of its scale, and its evaluation, an affine map of each channel, folds into the kernels on both sides
exactly (convolutions have no padding). Between pool and ReLU, a negative scale would fold into no convolution.

Batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167) keeps E[x] and E[x²] of each channel, not the variance. Both are linear in
the data: the mean of clients' arrays, weighed by their examples, is what all that they saw together has. A client computes
them at the end of its round, by its last weights, over every batch that it learned from ("precise" statistics, Wu and Johnson
2021, arXiv:2105.07576): sums over its images, where a moving average would depend on how many steps it took. What a later norm
sees has gone through the earlier ones as in training, each batch by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.models.layers import Flatten, Layer, Shape, Watch

EPSILON = 1e-3  # added to variances, as Keras does
ROUNDING = 1e-3  # relative; statistics are float32


@dataclass(frozen=True)
class Norm:
    """(x − mean) / √(variance + EPSILON) · scale + shift, scale and shift for each channel.

    groups = 0: over a batch, for each channel; else over one example, for each of so many groups of channels (Wu and He 2018,
    arXiv:1803.08494).
    """

    name: str
    groups: int = 0

    @property
    def kinds(self) -> tuple[str, ...]:
        """What its arrays are: scale and shift take gradients; mean and square, of batch norm, are statistics."""
        return ("scale", "shift") if self.groups else ("scale", "shift", "mean", "square")

    def out(self, shape: Shape) -> Shape:
        return shape

    def shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return tuple((shape[-1],) for _ in self.kinds)

    def initial(self, channels: int) -> list[np.ndarray]:
        """Its first arrays: as if what it sees had mean 0 and variance 1."""
        return [np.full(channels, kind in ("scale", "square"), np.float32) for kind in self.kinds]

    def reach(self, length: int) -> int:
        return length

    def forward(self, ops: Any, arrays: Sequence[Any], x: Any, watch: Watch | None = None) -> Any:
        y = self.normed(ops, arrays, x) * arrays[0] + arrays[1]
        return watch(y) if watch else y

    def normed(self, ops: Any, arrays: Sequence[Any], x: Any) -> Any:
        """x before scale and shift; by batch norm's own statistics."""
        if self.groups:
            return ops.grouped(x, self.groups, EPSILON)
        _, _, mean, square = arrays
        return (x - mean) * ops.inverse_root(ops.variance(mean, square) + EPSILON)

    def over_batch(self, ops: Any, arrays: Sequence[Any], x: Any) -> tuple[Any, list[Any]]:
        """What batch norm makes of x in training, by the statistics of x itself; and these, mean and square."""
        mean, variance = ops.moments(x)
        y = (x - mean) * (ops.inverse_root(variance + EPSILON) * arrays[0]) + arrays[1]
        return y, [mean, variance + mean * mean]

    def squares(self, ops: Any, x: Any, slope: Any) -> list[Any]:
        """As every layer's; x: what `normed` gives."""
        sums: list[Any] = ops.norm_squares(x, slope)
        return sums + [0 * sums[1] for _ in self.kinds[2:]]

    def largest(self, arrays: Sequence[np.ndarray], bound: np.ndarray) -> np.ndarray:
        """No |output| of batch norm is above this where no |input| is above `bound`."""
        slope, offset = self.affine(arrays)
        return np.abs(slope) * bound + np.abs(offset)

    def largest_of(self, arrays: Sequence[np.ndarray], count: int) -> np.ndarray:
        """No |output| is above this, whatever comes in, where mean and variance are those of `count` numbers themselves."""
        return np.abs(arrays[0]) * math.sqrt(count) + np.abs(arrays[1])

    def affine(self, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """What batch norm is in evaluation: slope · x + offset, f64 [channels] each."""
        scale, shift, mean, square = (a.astype(np.float64) for a in arrays)
        slope = scale / np.sqrt(np.maximum(square - mean * mean, 0) + EPSILON)
        return slope, shift - slope * mean

    def keras(self, l2: Any) -> Any:
        from tensorflow import keras

        if not self.groups:
            raise NotImplementedError("batch norm is folded into the next layer before it leaves (ModelSpec.folded)")
        return keras.layers.GroupNormalization(self.groups, epsilon=EPSILON, name=self.name)


def check(norm: Norm, arrays: Sequence[np.ndarray], bound: np.ndarray) -> None:
    """Raises ValueError if no numbers of 0 … ± bound, f64 [channels], have batch norm's statistics."""
    mean, square = (a.astype(np.float64) for a in arrays[2:])
    top = bound * (1 + ROUNDING) + ROUNDING
    if (
        (mean * mean > square * (1 + ROUNDING) + ROUNDING).any()
        or (np.abs(mean) > top).any()
        or (square > top**2).any()
    ):
        raise ValueError(f"what it says of {norm.name} (mean and mean square) no images have under its weights")


def with_norms(layers: Sequence[Layer], image: tuple[int, int], dense: int, groups: int) -> tuple[Layer, ...]:
    """The layers with a norm behind each block but the head's, which has `dense` layers.

    Raises ValueError if the groups do not divide a block's channels, or there is no such block.
    """
    stack: list[Layer] = []
    shape: Shape = (*image, 1)
    block = ""  # whose output is not normalized yet
    for i, layer in enumerate(layers):
        if block and (isinstance(layer, Flatten) or layer.shapes(shape)):
            if groups and shape[-1] % groups:
                raise ValueError(f"model.groups = {groups} does not divide the {shape[-1]} channels behind {block}")
            if groups and math.prod(shape) == groups:
                why = (
                    "each would hold one number, which is its own mean, and the model would say the same of every image"
                )
                raise ValueError(f"model.groups = {groups} is as many as there are numbers behind {block}: {why}")
            stack.append(Norm(f"{block}_norm", groups))
            block = ""
        if i < len(layers) - dense and layer.shapes(shape):
            block = layer.name
        stack.append(layer)
        shape = layer.out(shape)
    if len(stack) == len(layers):
        raise ValueError("there is nothing before its head to normalize")
    return tuple(stack)
