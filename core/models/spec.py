"""A model as a specification: a tuple of layers, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from core.arrays import Arrays
from core.models import norm
from core.models.layers import Dense, Flatten, Layer, Shape, Watch
from core.models.norm import Norm
from core.models.pairs import paired
from core.seeds import rng


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
        if any(min(shape) < 1 for shape in self._input_shapes):
            raise ValueError(
                f"model {self.name!r} leaves nothing of an image of {self.image[0]} × {self.image[1]} pixels"
            )

    @cached_property
    def _input_shapes(self) -> tuple[Shape, ...]:
        """What each computed layer sees of one example, and at the end the logits; borders that reach nothing are cut."""
        blocks = self._blocks
        shape: Shape = (*self.image, 1)
        uncut: list[Shape] = []
        for block in blocks:
            uncut.append(shape)
            shape = block.out(shape)
        rows, columns = next((s[:2] for s in uncut[::-1] if len(s) == 3), (1, 1))
        before = [(block, s) for block, s in zip(blocks, uncut, strict=True) if len(s) == 3][:-1]
        for block, s in reversed(before):
            rows, columns = block.reach(rows), block.reach(columns)
            if isinstance(block, Norm) and block.groups:
                rows, columns, _ = s  # each number behind it depends on all before it
        shape = (rows, columns, 1)
        cut: list[Shape] = []
        for block in blocks:
            cut.append(shape)
            shape = block.out(shape)
        return (*cut, shape)

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
        """The shapes of all arrays, in Keras' order: kernel and bias of each layer; of a norm, what it calls its `kinds`."""
        return tuple(
            shape for block, x in zip(self._blocks, self._input_shapes[:-1], strict=True) for shape in block.shapes(x)
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What the arrays are called: layer/kernel, layer/bias; of a norm, layer/scale and so on."""
        return tuple(
            f"{block.name}/{kind}"
            for block, x in zip(self._blocks, self._input_shapes[:-1], strict=True)
            for kind, _ in zip(
                block.kinds if isinstance(block, Norm) else ("kernel", "bias"), block.shapes(x), strict=False
            )
        )

    def norms(self) -> tuple[int, ...]:
        """Which arrays are those of norms, by their numbers."""
        is_norm = [
            isinstance(b, Norm) for b, x in zip(self._blocks, self._input_shapes[:-1], strict=True) for _ in b.shapes(x)
        ]
        return tuple(i for i, flag in enumerate(is_norm) if flag)

    @cached_property
    def statistics(self) -> frozenset[int]:
        """Which arrays take no gradient: batch norm's mean and square, which are computed and averaged, never stepped."""
        return frozenset(i for i in self.norms() if self.names[i].endswith(("/mean", "/square")))

    def trainable(self, arrays: Sequence[Any]) -> list[Any]:
        """Those of the arrays that take gradients."""
        return [a for i, a in enumerate(arrays) if i not in self.statistics]

    def with_statistics(self, arrays: Sequence[Any], source: Sequence[Any]) -> list[Any]:
        """These arrays, the statistics among them replaced by the source's."""
        return [source[i] if i in self.statistics else a for i, a in enumerate(arrays)]

    @property
    def dense(self) -> int:
        """How many dense layers its head has: two, or one if there are no more."""
        return len(self._blocks) - self._split

    @property
    def features(self) -> int:
        """How many features the head sees."""
        (count,) = self._input_shapes[self._split]
        return count

    @property
    def hidden(self) -> int:
        """How many units there are before the logits: those that dropout touches."""
        (count,) = self._input_shapes[-2]
        return count

    def initial(self, seed: int) -> Arrays:
        """Uniform kernels (Glorot and Bengio 2010, as Keras does) and zero biases, by address; norms that change nothing yet."""
        generator = rng(seed, "weights")

        def draw(shape: Shape) -> np.ndarray:
            if len(shape) == 1:
                return np.zeros(shape, np.float32)
            field = np.prod(shape[:-2])  # 9 for a 3×3 convolution, 1 for a dense layer
            limit = np.sqrt(6 / (field * (shape[-2] + shape[-1])))
            return generator.uniform(-limit, limit, shape).astype(np.float32)

        arrays: Arrays = []
        for block, x in zip(self._blocks, self._input_shapes[:-1], strict=True):
            arrays += block.initial(x[-1]) if isinstance(block, Norm) else [draw(shape) for shape in block.shapes(x)]
        return arrays

    def body_and_head(self, arrays: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The arrays of the body, and those of the head."""
        count = sum(len(part) for part in self._parts(arrays)[: self._split])
        return list(arrays[:count]), list(arrays[count:])

    def _parts(self, arrays: Sequence[Any]) -> list[list[Any]]:
        """The arrays of each computed layer."""
        rest = iter(arrays)
        return [
            [next(rest) for _ in block.shapes(x)]
            for block, x in zip(self._blocks, self._input_shapes[:-1], strict=True)
        ]

    # ── forward, over either engine's operations ──

    def body(self, ops: Any, arrays: Sequence[Any], images: Any, statistics: list[Any] | None = None) -> Any:
        """The features, f32 [n, features].

        statistics: a list, in training: then batch norms go by these images' own, and append them, in the arrays' order.
        """
        x, parts = self._cut(images), self._parts(arrays)
        for block, part in zip(self._blocks[: self._split], parts, strict=False):
            if statistics is not None and isinstance(block, Norm) and not block.groups:
                x, batch_statistics = block.over_batch(ops, part, x)
                statistics += batch_statistics
            else:
                x = block.forward(ops, part, x)
        return x

    def head(self, ops: Any, arrays: Sequence[Any], features: Any, dropout_mask: Any = None) -> Any:
        """The logits. dropout_mask: f32 [n, hidden], what multiplies the units before them."""
        *before, last = zip(self._blocks, self._parts(arrays), strict=True)
        x = features
        for block, part in before[self._split :]:
            x = block.forward(ops, part, x)
        return last[0].forward(ops, last[1], x if dropout_mask is None else x * dropout_mask)

    def logits(
        self,
        ops: Any,
        arrays: Sequence[Any],
        images: Any,
        dropout_mask: Any = None,
        statistics: list[Any] | None = None,
    ) -> Any:
        """The model as a function. statistics: see `body`."""
        return self.head(ops, arrays, self.body(ops, arrays, images, statistics), dropout_mask)

    def watched(self, ops: Any, arrays: Sequence[Any], images: Any, watch: Watch) -> tuple[Any, list[Any]]:
        """The logits, and what each layer with arrays sees (a norm: normed); `watch` is given what each computes, in order."""
        x, inputs = self._cut(images), []
        for block, part in zip(self._blocks, self._parts(arrays), strict=True):
            if part:
                inputs.append(block.normed(ops, part, x) if isinstance(block, Norm) else x)
            x = block.forward(ops, part, x, watch)
        return x, inputs

    def squares(self, ops: Any, inputs: Sequence[Any], slopes: Sequence[Any]) -> list[Any]:
        """Σ over examples and losses of each array's squared gradients, from what `watched` saw and each loss's slopes there."""
        blocks = [b for b, x in zip(self._blocks, self._input_shapes[:-1], strict=True) if b.shapes(x)]
        return [one for b, x, d in zip(blocks, inputs, slopes, strict=True) for one in b.squares(ops, x, d)]

    def _cut(self, images: Any) -> Any:
        """Images f32 [n, rows, columns, 1], without the last rows and columns, on which no logit depends."""
        rows, columns, _ = self._input_shapes[0]
        return images[..., None] if (rows, columns) == self.image else images[:, :rows, :columns, None]

    # ── what follows without an engine ──

    @property
    def signed(self) -> bool:
        """Can a feature be negative? Behind a norm; a ReLU's output cannot."""
        return _signed(self._blocks[: self._split], self._input_shapes)

    def largest_features(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """f64 [features]: no image with pixels 0 … 1 has a larger |feature| under these weights.

        A ReLU's output is at most the sum of what its positive weights can bring.
        """
        bound = self._bounded(arrays, self._split)
        return np.tile(bound, self.features // len(bound))

    def largest_hidden(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """f64 [hidden]: the same of the units before the logits; for a model with two dense layers."""
        return self._bounded(arrays, len(self._blocks) - 1)

    def _bounded(self, arrays: Sequence[np.ndarray], count: int) -> np.ndarray:
        """f64, one for each channel: no |output| of the last of so many computed layers is above this."""
        bound = np.ones(1)
        for i, part in enumerate(self._parts(arrays)[:count]):
            bound = self._largest(i, part, bound)
        return bound

    def check_statistics(self, arrays: Sequence[np.ndarray], batch: int) -> None:
        """Raises ValueError if no images have the arrays' statistics, computed under these weights in batches of this size."""
        bound = np.ones(1)
        for i, part in enumerate(self._parts(arrays)[: self._split]):
            block = self._blocks[i]
            if isinstance(block, Norm) and not block.groups:
                norm.check(block, part, bound)
                bound = block.largest_of(part, batch * math.prod(self._input_shapes[i][:-1]))
            else:
                bound = self._largest(i, part, bound)

    def _largest(self, i: int, part: Sequence[np.ndarray], bound: np.ndarray) -> np.ndarray:
        """No |output| of computed layer i is above this where no |input| is above the bound; f64, one for each channel."""
        block, arrays, shape = self._blocks[i], [w.astype(np.float64) for w in part], self._input_shapes[i]
        if isinstance(block, Norm) and block.groups:
            return block.largest_of(arrays, math.prod(shape) // block.groups)
        if arrays and not isinstance(block, Norm) and _signed(self._blocks[:i], self._input_shapes):
            arrays[0] = np.abs(arrays[0])  # whatever its sign, a weight can bring as much
        return block.largest(arrays, bound)

    def normalized(self, kind: str, groups: int) -> ModelSpec:
        """This model with norms of this kind: "none", "batch" or "group". Raises ValueError, naming it, if it cannot have them."""
        if kind == "none":
            return self
        try:
            layers = norm.with_norms(self.layers, self.image, self.dense, groups if kind == "group" else 0)
        except ValueError as error:
            raise ValueError(f"model.norm = {kind} cannot be had with model.kind = {self.name}: {error}") from None
        return replace(self, layers=layers)

    def folded(self, arrays: Sequence[np.ndarray]) -> tuple[ModelSpec, Arrays]:
        """The same function without batch norms, for readers. Computed in f64, given in f32.

        A norm's slopes go, by their size, into the kernel and bias before it, for ReLU and max-pool let a positive factor
        through; their signs and the offsets go into the next. So every channel in between has a range like the others', which
        is what integers need (Nagel et al. 2019, arXiv:1906.04721).
        """
        if not self.statistics:
            return self, list(arrays)
        shape: Shape = (*self.image, 1)
        rest, folded, layers = (a.astype(np.float64) for a in arrays), list[np.ndarray](), list[Layer]()
        affine: tuple[np.ndarray, np.ndarray] | None = None
        for layer in self.layers:
            part = [next(rest) for _ in layer.shapes(shape)]
            if isinstance(layer, Norm) and not layer.groups:
                slope, offset = layer.affine(part)
                folded[-2:] = [w * np.abs(slope) for w in folded[-2:]]
                affine = np.sign(slope), offset
            else:
                if affine and isinstance(layer, Flatten):
                    affine = tuple(np.tile(one, math.prod(shape[:-1])) for one in affine)  # type: ignore[assignment]
                elif affine:
                    sign, offset = affine
                    kernel, bias = part
                    bias = bias + (kernel * offset[:, None]).sum(tuple(range(kernel.ndim - 1)))
                    part, affine = [kernel * sign[:, None], bias], None
                folded += part
                layers.append(layer)
            shape = layer.out(shape)
        return replace(self, layers=tuple(layers)), [w.astype(np.float32) for w in folded]


def _signed(blocks: Sequence[Layer], shapes: Sequence[Shape]) -> bool:
    """Is a norm the last of these layers that has arrays?"""
    last = [block for block, shape in zip(blocks, shapes, strict=False) if block.shapes(shape)][-1:]
    return any(isinstance(block, Norm) for block in last)
