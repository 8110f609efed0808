"""Digits that a person corrected where they were read. They wait in a folder until its owner has looked at them.

    DIR/pending/<digest>.png, .json    the picture; what it is said to be, how it was read, its strokes
    DIR/<label>/<digest>.png           approved: what a node's `--data` is, and learns from
    DIR/strokes/<label>-<digest>.json  the strokes of an approved one

Whoever can reach a page can send corrections, so nothing here is believed before it is checked, and no more than so many wait.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from core.config.parse import excerpt
from core.data.folder import PENDING, STROKES, digest, named_anew
from core.data.pictures import picture
from core.disk import placed
from core.images import SIDE
from core.safe_json import read_object

MOST = 1000  # that may wait in a folder
CLAIM = 60.0  # seconds that an approval may take; what was claimed before that, nobody is approving any more
LONGEST = 400_000  # bytes of one, as JSON
POINTS = 10_000  # of all strokes of one drawing
# x, y: shares of the field's side; t: milliseconds from the first point; pressure 0 … 1
Point = tuple[float, float, float, float]


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
        """A digest of its image, so the same image again takes the first one's place."""
        return digest(self.image)


def correction(body: Mapping[str, Any], classes: int) -> Correction:
    """The correction that a page sent: the fields of `Correction`, the image as 784 bytes' values.

    Raises ValueError, saying what is wrong.
    """
    if unknown := sorted(set(body) ^ {field.name for field in fields(Correction)}):
        raise ValueError(
            f"a correction has {', '.join(field.name for field in fields(Correction))}; not so: {unknown[0][:40]!r}"
        )
    pixels = body["image"]
    if not isinstance(pixels, list) or len(pixels) != SIDE * SIDE or not all(_whole(value, 255) for value in pixels):
        raise ValueError(f"image should be {SIDE * SIDE} whole numbers 0 … 255, row by row, 0 = paper")
    return _checked(np.array(pixels, np.uint8).reshape(SIDE, SIDE), body, classes)


def _checked(image: np.ndarray, values: Mapping[str, Any], classes: int) -> Correction:
    if not image.any():
        raise ValueError("image holds no ink")
    for key in ("label", "read"):
        if not _whole(values[key], classes - 1):
            raise ValueError(f"{key} = {excerpt(values[key])} should be a class's number, 0 … {classes - 1}")
    if not _whole(values["version"], 10**9):
        raise ValueError(f"version = {excerpt(values['version'])} should be a version's number")
    if not _number(values["confidence"], 0, 1):
        raise ValueError(f"confidence = {excerpt(values['confidence'])} should be 0 … 1")
    return Correction(
        image,
        values["label"],
        values["read"],
        float(values["confidence"]),
        values["version"],
        _strokes(values["strokes"]),
    )


def _strokes(strokes: Any) -> tuple[tuple[Point, ...], ...]:
    if not isinstance(strokes, list) or not all(isinstance(stroke, list) and stroke for stroke in strokes):
        raise ValueError("strokes should be lists of points")
    if sum(map(len, strokes)) > POINTS:
        raise ValueError(f"strokes have {sum(map(len, strokes)):,} points, at most {POINTS:,} are kept")
    return tuple(tuple(_point(point) for point in stroke) for stroke in strokes)


def _point(values: Any) -> Point:
    if not isinstance(values, list) or len(values) != 4 or not all(map(_number, values, (0, 0, 0, 0), (1, 1, 1e9, 1))):
        raise ValueError(f"{str(values)[:60]} is no point [x, y, t, pressure]: 0 … 1, 0 … 1, milliseconds, 0 … 1")
    x, y, t, pressure = map(float, values)
    return x, y, t, pressure


def _whole(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _number(value: Any, least: float, most: float) -> bool:
    return type(value) in (int, float) and least <= value <= most  # NaN is not


def put(folder: Path, one: Correction) -> Path:
    """Let a correction wait in a folder; returns its picture's file. Raises Full if as many as may wait do already."""
    file = folder / PENDING / f"{one.name}.png"
    if not file.exists() and len(waiting(folder)) >= MOST:
        raise Full(f"{MOST:,} corrections wait already for their owner: python -m clients.reader --approve DIR")
    metadata = asdict(one)
    del metadata["image"]
    with placed(file.with_suffix(".json")) as metadata_file:  # first: a picture without it would be nobody's
        metadata_file.write(json.dumps(metadata).encode())
    try:
        with placed(file) as picture_file:
            picture_file.write(_png(one.image))
    except OSError:
        if not file.exists():
            file.with_suffix(".json").unlink(missing_ok=True)
        raise
    return file


def waiting(folder: Path) -> list[Path]:
    """The pictures that wait, the oldest first."""
    times = dict[Path, int]()
    for file in (folder / PENDING).glob("*.png"):
        with suppress(FileNotFoundError):  # somebody decided on it just now
            times[file] = file.stat().st_mtime_ns
    return sorted(times, key=lambda file: (times[file], file.name))


def resumed(folder: Path) -> None:
    """Let what was being approved when the power went wait again; not what somebody may be approving now."""
    for claimed in (folder / PENDING).glob("*.approved"):
        with suppress(FileNotFoundError):  # it ended just now
            if time.time() - claimed.stat().st_ctime > CLAIM and claimed.with_suffix(".png").exists():
                claimed.rename(claimed.with_suffix(".json"))


def read(file: Path, classes: int) -> Correction:
    """The waiting correction with this picture file. Raises ValueError, naming the file, if it makes no sense."""
    metadata_path = file.with_suffix(".json")
    try:
        metadata = read_object(metadata_path, *(field.name for field in fields(Correction) if field.name != "image"))
    except FileNotFoundError:
        raise ValueError(f"{file} has no {metadata_path.name} beside it") from None
    try:
        return _checked(picture(file, SIDE), metadata, classes)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def approve(file: Path, one: Correction, label: int) -> Path:
    """Approve a correction as this digit: from now on its picture is training data, as this digit only. Returns where the picture
    is now. Raises ValueError if somebody else decided on it meanwhile."""
    folder = file.parents[1]
    claimed = file.with_suffix(".approved")
    try:
        file.with_suffix(".json").rename(claimed)  # which only one of two people can
    except FileNotFoundError:
        raise ValueError(f"{file} does not wait any more: somebody decided on it meanwhile") from None
    approved = folder / str(label) / file.name
    try:
        if one.strokes:
            with placed(folder / STROKES / f"{label}-{file.stem}.json") as strokes_file:
                strokes_file.write(json.dumps(one.strokes).encode())
        with placed(approved) as picture_file:
            picture_file.write(_png(one.image))  # as it was checked, not as it came
        named_anew(approved)
    except BaseException:  # Ctrl-C too
        claimed.rename(file.with_suffix(".json"))  # it waits on; to approve it again does all of this again
        raise
    claimed.unlink(missing_ok=True)
    refuse(file)
    return approved


def refuse(file: Path) -> None:
    """Delete a waiting correction: it becomes nobody's training data."""
    file.unlink(missing_ok=True)
    file.with_suffix(".json").unlink(missing_ok=True)


def _png(image: np.ndarray) -> bytes:
    import cv2

    octets: bytes = cv2.imencode(".png", image)[1].tobytes()
    return octets
