"""Digits that a person corrected where they were read. They wait in a folder until its owner has looked at them.

    DIR/pending/<digest>.png, .json    the picture; what it is said to be, how it was read, its strokes
    DIR/<label>/<digest>.png           approved: what a node's `--data` is, and learns from
    DIR/strokes/<label>-<digest>.json  the strokes of an approved one

Whoever can reach a page can send corrections, so nothing here is believed before it is checked, and no more than so many wait.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from core.data.folder import PENDING, STROKES
from core.data.pictures import picture
from core.data.spec import SIDE
from core.disk import placed
from core.safe_json import read_object

MOST = 1000  # that may wait in a folder
LONGEST = 400_000  # bytes of one, as JSON
POINTS = 10_000  # of all strokes of one drawing
Point = tuple[
    float, float, float, float
]  # x, y: shares of the field's side; t: milliseconds from the first point; pressure 0 … 1


class Full(Exception):
    """So many corrections wait that no more are taken."""


@dataclass(frozen=True)
class Correction:
    """One digit, and what a person says that it is."""

    image: np.ndarray  # uint8 [28, 28], 0 = paper, as the model saw it
    label: int  # the class, says the person
    read: int  # the class, said the model
    confidence: float  # the model's, 0 … 1
    version: int  # of the model
    strokes: tuple[tuple[Point, ...], ...] = ()

    @property
    def name(self) -> str:
        """By its image: the same one again takes the first one's place."""
        return hashlib.sha256(self.image.tobytes()).hexdigest()[:16]


def correction(said: Mapping[str, Any], classes: int) -> Correction:
    """Of what a page sends: the fields of `Correction`, the image as 784 bytes' values. Raises ValueError, saying what is wrong."""
    if unknown := sorted(set(said) ^ {field.name for field in fields(Correction)}):
        raise ValueError(
            f"a correction has {', '.join(field.name for field in fields(Correction))}; not so: {unknown[0][:40]!r}"
        )
    pixels = said["image"]
    if not isinstance(pixels, list) or len(pixels) != SIDE * SIDE or not all(_whole(value, 255) for value in pixels):
        raise ValueError(f"image should be {SIDE * SIDE} whole numbers 0 … 255, row by row, 0 = paper")
    return _checked(np.array(pixels, np.uint8).reshape(SIDE, SIDE), said, classes)


def _checked(image: np.ndarray, said: Mapping[str, Any], classes: int) -> Correction:
    if not image.any():
        raise ValueError("image holds no ink")
    for key in ("label", "read"):
        if not _whole(said[key], classes - 1):
            raise ValueError(f"{key} = {str(said[key])[:40]} should be a class's number, 0 … {classes - 1}")
    if not _whole(said["version"], 10**9):
        raise ValueError(f"version = {str(said['version'])[:40]} should be a version's number")
    if not _number(said["confidence"], 0, 1):
        raise ValueError(f"confidence = {str(said['confidence'])[:40]} should be 0 … 1")
    return Correction(
        image, said["label"], said["read"], float(said["confidence"]), said["version"], _strokes(said["strokes"])
    )


def _strokes(said: Any) -> tuple[tuple[Point, ...], ...]:
    if not isinstance(said, list) or not all(isinstance(stroke, list) and stroke for stroke in said):
        raise ValueError("strokes should be lists of points")
    if sum(map(len, said)) > POINTS:
        raise ValueError(f"strokes have {sum(map(len, said)):,} points, at most {POINTS:,} are kept")
    return tuple(tuple(_point(point) for point in stroke) for stroke in said)


def _point(said: Any) -> Point:
    if not isinstance(said, list) or len(said) != 4 or not all(map(_number, said, (0, 0, 0, 0), (1, 1, 1e9, 1))):
        raise ValueError(f"{str(said)[:60]} is no point [x, y, t, pressure]: 0 … 1, 0 … 1, milliseconds, 0 … 1")
    x, y, t, pressure = map(float, said)
    return x, y, t, pressure


def _whole(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _number(value: Any, least: float, most: float) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and least <= value <= most


def put(folder: Path, one: Correction) -> Path:
    """Let it wait in a folder; its picture's file. Raises Full if as many as may wait do already."""
    file = folder / PENDING / f"{one.name}.png"
    if not file.exists() and len(waiting(folder)) >= MOST:
        raise Full(f"{MOST:,} corrections wait already for their owner: python -m clients.reader --approve DIR")
    said = asdict(one)
    del said["image"]
    with placed(file.with_suffix(".json")) as beside:  # first: a picture without it would be nobody's
        beside.write(json.dumps(said).encode())
    with placed(file) as drawn:
        drawn.write(_png(one.image))
    return file


def waiting(folder: Path) -> list[Path]:
    """The pictures that wait, the oldest first."""
    return sorted((folder / PENDING).glob("*.png"), key=lambda file: (file.stat().st_mtime_ns, file.name))


def read(file: Path, classes: int) -> Correction:
    """One that waits, by its picture's file. Raises ValueError, naming the file, if it makes no sense."""
    beside = file.with_suffix(".json")
    try:
        said = read_object(beside, *(field.name for field in fields(Correction) if field.name != "image"))
    except FileNotFoundError:
        raise ValueError(f"{file} has no {beside.name} beside it") from None
    try:
        return _checked(picture(file, SIDE), said, classes)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def approve(file: Path, one: Correction, label: int) -> Path:
    """It is this digit: from now on its picture is training data. Returns where that is now."""
    folder = file.parents[1]
    if one.strokes:
        with placed(folder / STROKES / f"{label}-{file.stem}.json") as beside:
            beside.write(json.dumps(one.strokes).encode())
    approved = folder / str(label) / file.name
    with placed(approved) as drawn:
        drawn.write(_png(one.image))  # as it was checked, not as it came
    refuse(file)
    return approved


def refuse(file: Path) -> None:
    """Nobody's training data: it is taken away."""
    file.unlink(missing_ok=True)
    file.with_suffix(".json").unlink(missing_ok=True)


def _png(image: np.ndarray) -> bytes:
    import cv2

    octets: bytes = cv2.imencode(".png", image)[1].tobytes()
    return octets
