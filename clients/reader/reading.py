"""Read the digits in a picture with an exported model, and say which readings are not to be relied on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from clients.reader.pen import thickened
from clients.reader.segment import find
from core.data.folder import UNSURE, digest, named_anew
from core.data.prepare import prepared
from core.disk import placed
from core.images import SIDE
from core.predict import about, floats, load
from core.predict import threshold as stated


@dataclass(frozen=True)
class Digit:
    """A digit in a picture, as it was read."""

    box: tuple[int, int, int, int]  # left, top, width, height
    label: str
    confidence: float  # the model's probability, 0 … 1
    sure: bool  # is it at least the threshold?
    image: np.ndarray  # uint8 [28, 28], as the model saw it


class Reader:
    """A model that reads pictures. Not for several threads at once."""

    def __init__(self, model: Path, threshold: float | None = None) -> None:
        """model: an exported file; threshold: the least confidence to be relied on, or None for what the file states.

        Raises ValueError, naming the file, if it cannot be loaded.
        """
        try:
            self.predict, metadata = load(model), about(model)
            self.predict(floats(np.zeros((1, SIDE, SIDE), np.uint8)))  # somebody else's model may want something else
        except Exception as error:  # every runtime has its own errors for a file that it cannot read
            raise ValueError(f"{model} cannot be loaded: {error}") from None
        self.labels = metadata["labels"].split(",") if metadata.get("labels") else None
        self.threshold = stated(metadata) if threshold is None else threshold

    def read(self, picture: np.ndarray, times: int = 1) -> list[Digit]:
        """The digits in a picture, grey uint8 [h, w], line by line. times: how many times smaller than the original it is."""
        cutouts = find(picture)
        if not cutouts:
            return []
        images = np.stack([prepared(thickened(cutout.ink)) for cutout in cutouts])
        probabilities = self.predict(floats(images))
        digits = []
        for cutout, image, row in zip(cutouts, images, probabilities, strict=True):
            best, share = int(row.argmax()), float(row.max())
            label = self.labels[best] if self.labels else str(best)
            left, top, width, height = (times * n for n in cutout.box)
            digits.append(Digit((left, top, width, height), label, share, share >= self.threshold, image))
        return digits


def keep(digits: list[Digit], folder: Path, labels: list[str]) -> list[Path]:
    """Write digits as folder/<label>/*.png, which is what a node's `--data` is; returns the files.

    labels: one for all, or one for each; none: those that are unsure go to folder/unsure, for a person to move. A file is named
    by its content, so nothing is kept twice, and what is kept again under another label has that one only. Raises ValueError if
    there are neither one nor as many labels as digits.
    """
    if len(labels) not in (0, 1, len(digits)):
        raise ValueError(
            f"--label names {len(labels)} digits, but {len(digits)} were found: give one for all, or one for each"
        )
    each_label = labels * len(digits) if len(labels) == 1 else labels
    pairs = (
        list(zip(digits, each_label, strict=True)) if each_label else [(one, UNSURE) for one in digits if not one.sure]
    )
    files = []
    for digit, label in pairs:
        name = digest(digit.image)
        if label == UNSURE and any(one.parent.name.isdecimal() for one in folder.glob(f"*/{name}.png")):
            continue  # somebody has named it already
        files.append(folder / label / f"{name}.png")
        with placed(files[-1]) as file:  # half a file would count as a digit that has its label
            file.write(cv2.imencode(".png", digit.image)[1].tobytes())
        if label != UNSURE:
            named_anew(files[-1])
    return files


def drawn(picture: np.ndarray, digits: list[Digit]) -> np.ndarray:
    """The picture with each digit's box and reading, uint8 [h, w, 3]: blue, or orange where it is unsure."""
    canvas = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    size = max(picture.shape) / 1000
    for digit in digits:
        left, top, width, height = digit.box
        colour = (178, 114, 0) if digit.sure else (0, 94, 213)
        cv2.rectangle(canvas, (left, top), (left + width, top + height), colour, max(1, round(2 * size)))
        words = f"{digit.label}{'' if digit.sure else '?'} {100 * digit.confidence:.0f}"
        cv2.putText(
            canvas, words, (left, max(12, top - round(6 * size))), cv2.FONT_HERSHEY_SIMPLEX, 0.8 * size, colour,
            max(1, round(2 * size)), cv2.LINE_AA,
        )  # fmt: skip
    return canvas
