"""A model on its way out, and what its files say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import floor
from typing import Any

import numpy as np

from core.arrays import Arrays, digest
from core.config.scenario import Model
from core.data import Examples
from core.models import ModelSpec
from core.models.keras import keras_model
from core.predict import Predictor, floats
from server.export import check
from server.export.check import Reliable

LONG_AGO = (1980, 1, 1, 0, 0, 0)  # what a zip archive calls the beginning of time: the same bytes whenever it is made


@dataclass(frozen=True)
class Outgoing:
    """A model, and what an exporter may need beside it."""

    spec: ModelSpec
    weights: Arrays
    images: np.ndarray  # uint8 [n, rows, columns]: training images, by whose first ranges are measured
    labels: tuple[str, ...]  # what its classes are called
    options: Model = field(default_factory=Model)
    origin: Mapping[str, str] = field(default_factory=dict)  # where it comes from: run, version
    reliable: Reliable | None = None  # from which probability on its readings are, in float32
    validation: Examples | None = None  # by which files that round measure this of themselves

    @cached_property
    def folded(self) -> tuple[ModelSpec, Arrays]:
        """The model as it leaves, and its arrays: without batch norms, which are folded into what comes next."""
        return self.spec.folded(self.weights)

    @cached_property
    def keras(self) -> Any:
        """The model of Keras, logits out."""
        return keras_model(self.spec, self.weights, self.options)

    def judged(self, predict: Predictor) -> Outgoing:
        """The same model in a file that rounds: `reliable` by its own probabilities, which are not Keras'."""
        if self.reliable is None or self.validation is None:
            return self
        probabilities = check.ask(predict, floats(self.validation.x))
        return replace(self, reliable=check.reliable(probabilities, self.validation.y))

    @property
    def lines(self) -> str:
        """Its labels as labels.txt has them, a line a class."""
        return "".join(f"{label}\n" for label in self.labels)

    @property
    def about(self) -> dict[str, str]:
        """What its files say: labels, what should go in and comes out, origin."""
        rows, columns = self.spec.image
        metadata = {
            "labels": ",".join(self.labels),
            "input.layout": f"image: NHWC, n x {rows} x {columns} x 1",
            "input.range": "float32 0..1 (a byte divided by 255); a file that takes uint8 takes the byte itself",
            "input.polarity": "ink=1 on paper=0",
            "output": f"probabilities: n x {self.spec.classes}, float32",
            "origin.weights_sha256": digest(self.weights),
        }
        if self.reliable is not None:
            least, images, right = self.reliable
            metadata["confidence.threshold"] = f"{floor(1e6 * least) / 1e6:.6f}"  # not above what a file can say
            metadata["confidence.meaning"] = (
                f"of {images:,} validation images read with at least this probability, {right:,} are read right"
            )
        return metadata | {f"origin.{key}": value for key, value in self.origin.items()}
