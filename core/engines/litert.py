"""Carry out a plan without TensorFlow: gradients by LiteRT (core/engines/step_file.py makes the file), the rest in numpy.

The same functions as core/engines/tensorflow.py. A single step agrees with TensorFlow's within 1e-6; long runs agree in
accuracy, not in bits, for a ReLU or a maximum that sits on its kink may fall to the other side.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from core.arrays import Arrays, numbered, squared_length
from core.engines.step import FISHER_PAGE, PAGE, digest
from core.models import ModelSpec
from core.plan import Learned, Plan
from core.scores import Sums


class LiteRTEngine:
    """One model's training step, loaded. Not for two threads at once."""

    def __init__(self, model: ModelSpec, step: bytes) -> None:
        self.model = model
        self._interpreter = Interpreter(model_content=step, num_threads=1)
        self._step, self._look, self._squares = (
            self._interpreter.get_signature_runner(name) for name in ("step", "look", "squares")
        )
        details = self._step.get_input_details()
        shapes = tuple(
            tuple(int(n) for n in details[name]["shape"])
            for name in sorted((n for n in details if re.fullmatch("w[0-9]+", n)), key=lambda n: int(n[1:]))
        )
        if shapes != model.shapes:
            raise ValueError(
                f"the training step's file is of another model than {model.name}: its weights are {shapes}"
            )
        self.batch = int(details["dropout_mask"]["shape"][0])
        self.contrasts = "apart" in details

    def train(self, weights: Arrays, plan: Plan) -> Learned:
        """SGD, with heavy-ball momentum if asked, over the plan's batches."""
        if not len(plan.order):
            return Learned(weights, Sums(), [])
        if plan.contrast and not self.contrasts:
            raise ValueError("this training step's file knows no contrast")
        moved, speeds = [w.copy() for w in weights], [np.zeros_like(w) for w in weights]
        path = [np.zeros_like(w) for w in weights] if plan.path else []
        total = Sums()
        for i, rows in enumerate(plan.order):
            slopes, sums = self._slopes(moved, plan, rows, plan.dropout_mask[i])
            total = total + sums
            if plan.guard.shape[1]:
                rows = plan.guard[i]
                slopes = _bent(slopes, self._plain(moved, plan.images[rows], plan.labels[rows]))
            if plan.reference:
                slopes = _bent(slopes, plan.reference)
            clipped = _clipped(slopes, plan.clip) if plan.clip else slopes  # before the pull, as in TensorFlow's
            pulled = [g + a * w + b for g, a, w, b in zip(clipped, plan.pull.a, moved, plan.pull.b, strict=True)]
            for j, slope in enumerate(slopes):
                w, speed = moved[j], speeds[j]
                speed *= np.float32(plan.momentum)
                speed += pulled[j]
                move = plan.rate[i] * speed
                w -= move
                if plan.path:
                    path[j] += slope * move
        return Learned(moved, total, path)

    def logits(self, weights: Arrays, images: np.ndarray) -> np.ndarray:
        """The model's logits, f32 [n, classes], for images uint8 [n, 28, 28]."""
        return self._outputs(weights, images, "logits")

    def features(self, weights: Arrays, images: np.ndarray) -> np.ndarray:
        """What the model's head sees, f32 [n, features], for images uint8 [n, 28, 28]."""
        return self._outputs(weights, images, "features")

    def gradient(self, weights: Arrays, images: np.ndarray, labels: np.ndarray) -> Arrays:
        """Of the mean cross-entropy of these images (core.engines.base)."""
        total = [np.zeros(w.shape) for w in weights]
        for i in range(0, len(images), self.batch):
            x, y = images[i : i + self.batch], labels[i : i + self.batch]
            for sum_, slope in zip(total, self._plain(weights, x, y), strict=True):
                sum_ += len(x) / len(images) * slope
        return [one.astype(np.float32) for one in total]

    def fisher(self, weights: Arrays, images: np.ndarray) -> Arrays:
        """The diagonal of the Fisher information, over all classes (core.engines.base)."""
        total, roots = [np.zeros(w.shape) for w in weights], np.sqrt(_softmax(self.logits(weights, images)))
        for i in range(0, len(images), FISHER_PAGE):
            page = _page(images[i : i + FISHER_PAGE], FISHER_PAGE) / np.float32(255)
            for label in range(self.model.classes):
                one_hot = np.tile(np.eye(self.model.classes, dtype=np.float32)[label], (FISHER_PAGE, 1))
                counts = _page(roots[i : i + FISHER_PAGE, label], FISHER_PAGE)  # √p, which is p once it is squared
                outputs = self._squares(**numbered("w", weights), images=page, labels=one_hot, counts=counts)
                for j, sum_ in enumerate(total):
                    sum_ += outputs[f"f{j}"]
        return [(one / max(1, len(images))).astype(np.float32) for one in total]

    def _slopes(self, weights: Arrays, plan: Plan, rows: np.ndarray, dropout_mask: np.ndarray) -> tuple[Arrays, Sums]:
        """The gradient of a batch's loss, and the sums over its rows."""
        n, labels = len(rows), plan.labels[rows]
        inputs = self._blank(plan.images[rows], labels)
        for name, values in (("shift", plan.shift), ("soft", plan.soft), ("teacher", plan.logits), ("hard", plan.hard)):
            inputs[name][:n] = values[rows]
        inputs["soft"] /= np.float32(n)  # the step sums; the plan's loss is a mean
        inputs["hard"] /= np.float32(n)
        inputs["dropout_mask"][:n] = dropout_mask
        inputs["scale"] = plan.scale
        if plan.contrast:
            inputs["contrast"][:n], inputs["apart"][:n] = plan.contrast.weight / n, plan.contrast.apart[rows]
        outputs = self._step(**numbered("w", weights), **inputs)
        right = int((outputs["logits"][:n].argmax(1) == labels).sum())
        return _slopes(outputs, weights), Sums(float(outputs["cross"][:n].sum()), right, n)

    def _plain(self, weights: Arrays, images: np.ndarray, labels: np.ndarray) -> Arrays:
        """The gradient of the mean cross-entropy of at most a batch."""
        inputs = self._blank(images, labels)
        inputs["hard"][: len(images)] = 1 / np.float32(len(images))
        outputs = self._step(**numbered("w", weights), **inputs)
        return _slopes(outputs, weights)

    def _blank(self, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """A batch of these images, in which nothing counts yet. Raises ValueError if they are more than a batch."""
        n = len(images)
        if n > self.batch:
            raise ValueError(f"{n} examples a step are more than the {self.batch} of this training step's file")
        table = (self.batch, self.model.classes)
        inputs: dict[str, np.ndarray] = {
            name: np.zeros(table, np.float32) for name in ("labels", "shift", "soft", "teacher")
        }
        inputs["labels"][np.arange(n), labels] = 1
        inputs["images"] = np.zeros((self.batch, *images.shape[1:]), np.float32)
        inputs["images"][:n] = images.astype(np.float32) / 255
        inputs["hard"] = np.zeros(self.batch, np.float32)
        inputs["scale"] = np.ones(self.model.classes, np.float32)
        if self.contrasts:
            inputs["contrast"] = np.zeros(self.batch, np.float32)
            inputs["apart"] = np.zeros((self.batch, self.model.features), np.float32)
        inputs["dropout_mask"] = np.ones((self.batch, self.model.hidden), np.float32)
        return inputs

    def _outputs(self, weights: Arrays, images: np.ndarray, name: str) -> np.ndarray:
        pages = [page[name][:n] for page, n in self._pages(weights, images)]
        width = self.model.classes if name == "logits" else self.model.features
        return np.concatenate(pages) if pages else np.zeros((0, width), np.float32)

    def _pages(self, weights: Arrays, images: np.ndarray) -> Iterator[tuple[dict[str, np.ndarray], int]]:
        for i in range(0, len(images), PAGE):
            chunk = images[i : i + PAGE].astype(np.float32) / 255
            page = np.zeros((PAGE, *images.shape[1:]), np.float32)
            page[: len(chunk)] = chunk
            yield self._look(images=page, **numbered("w", weights)), len(chunk)


@lru_cache(maxsize=2)
def engine(model: ModelSpec, step: bytes, wanted: str) -> LiteRTEngine:
    """The engine of this file, loaded once a process. Raises ValueError if it is not the one that is wanted, or another model's."""
    if (found := digest(step)) != wanted:
        raise ValueError(f"the training step's file has SHA-256 {found[:16]}…, not {wanted[:16]}…")
    return LiteRTEngine(model, step)


def _slopes(outputs: Mapping[str, np.ndarray], weights: Arrays) -> Arrays:
    """The gradient of each weight."""
    return [outputs[f"g{i}"] for i in range(len(weights))]


def _page(rows: np.ndarray, length: int) -> np.ndarray:
    """Rows as f32, with zeros behind them."""
    page = np.zeros((length, *rows.shape[1:]), np.float32)
    page[: len(rows)] = rows
    return page


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, f32 [n, classes]."""
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def _bent(slopes: Arrays, reference: Arrays) -> Arrays:
    """A-GEM's projection, as in core/engines/tensorflow.py."""
    dot, size = (float(sum(np.sum(g * k) for g, k in zip(one, reference, strict=True))) for one in (slopes, reference))
    share = np.float32(dot / max(size, 1e-12) if dot < 0 else 0.0)
    return [g - share * k for g, k in zip(slopes, reference, strict=True)]


def _clipped(slopes: Arrays, clip: float) -> Arrays:
    """All of them shortened alike, if together they are longer than `clip`."""
    length = math.sqrt(squared_length(slopes))
    return [g * np.float32(clip / length) for g in slopes] if length > clip else slopes
