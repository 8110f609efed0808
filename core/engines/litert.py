"""Carry out a plan without TensorFlow: gradients by LiteRT (core/engines/step.py makes the file), the rest in numpy.

The same functions as core/engines/tensorflow.py. A single step agrees with TensorFlow's within 1e-6; long runs agree in
accuracy, not in bits, for a ReLU or a maximum that sits on its kink may fall to the other side.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from core.data import CLASSES
from core.engines.step import PAGE, digest
from core.plan import Arrays, Learned, Plan
from core.scores import Sums


class Engine:
    """One training step's file, loaded. Not for two threads at once."""

    def __init__(self, step: bytes) -> None:
        self._held = Interpreter(model_content=step, num_threads=1)
        self._step, self._look = (self._held.get_signature_runner(name) for name in ("step", "look"))
        details = self._step.get_input_details()
        self.batch, self.hidden = (int(n) for n in details["dropout_mask"]["shape"])
        self.shapes = [tuple(int(n) for n in details[f"w{i}"]["shape"]) for i in range(8)]

    def train(self, weights: Arrays, plan: Plan) -> Learned:
        """SGD, with heavy-ball momentum if asked, over the plan's batches."""
        if not len(plan.order):
            return Learned(weights, Sums(), [])
        held, speeds = [w.copy() for w in weights], [np.zeros_like(w) for w in weights]
        path = [np.zeros_like(w) for w in weights] if plan.path else []
        total = Sums()
        for i, rows in enumerate(plan.order):
            slopes, seen = self._slopes(held, plan, rows, plan.dropout_mask[i])
            total = total + seen
            if plan.guard.shape[1]:
                slopes = _bent(slopes, self._kept(held, plan, plan.guard[i]))
            pulled = [g + a * w + b for g, a, w, b in zip(slopes, plan.pull.a, held, plan.pull.b, strict=True)]
            if plan.clip:
                pulled = _clipped(pulled, plan.clip)
            for j, slope in enumerate(slopes):
                w, speed = held[j], speeds[j]
                speed *= np.float32(plan.momentum)
                speed += pulled[j]
                move = plan.rate[i] * speed
                w -= move
                if plan.path:
                    path[j] += slope * move
        return Learned(held, total, path)

    def logits(self, weights: Arrays, images: np.ndarray) -> np.ndarray:
        """The model's logits, f32 [n, 10], for images uint8 [n, 28, 28]."""
        return self._looked(weights, images, "logits")

    def features(self, weights: Arrays, images: np.ndarray) -> np.ndarray:
        """What the layers before the last two see, f32 [n, 1600] for the CNN, for images uint8 [n, 28, 28]."""
        return self._looked(weights, images, "features")

    def fisher(self, weights: Arrays, images: np.ndarray, labels: np.ndarray) -> Arrays:
        """Mean over examples of the squared gradient of each one's own log-likelihood; one example at a time."""
        total = [np.zeros(shape) for shape in self.shapes]
        alone = np.zeros(self.batch, np.float32)
        alone[0] = 1
        for image, label in zip(images, labels, strict=True):
            given = self._blank(image[None], np.array([label])) | {"hard": alone}
            outputs = self._step(**_named(weights), **given)
            for sum_, i in zip(total, range(8), strict=True):
                sum_ += np.square(outputs[f"g{i}"], dtype=np.float64)
        return [(one / max(1, len(images))).astype(np.float32) for one in total]

    def _slopes(self, weights: Arrays, plan: Plan, rows: np.ndarray, dropout_mask: np.ndarray) -> tuple[Arrays, Sums]:
        """The gradient of a batch's loss, and what it saw."""
        n, labels = len(rows), plan.labels[rows]
        given = self._blank(plan.images[rows], labels)
        for name, held in (("shift", plan.shift), ("soft", plan.soft), ("teacher", plan.logits), ("hard", plan.hard)):
            given[name][:n] = held[rows]
        given["soft"] /= np.float32(n)  # the step sums; the plan's loss is a mean
        given["hard"] /= np.float32(n)
        given["dropout_mask"][:n] = dropout_mask
        outputs = self._step(**_named(weights), **given)
        right = int((outputs["logits"][:n].argmax(1) == labels).sum())
        return [outputs[f"g{i}"] for i in range(8)], Sums(float(outputs["cross"][:n].sum()), right, n)

    def _kept(self, weights: Arrays, plan: Plan, rows: np.ndarray) -> Arrays:
        """The gradient of the mean cross-entropy of rows to guard."""
        given = self._blank(plan.images[rows], plan.labels[rows])
        given["hard"][: len(rows)] = 1 / np.float32(len(rows))
        outputs = self._step(**_named(weights), **given)
        return [outputs[f"g{i}"] for i in range(8)]

    def _blank(self, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """A batch of these images, in which nothing counts yet. Raises ValueError if they are more than a batch."""
        n = len(images)
        if n > self.batch:
            raise ValueError(f"{n} examples a step are more than the {self.batch} of this training step's file")
        table = (self.batch, CLASSES)
        given: dict[str, np.ndarray] = {
            name: np.zeros(table, np.float32) for name in ("labels", "shift", "soft", "teacher")
        }
        given["labels"][np.arange(n), labels] = 1
        given["images"] = np.zeros((self.batch, *images.shape[1:]), np.float32)
        given["images"][:n] = images.astype(np.float32) / 255
        given["hard"] = np.zeros(self.batch, np.float32)
        given["dropout_mask"] = np.ones((self.batch, self.hidden), np.float32)
        return given

    def _looked(self, weights: Arrays, images: np.ndarray, what: str) -> np.ndarray:
        pages = [page[what][:n] for page, n in self._pages(weights, images)]
        width = CLASSES if what == "logits" else self.shapes[4][0]
        return np.concatenate(pages) if pages else np.zeros((0, width), np.float32)

    def _pages(self, weights: Arrays, images: np.ndarray) -> Iterator[tuple[dict[str, np.ndarray], int]]:
        for i in range(0, len(images), PAGE):
            mine = images[i : i + PAGE].astype(np.float32) / 255
            page = np.zeros((PAGE, *images.shape[1:]), np.float32)
            page[: len(mine)] = mine
            yield self._look(images=page, **_named(weights)), len(mine)


@lru_cache(maxsize=2)
def engine(step: bytes, wanted: str) -> Engine:
    """The engine of this file, loaded once a process. Raises ValueError if it is not the one that is wanted."""
    if (found := digest(step)) != wanted:
        raise ValueError(f"the training step's file has SHA-256 {found[:16]}…, not {wanted[:16]}…")
    return Engine(step)


def _named(weights: Arrays) -> dict[str, np.ndarray]:
    return {f"w{i}": w for i, w in enumerate(weights)}


def _bent(slopes: Arrays, kept: Arrays) -> Arrays:
    """A-GEM's projection, as in core/engines/tensorflow.py."""
    dot, size = (float(sum(np.sum(g * k) for g, k in zip(one, kept, strict=True))) for one in (slopes, kept))
    share = np.float32(dot / max(size, 1e-12) if dot < 0 else 0.0)
    return [g - share * k for g, k in zip(slopes, kept, strict=True)]


def _clipped(slopes: Arrays, clip: float) -> Arrays:
    """All of them shortened alike, if together they are longer than `clip`."""
    length = float(np.sqrt(sum(np.sum(np.square(g, dtype=np.float64)) for g in slopes)))
    return [g * np.float32(clip / length) for g in slopes] if length > clip else slopes
