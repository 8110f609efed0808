"""Pictures for the reader, grey: PNG and JPEG files, with limits that are looked at before anything is decoded; a camera's."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.data.pictures import SIGNATURE, png, sides
from core.disk import contents

LARGEST = 60_000_000  # bytes of a file
PIXELS = 64_000_000  # of a picture
JPEG = b"\xff\xd8"
# JPEG's markers that tell a size.
FRAMES = [*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)]
REDUCED = {8: cv2.IMREAD_REDUCED_GRAYSCALE_8, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2}


def photograph(file: Path, longest: int = PIXELS) -> tuple[np.ndarray, int]:
    """A file as grey uint8 [h, w], and how many times smaller it was read: a JPEG at its least size not below `longest`.

    Raises ValueError, naming the file, if it is not there, no PNG or JPEG, damaged, or too large.
    """
    try:
        return decoded(contents(file, LARGEST), longest)
    except (OSError, ValueError, MemoryError, cv2.error) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(f"{file} is not a readable picture: {why}") from None


def decoded(octets: bytes, longest: int) -> tuple[np.ndarray, int]:
    """The same of a file's bytes."""
    is_png = octets[:8] == SIGNATURE
    if not is_png and octets[:2] != JPEG:
        raise ValueError("it is neither PNG nor JPEG")
    width, height = sides(octets) if is_png else _sides(octets)
    if not 0 < width * height <= PIXELS:
        raise ValueError(f"it is {width:,} × {height:,} pixels, at most {PIXELS / 1e6:.0f} million are read")
    if is_png:
        return png(octets), 1
    times = next((n for n in REDUCED if max(width, height) >= n * longest), 1)
    picture = cv2.imdecode(np.frombuffer(octets, np.uint8), REDUCED.get(times, cv2.IMREAD_GRAYSCALE))
    if picture is None:
        raise ValueError("it is damaged")
    return picture, times


def _sides(octets: bytes) -> tuple[int, int]:
    """Width and height, as a JPEG file's header tells. Raises ValueError if it does not."""
    for marker, offset in _markers(octets):
        if marker in FRAMES and offset + 9 <= len(octets):
            height, width = struct.unpack(">HH", octets[offset + 5 : offset + 9])
            return width, height
    raise ValueError("it is damaged")


def _markers(octets: bytes) -> Iterator[tuple[int, int]]:
    """JPEG's markers and where they stand, up to the picture's own data."""
    offset = 2
    while offset + 4 <= len(octets) and octets[offset] == 0xFF:
        marker = octets[offset + 1]
        if marker == 0xFF:  # any number of these may stand before a marker
            offset += 1
            continue
        yield marker, offset
        if marker == 0xDA:
            return
        offset += 2 + struct.unpack(">H", octets[offset + 2 : offset + 4])[0]


def camera(number: int) -> Iterator[np.ndarray]:
    """A camera's frames, grey uint8 [h, w], until the caller has enough. A Pi's own camera by Picamera2, others by OpenCV.

    Raises ValueError if there is none.
    """
    try:
        from picamera2 import Picamera2
    except ImportError:
        yield from _frames(number)
        return
    try:
        device: Any = Picamera2(number)
        device.configure(device.create_still_configuration({"size": (1640, 1232)}))
        device.start()
    except (IndexError, RuntimeError) as error:  # none is plugged in, or none of this number
        there = "`rpicam-hello --list-cameras` names those that are there"
        raise ValueError(f"camera {number} cannot be opened: {error}; {there}") from None
    try:
        while True:
            yield cv2.cvtColor(device.capture_array(), cv2.COLOR_RGB2GRAY)
    finally:
        device.stop()


def _frames(number: int) -> Iterator[np.ndarray]:
    device = cv2.VideoCapture(number)
    if not device.isOpened():
        raise ValueError(
            f"camera {number} cannot be opened. A Raspberry Pi's own camera needs Picamera2 (`sudo apt install "
            f"python3-picamera2`, and an environment made with --system-site-packages), others a /dev/video{number} that this user "
            f"may read"
        )
    try:
        while (frame := device.read())[0]:
            yield cv2.cvtColor(frame[1], cv2.COLOR_BGR2GRAY)
    finally:
        device.release()
    raise ValueError(f"camera {number} gives no picture")
