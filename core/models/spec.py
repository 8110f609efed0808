"""A model as a specification: a tuple of layers, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from core.arrays import Arrays
from core.models.layers import Dense, Layer, Shape, Watch
from core.models.pairs import paired
from core.seeds import rng

NORMALIZATION = ("scale", "shift", "mean", "square")  # what the arrays of a normalization layer are called


@dataclass(frozen=True)
class ModelSpec:
    """A model: images f32 [n, rows, columns] in 0 … 1 → logits f32 [n, classes].

    It ends in one or more dense layers, the last of which has the logits. Its *head* is the last two of these (or the only
    one), its *body* what comes before; the body's output are the features.
    """

    name: str
    image: tuple[int, int]  # rows, columns
    classes: int
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        last = self.layers[-1]
        if not isinstance(last, Dense) or last.relu or last.units != self.classes:
            raise ValueError(f"model {self.name!r} should end in a dense layer of {self.classes} logits, without ReLU")
        if any(min(shape) < 1 for shape in self._seen):
            raise ValueError(
                f"model {self.name!r} leaves nothing of an image of {self.image[0]} × {self.image[1]} pixels"
            )

    @cached_property
    def _seen(self) -> tuple[Shape, ...]:
        """What each computed layer sees of one example, and at the end the logits; borders that reach nothing are cut."""
        blocks = self._blocks
        shape: Shape = (*self.image, 1)
        ends: list[Shape] = []
        for block in blocks:
            ends.append(shape)
            shape = block.out(shape)
        rows, columns = next((s[:2] for s in ends[::-1] if len(s) == 3), (1, 1))
        before = [block for block, s in zip(blocks, ends, strict=True) if len(s) == 3][:-1]
        for block in reversed(before):
            rows, columns = block.reach(rows), block.reach(columns)
        shape = (rows, columns, 1)
        found: list[Shape] = []
        for block in blocks:
            found.append(shape)
            shape = block.out(shape)
        return (*found, shape)

    @cached_property
    def _blocks(self) -> tuple[Layer, ...]:
        """The layers as they are computed (core/models/pairs.py)."""
        return paired(self.layers)

    @cached_property
    def _split(self) -> int:
        """How many of the computed layers are the body."""
        dense = len(self._blocks) - 1
        while dense and isinstance(self._blocks[dense - 1], Dense):
            dense -= 1
        return max(dense, len(self._blocks) - 2)

    # ── arrays ──

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of all arrays, in Keras' order: kernel and bias of each layer."""
        return tuple(shape for block, x in zip(self._blocks, self._seen[:-1], strict=True) for shape in block.shapes(x))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What the arrays are called: layer/kernel, layer/bias."""
        return tuple(
            f"{block.name}/{kind}"
            for block, x in zip(self._blocks, self._seen[:-1], strict=True)
            for kind, _ in zip(("kernel", "bias"), block.shapes(x), strict=False)
        )

    @property
    def norms(self) -> tuple[int, ...]:
        """Which arrays are those of normalization layers; none, if it has no such layer."""
        return tuple(i for i, name in enumerate(self.names) if name.rpartition("/")[2] in NORMALIZATION)

    @property
    def dense(self) -> int:
        """How many dense layers its head has: two, or one if there are no more."""
        return len(self._blocks) - self._split

    @property
    def features(self) -> int:
        """How many features the head sees."""
        (count,) = self._seen[self._split]
        return count

    @property
    def hidden(self) -> int:
        """How many units there are before the logits: those that dropout touches."""
        (count,) = self._seen[-2]
        return count

    def initial(self, seed: int) -> Arrays:
        """Uniform kernels (Glorot and Bengio 2010, as Keras does) and zero biases, by address."""
        generator = rng(seed, "weights")

        def one(shape: Shape) -> np.ndarray:
            if len(shape) == 1:
                return np.zeros(shape, np.float32)
            field = np.prod(shape[:-2])  # 9 for a 3×3 convolution, 1 for a dense layer
            limit = np.sqrt(6 / (field * (shape[-2] + shape[-1])))
            return generator.uniform(-limit, limit, shape).astype(np.float32)

        return [one(shape) for shape in self.shapes]

    def body_and_head(self, arrays: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The arrays of the body, and those of the head."""
        count = sum(len(part) for part in self._parts(arrays)[: self._split])
        return list(arrays[:count]), list(arrays[count:])

    def _parts(self, arrays: Sequence[Any]) -> list[list[Any]]:
        """The arrays of each computed layer."""
        rest = iter(arrays)
        return [[next(rest) for _ in block.shapes(x)] for block, x in zip(self._blocks, self._seen[:-1], strict=True)]

    # ── forward, over either engine's operations ──

    def body(self, ops: Any, arrays: Sequence[Any], images: Any) -> Any:
        """The features, f32 [n, features]."""
        x, parts = self._cut(images), self._parts(arrays)
        for block, mine in zip(self._blocks[: self._split], parts, strict=False):
            x = block.forward(ops, mine, x)
        return x

    def head(self, ops: Any, arrays: Sequence[Any], features: Any, dropout_mask: Any = None) -> Any:
        """The logits. dropout_mask: f32 [n, hidden], what multiplies the units before them."""
        *before, last = zip(self._blocks, self._parts(arrays), strict=True)
        x = features
        for block, mine in before[self._split :]:
            x = block.forward(ops, mine, x)
        return last[0].forward(ops, last[1], x if dropout_mask is None else x * dropout_mask)

    def logits(self, ops: Any, arrays: Sequence[Any], images: Any, dropout_mask: Any = None) -> Any:
        """The model as a function."""
        return self.head(ops, arrays, self.body(ops, arrays, images), dropout_mask)

    def watched(self, ops: Any, arrays: Sequence[Any], images: Any, watch: Watch) -> tuple[Any, list[Any]]:
        """The logits, and what each layer with arrays sees; `watch` is given what each computes, in their order."""
        x, inputs = self._cut(images), []
        for block, mine in zip(self._blocks, self._parts(arrays), strict=True):
            inputs += [x] if mine else []
            x = block.forward(ops, mine, x, watch)
        return x, inputs

    def squares(self, ops: Any, inputs: Sequence[Any], slopes: Sequence[Any]) -> list[Any]:
        """Σ over examples of each array's squared gradients, from what `watched` saw and the loss's slopes there."""
        blocks = [b for b, x in zip(self._blocks, self._seen[:-1], strict=True) if b.shapes(x)]
        return [one for b, x, d in zip(blocks, inputs, slopes, strict=True) for one in b.squares(ops, x, d)]

    def _cut(self, images: Any) -> Any:
        """Images f32 [n, rows, columns, 1], without the last rows and columns, on which no logit depends."""
        rows, columns, _ = self._seen[0]
        return images[..., None] if (rows, columns) == self.image else images[:, :rows, :columns, None]

    # ── what follows without an engine ──

    def largest_features(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """f64 [features]: no image with pixels 0 … 1 has a larger feature under these weights.

        A ReLU's output is at most the sum of what its positive weights can bring.
        """
        bound = np.ones(1)
        for block, mine in zip(self._blocks[: self._split], self._parts(arrays), strict=False):
            bound = block.largest([w.astype(np.float64) for w in mine], bound)
        return np.tile(bound, self.features // len(bound))
