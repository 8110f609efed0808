"""A model on its way out, and what its files say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from core.arrays import Arrays, digest
from core.config.scenario import Model
from core.models import ModelSpec
from core.models.keras import keras_model

LONG_AGO = (1980, 1, 1, 0, 0, 0)  # what a zip archive calls the beginning of time: the same bytes whenever it is made


@dataclass(frozen=True)
class Outgoing:
    """A model, and what an exporter may need beside it."""

    spec: ModelSpec
    weights: Arrays
    images: np.ndarray  # uint8 [n, rows, columns]: training images, by which ranges are measured
    labels: tuple[str, ...]  # what its classes are called
    options: Model = field(default_factory=Model)
    origin: Mapping[str, str] = field(default_factory=dict)  # where it comes from: run, version
    threshold: float | None = None  # the least probability to be relied on (server.export.check.threshold)

    @cached_property
    def keras(self) -> Any:
        """The model of Keras, logits out."""
        return keras_model(self.spec, self.weights, self.options)

    @property
    def lines(self) -> str:
        """Its labels as labels.txt has them, a line a class."""
        return "".join(f"{label}\n" for label in self.labels)

    @property
    def about(self) -> dict[str, str]:
        """What its files say: labels, what should go in and comes out, origin."""
        rows, columns = self.spec.image
        said = {
            "labels": ",".join(self.labels),
            "input.layout": f"image: NHWC, n x {rows} x {columns} x 1",
            "input.range": "float32 0..1 (a byte divided by 255); a file that takes uint8 takes the byte itself",
            "input.polarity": "ink=1 on paper=0",
            "output": f"probabilities: n x {self.spec.classes}, float32",
            "origin.weights_sha256": digest(self.weights),
        }
        if self.threshold is not None:
            said["confidence.threshold"] = f"{self.threshold:.4f}"
            said["confidence.meaning"] = (
                "of validation images read with at least this probability, 999 of 1,000 are read right"
            )
        return said | {f"origin.{key}": value for key, value in self.origin.items()}
