"""Pictures of every kind are read as they look; whatever is none is one error that names it, before anything is decoded."""

from __future__ import annotations

import os
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.data.pictures import picture

STROKE = np.zeros((28, 28), np.float32)  # a digit's ink, 0 … 1
STROKE[6:22, 12:16] = 1
STROKE[5], STROKE[22] = STROKE[6] / 2, STROKE[6] / 2  # soft ends
OPAQUE = np.ones_like(STROKE)


def drawn(path: Path, grey: np.ndarray, alpha: np.ndarray | None = None, kind: type = np.uint8) -> Path:
    """A PNG of these, 0 … 1: grey alone, or a colour picture with transparency."""
    planes = [grey] if alpha is None else [grey, grey, grey, alpha]
    scaled = [np.rint(plane * np.iinfo(kind).max).astype(kind) for plane in planes]
    assert cv2.imwrite(str(path), scaled[0] if alpha is None else cv2.merge(scaled))
    return path


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colours: int, rows: bytes, more: bytes = b"") -> bytes:
    """A PNG by hand, for the kinds that OpenCV does not write."""
    head = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + body + chunk(b"IEND", b"")


LOOKS = {
    "8 bits": (STROKE, None, np.uint8, STROKE),
    "16 bits": (STROKE, None, np.uint16, STROKE),
    "black on nothing": (0 * STROKE, STROKE, np.uint8, 1 - STROKE),
    "black on nothing, 16 bits": (0 * STROKE, STROKE, np.uint16, 1 - STROKE),
    "white on nothing": (OPAQUE, STROKE, np.uint8, STROKE),
    "opaque, dark ink": (1 - STROKE, OPAQUE, np.uint8, 1 - STROKE),
    "opaque, light ink": (STROKE, OPAQUE, np.uint8, STROKE),
    "nothing at all": (OPAQUE, 0 * STROKE, np.uint8, 0 * STROKE),
}


@pytest.mark.parametrize("grey, alpha, kind, looks", LOOKS.values(), ids=LOOKS)
def test_a_picture_is_read_as_it_looks(
    grey: np.ndarray, alpha: np.ndarray | None, kind: type, looks: np.ndarray, tmp_path: Path
) -> None:
    seen = picture(drawn(tmp_path / "x.png", grey, alpha, kind), 28)
    assert seen.dtype == np.uint8 and np.abs(seen.astype(float) - 255 * looks).max() <= 1


def exif(orientation: int) -> bytes:
    """A chunk that says only how the picture is turned, 1 … 8."""
    content = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    return struct.pack(">I", len(content)) + b"eXIf" + content + struct.pack(">I", zlib.crc32(b"eXIf" + content))


@pytest.mark.parametrize("deep", [np.uint8, np.uint16])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_turned_whole(orientation: int, deep: type, tmp_path: Path) -> None:
    """Ink that lies in the transparency alone, as drawing programs write it, turns as a grey picture of it does."""
    alpha = np.zeros((20, 28), np.uint8)
    alpha[2:9, 3:24], alpha[9:18, 3:6] = 255, 128
    drawn = np.dstack([np.zeros((20, 28, 3), np.uint8), alpha]).astype(deep) * (257 if deep is np.uint16 else 1)
    images = []
    for name, each in (("ink in alpha", drawn), ("grey", 255 - alpha)):
        octets, file = cv2.imencode(".png", each)[1].tobytes(), tmp_path / f"{name}.png"
        file.write_bytes(octets[:33] + exif(orientation) + octets[33:])
        images.append(picture(file, 28))
    assert np.abs(images[0].astype(int) - images[1]).max() <= 1
    file.write_bytes(octets)
    assert np.array_equal(picture(file, 28), images[1]) == (orientation == 1)


def test_a_picture_that_says_twice_how_it_is_turned_is_refused(tmp_path: Path) -> None:
    octets, file = cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes(), tmp_path / "twice.png"
    file.write_bytes(octets[:33] + exif(3) + exif(6) + octets[33:])
    with pytest.raises(ValueError, match="says twice how it is turned"):
        picture(file, 28)


def test_transparent_corners_of_a_drawn_paper_are_paper(tmp_path: Path) -> None:
    alpha = OPAQUE.copy()
    alpha[:3, :3] = alpha[-3:, -3:] = 0
    seen = picture(drawn(tmp_path / "x.png", (1 - STROKE) * alpha, alpha), 28)
    assert np.array_equal(seen, picture(drawn(tmp_path / "y.png", 1 - STROKE), 28))


def test_ink_that_fills_its_picture_is_not_taken_for_paper(tmp_path: Path) -> None:
    alpha = OPAQUE.copy()
    alpha[:, :5] = 0
    assert np.array_equal(picture(drawn(tmp_path / "x.png", 0 * OPAQUE, alpha), 28) == 0, alpha == 1)


SMALL = {
    "1 bit": (png(8, 1, 1, 0, b"\0\x0f"), [0] * 4 + [255] * 4),
    "a palette": (png(2, 1, 8, 3, b"\0\0\1", chunk(b"PLTE", bytes([0, 0, 0, 255, 255, 255]))), [0, 255]),
    "a palette with transparency": (
        png(4, 1, 8, 3, b"\0\0\0\0\1", chunk(b"PLTE", bytes([0, 0, 0] * 2)) + chunk(b"tRNS", b"\0\xff")), [255, 255, 255, 0],
    ),
    "grey with transparency": (png(4, 1, 8, 4, b"\0" + bytes([9, 0, 9, 0, 9, 0, 0, 255])), [255, 255, 255, 0]),
}  # fmt: skip


@pytest.mark.parametrize("octets, row", SMALL.values(), ids=SMALL)
def test_kinds_of_png_that_are_seldom_are_read(octets: bytes, row: list[int], tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(octets)
    wide = np.repeat(np.array([row], np.float32), 28, axis=0)
    wanted = cv2.resize(wide[:1], (28, 28), interpolation=cv2.INTER_AREA)
    assert np.abs(picture(tmp_path / "x.png", 28) - wanted).max() <= 1


def written(octets: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(octets)


WHOLE = png(28, 28, 8, 0, bytes(29 * 28))
ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (written(b""), "does not begin as one"),
    "another kind": (written(b"\xff\xd8\xff\xe0" + bytes(99)), "does not begin as one"),
    "half of one": (written(WHOLE[:60]), "damaged"),
    "its header alone": (written(WHOLE[:33]), "damaged"),
    "30,000 pixels a side": (written(png(30_000, 30_000, 8, 0, b"")), "30,000 × 30,000 pixels, at most 4096 × 4096"),
    "a line of 5,000": (written(png(5_000, 1, 8, 0, bytes(5_001))), "5,000 × 1 pixels"),
    "a chunk of four gigabytes": (written(WHOLE[:33] + b"\xff" * 4 + WHOLE[37:]), "4,294,967,295 bytes should follow"),
    "two beginnings": (written(WHOLE[:33] + WHOLE[8:]), "one beginning"),
    "no end": (written(WHOLE[:-12]), "one end"),
    "an animation": (written(png(28, 28, 8, 0, bytes(29 * 28), chunk(b"acTL", bytes(8)))), "moves"),
    "no pixels": (written(png(0, 28, 8, 0, b"")), "0 × 28 pixels"),
    "too many bytes": (written(WHOLE + bytes(20_000_000)), "more than 20,000,000 bytes"),
    "a pipe": (os.mkfifo, "not a plain file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "not a plain file"),
    "a folder": (Path.mkdir, "directory"),
    "a dangling link": (lambda path: path.symlink_to("nowhere"), "No such file"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "symbolic links"),
}


@pytest.mark.parametrize("make, why", ODD.values(), ids=ODD)
def test_what_is_no_picture_is_one_error_that_names_it_at_once(
    make: Callable[[Path], object], why: str, tmp_path: Path
) -> None:
    (tmp_path / "digits" / "3").mkdir(parents=True)
    make(path := tmp_path / "digits" / "3" / "odd.png")
    tracemalloc.start()
    start = time.monotonic()
    try:
        with pytest.raises(ValueError, match=rf"digits/3/odd\.png is not a readable PNG: .*{why}"):
            picture(path, 28)
        assert time.monotonic() - start < 5 and tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
