"""The one reader of pictures: PNG files of any kind as grey images, with limits that are looked at before anything is decoded."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from core.disk import contents

LARGEST = 20_000_000  # bytes of a file
WIDEST = 4096  # pixels a side
SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = 33  # bytes of the signature and the first chunk
ORIENTED = b"eXIf"  # the chunk that may say how a picture is to be turned
MOVING = {b"acTL", b"fcTL", b"fdAT"}  # chunks of an animation, which have sizes of their own
CONTRAST = 128  # between an ink and its paper, at least, if a picture shows both


def picture(file: Path, side: int) -> np.ndarray:
    """A PNG file as uint8 [side, side], as light as it is drawn. Raises ValueError, naming the file, if it is none.

    Grey or colour, of 1 to 16 bits, with a palette or transparency (see `composed`).
    """
    import cv2

    try:
        octets = contents(file, LARGEST)
        width, height = sides(octets)
        if not 0 < width <= WIDEST or not 0 < height <= WIDEST:
            raise ValueError(f"it is {width:,} × {height:,} pixels, at most {WIDEST} × {WIDEST} are read")
        grey = png(octets)
    except (OSError, ValueError, MemoryError, cv2.error) as error:
        name = "/".join(file.parts[-3:])
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(f"{name} is not a readable PNG: {why}") from None
    return grey if grey.shape == (side, side) else cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)


def sides(octets: bytes) -> tuple[int, int]:
    """Width and height, as a PNG file's header tells. Raises ValueError if it is none."""
    if octets[:8] != SIGNATURE or octets[12:16] != b"IHDR" or len(octets) < HEADER:
        raise ValueError("it does not begin as one")
    width, height = struct.unpack(">II", octets[16:24])
    return width, height


def png(octets: bytes) -> np.ndarray:
    """A PNG file's bytes as uint8 [h, w], as light as it is drawn, turned as it says, transparency laid on paper.

    Its `sides` decide how much memory that takes: look at them first.

    Raises ValueError or one of OpenCV's errors if it is damaged.
    """
    import cv2

    chunks = _checked(octets)
    packed = np.frombuffer(octets, np.uint8)
    grey, full = (cv2.imdecode(packed, how) for how in (cv2.IMREAD_GRAYSCALE, cv2.IMREAD_UNCHANGED))
    if grey is None or full is None:
        raise ValueError("it is damaged")
    if full.shape[2:] != (4,):
        return grey
    alpha = np.asarray(full[..., 3])
    if exif := chunks.get(ORIENTED):  # OpenCV turns the grey values as it says, but not the transparency
        alone = cv2.imencode(".png", alpha)[1].tobytes()
        how = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
        alpha = np.asarray(cv2.imdecode(np.frombuffer(alone[:HEADER] + exif + alone[HEADER:], np.uint8), how))
    if grey.shape != alpha.shape:
        raise ValueError("it is damaged")
    return composed(grey, alpha.astype(np.float32) / (255 if alpha.dtype == np.uint8 else 65535))


def _checked(octets: bytes) -> dict[bytes, bytes]:
    """The last chunk of each kind, if they make one PNG that stands still: another's header would tell OpenCV of other sides."""
    chunks = list(_chunks(octets))
    kinds = Counter(kind for kind, _ in chunks)
    if kinds[b"IHDR"] > 1 or kinds[b"IEND"] != 1 or set(kinds) & MOVING:
        raise ValueError("it is damaged or moves: a picture has one beginning, one end, and stands still")
    if kinds[ORIENTED] > 1:
        raise ValueError("it says twice how it is turned")
    return dict(chunks)


def _chunks(octets: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and bytes (length, kind, content, checksum) of each chunk, up to the end. Raises ValueError if one is longer than the
    file."""
    offset = len(SIGNATURE)
    while offset + 12 <= len(octets):
        size, kind = struct.unpack_from(">I4s", octets, offset)
        start, offset = offset, offset + 12 + size
        if offset > len(octets):
            raise ValueError(f"it is damaged: {size:,} bytes should follow, and do not")
        yield kind, octets[start:offset]
        if kind == b"IEND":
            return


def composed(grey: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """A picture laid on paper. grey: uint8 [h, w]; alpha: float32 [h, w], 0 (transparent) … 1.

    What is transparent is paper. If most of it is opaque and shows dark and light, its paper is drawn, and has the colour of
    most of it. Else only the ink is drawn: dark ink is laid on white paper, light ink on black.
    """
    drawn = grey[alpha >= 0.5]
    if not len(drawn):
        return np.zeros_like(grey)
    if 2 * len(drawn) > grey.size and int(drawn.max()) - int(drawn.min()) >= CONTRAST:
        paper = float(np.median(drawn))
    else:
        paper = 255.0 if drawn.mean() < 128 else 0.0
    return np.rint(alpha * grey + (1 - alpha) * paper).astype(np.uint8)
