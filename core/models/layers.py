"""Layers, each with all its forms in one class: shapes, forward, per-example squares (Fisher), bound, Keras.

Forward and squares are written once, over `ops`: TensorFlow's own operations (core/models/stock.py), or LiteRT's builtin ones
(core/models/builtin.py). So nothing here needs TensorFlow to be imported. What ONNX needs of a layer, `Flatten`'s order, it
finds in the Keras form (server/export/onnx.py).

x: f32 [n, rows, columns, channels] or [n, features]; arrays: a layer's kernel and bias, in Keras' shapes and order. `watch` is
given what a layer computes before its ReLU (and its pool, if there is one): where the Fisher wants the loss's slope.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Shape = tuple[int, ...]
Watch = Callable[[Any], Any]


class Layer(Protocol):
    """What a model's specification asks of a layer."""

    @property
    def name(self) -> str: ...
    def out(self, shape: Shape) -> Shape:
        """The shape in which one example leaves it."""

    def shapes(self, shape: Shape) -> tuple[Shape, ...]:
        """The shapes of its arrays, where one example comes in this shape."""

    def reach(self, length: int) -> int:
        """How many rows (or columns) of its input decide so many of its output."""

    def forward(self, ops: Any, arrays: Sequence[Any], x: Any, watch: Watch | None = None) -> Any:
        """What it makes of x."""

    def squares(self, ops: Any, x: Any, slope: Any) -> list[Any]:
        """Σ over examples and losses of the squared gradients of its arrays; slope: each loss's at what `watch` was given,
        [losses, n, …]."""

    def largest(self, arrays: Sequence[np.ndarray], bound: np.ndarray) -> np.ndarray:
        """No output is above this where no input is above `bound`, f64, one for each channel."""

    def keras(self, l2: Any) -> Any:
        """The layer of Keras. l2: a regularizer for its kernel, or None."""


@dataclass(frozen=True)
class Conv:
    """Convolution size × size, stride 1, no padding; bias; ReLU."""

    name: str
    filters: int
    size: int = 3

    def out(self, shape: Shape) -> Shape:
        rows, columns, _ = shape
        return rows - self.size + 1, columns - self.size + 1, self.filters

    def shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return (self.size, self.size, shape[-1], self.filters), (self.filters,)

    def reach(self, length: int) -> int:
        return length + self.size - 1

    def forward(self, ops: Any, arrays: Sequence[Any], x: Any, watch: Watch | None = None) -> Any:
        kernel, bias = arrays
        z = ops.conv(x, kernel) + bias
        return ops.relu(watch(z) if watch else z)

    def squares(self, ops: Any, x: Any, slope: Any) -> list[Any]:
        return ops.conv_squares(x, slope, self.size)

    def largest(self, arrays: Sequence[np.ndarray], bound: np.ndarray) -> np.ndarray:
        kernel, bias = arrays
        return np.maximum((np.maximum(kernel, 0) * bound[:, None]).sum((0, 1, 2)) + bias, 0)

    def keras(self, l2: Any) -> Any:
        from tensorflow import keras

        return keras.layers.Conv2D(self.filters, self.size, activation="relu", kernel_regularizer=l2, name=self.name)


class _Plain:
    """A layer without arrays."""

    def shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return ()

    def squares(self, ops: Any, x: Any, slope: Any) -> list[Any]:
        return []


@dataclass(frozen=True)
class Pool(_Plain):
    """The greatest of each size × size window; what no window fills at the far borders is dropped."""

    name: str
    size: int = 2

    def out(self, shape: Shape) -> Shape:
        rows, columns, channels = shape
        return rows // self.size, columns // self.size, channels

    def reach(self, length: int) -> int:
        return length * self.size

    def forward(self, ops: Any, arrays: Sequence[Any], x: Any, watch: Watch | None = None) -> Any:
        return ops.pool(x, self.size)

    def largest(self, arrays: Sequence[np.ndarray], bound: np.ndarray) -> np.ndarray:
        return bound

    def keras(self, l2: Any) -> Any:
        from tensorflow import keras

        return keras.layers.MaxPooling2D(self.size, name=self.name)


@dataclass(frozen=True)
class Flatten(_Plain):
    """Rows, columns and channels as one row of features, channels fastest."""

    name: str = "flat"

    def out(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def reach(self, length: int) -> int:
        return length

    def forward(self, ops: Any, arrays: Sequence[Any], x: Any, watch: Watch | None = None) -> Any:
        return ops.flat(x)

    def largest(self, arrays: Sequence[np.ndarray], bound: np.ndarray) -> np.ndarray:
        return bound  # for each channel still: `Dense` spreads it over its kernel's rows

    def keras(self, l2: Any) -> Any:
        from tensorflow import keras

        return keras.layers.Flatten(name=self.name)


@dataclass(frozen=True)
class Dense:
    """All features into each unit; bias; ReLU, but not behind the logits."""

    name: str
    units: int
    relu: bool = True

    def out(self, shape: Shape) -> Shape:
        return (self.units,)

    def shapes(self, shape: Shape) -> tuple[Shape, ...]:
        (features,) = shape
        return (features, self.units), (self.units,)

    def reach(self, length: int) -> int:
        return length

    def forward(self, ops: Any, arrays: Sequence[Any], x: Any, watch: Watch | None = None) -> Any:
        kernel, bias = arrays
        z = x @ kernel + bias
        z = watch(z) if watch else z
        return ops.relu(z) if self.relu else z

    def squares(self, ops: Any, x: Any, slope: Any) -> list[Any]:
        return ops.dense_squares(x, slope)

    def largest(self, arrays: Sequence[np.ndarray], bound: np.ndarray) -> np.ndarray:
        kernel, bias = arrays
        top = np.maximum(kernel, 0).T @ np.tile(bound, len(kernel) // len(bound)) + bias
        return np.maximum(top, 0) if self.relu else top

    def keras(self, l2: Any) -> Any:
        from tensorflow import keras

        activation = "relu" if self.relu else None
        return keras.layers.Dense(self.units, activation=activation, kernel_regularizer=l2, name=self.name)
