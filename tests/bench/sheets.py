"""Sheets of handwritten digits as a camera sees them, by seed: what the reader is measured on, and no test image was made from.

A sheet has up to five lines of digits on paper: MNIST's test digits, digits in handwriting fonts (Debian's, where they are
installed), or pen strokes of writers whose points are known. Paper has grain, perhaps ruled lines; light is uneven; the picture is
warped, blurred, noisy, and packed as JPEG.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.seeds import rng

# Parts of files' names. Of Debian's, fonts-femkeklaver is left out (hollow outlines, no pen's strokes), and fonts-ecolier-court
# (print with hairlines).
FONTS = ("breip", "rufscript", "dkg", "sjfonts", "bwht", "humor")
WIDTH, HEIGHT = 1600, 1200  # about 2 megapixels
Glyph = Callable[[np.random.Generator, int], np.ndarray]  # digit → float32 [h, w], 0 = paper, 1 = ink


@dataclass(frozen=True)
class Sheet:
    """A picture, and what is on it."""

    picture: np.ndarray  # uint8 [h, w]
    digits: tuple[int, ...]  # in the order of reading
    centres: np.ndarray  # f64 [n, 2]: x, y of each in the picture

    @property
    def jpeg(self) -> bytes:
        """As a camera packs it."""
        return cv2.imencode(".jpg", self.picture, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


def mnist(images: np.ndarray, labels: np.ndarray) -> Glyph:
    """MNIST's own digits, enlarged. images: uint8 [n, 28, 28]."""

    def glyph(draw: np.random.Generator, digit: int) -> np.ndarray:
        one = images[draw.choice(np.flatnonzero(labels == digit))]
        large = cv2.resize(one, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC).astype(np.float32) / 255
        return np.clip((large - 0.3) / 0.4, 0, 1)

    return glyph


def fonts(files: list[Path]) -> Glyph:
    """Handwriting fonts."""
    from PIL import Image, ImageDraw, ImageFont

    faces = [ImageFont.truetype(str(file), 120) for file in files]

    def glyph(draw: np.random.Generator, digit: int) -> np.ndarray:
        face = faces[draw.integers(len(faces))]
        image = Image.new("L", (240, 240))
        ImageDraw.Draw(image).text((60, 40), str(digit), fill=255, font=face)
        return np.asarray(image, np.float32) / 255

    return glyph


def strokes(samples: list[tuple[int, list[np.ndarray]]]) -> Glyph:
    """Pen strokes: (digit, [points f32 [n, 2], y downwards])."""
    by = {digit: [s for d, s in samples if d == digit] for digit in range(10)}

    def glyph(draw: np.random.Generator, digit: int) -> np.ndarray:
        drawn = by[digit][draw.integers(len(by[digit]))]
        every = np.concatenate(drawn)
        low, size = every.min(0), max(1.0, float(np.ptp(every, 0).max()))
        field, pen = np.zeros((200, 200), np.uint8), int(draw.integers(8, 14))
        for stroke in drawn:
            points = np.rint((stroke - low) / size * 130 + 30).astype(np.int32)
            cv2.polylines(field, [points.reshape(-1, 1, 2)], False, 255, pen, cv2.LINE_AA)
        return field.astype(np.float32) / 255

    return glyph


def sheet(seed: int, number: int, glyph: Glyph) -> Sheet:
    """One sheet, by address."""
    draw = rng(seed, "sheet", number)
    ink = np.zeros((HEIGHT, WIDTH), np.float32)
    rows, columns = int(draw.integers(2, 6)), int(draw.integers(4, 9))
    size = int(min(HEIGHT / (rows + 1), WIDTH / (columns + 1)) * draw.uniform(0.55, 0.75))
    digits, centres = [], []
    for row in range(rows):
        for column in range(columns):
            digit = int(draw.integers(10))
            one = _cropped(glyph(draw, digit))
            factor = size / max(one.shape)
            one = cv2.resize(one, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            y = int((row + 1) * HEIGHT / (rows + 1) + draw.normal(0, 4) - one.shape[0] / 2)
            x = int((column + 1) * WIDTH / (columns + 1) + draw.normal(0, 4) - one.shape[1] / 2)
            ink[y : y + one.shape[0], x : x + one.shape[1]] = np.maximum(
                ink[y : y + one.shape[0], x : x + one.shape[1]], one
            )
            digits.append(digit)
            centres.append((x + one.shape[1] / 2, y + one.shape[0] / 2))
    return _photographed(draw, ink, digits, np.array(centres))


def single_digit(seed: int, number: int, ink: np.ndarray, digit: int) -> Sheet:
    """A photograph of one digit, 0.3 to 0.9 of its height, by address. ink: float32 [h, w], 0 = paper, 1 = ink."""
    draw = rng(seed, "one", number)
    cut = _cropped(ink)
    field = np.zeros((480, 640), np.float32)
    factor = float(draw.uniform(0.3, 0.9)) * len(field) / max(cut.shape)
    cut = cv2.resize(cut, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    cut = np.clip((cut - 0.5) * max(1.0, factor / 2) + 0.5, 0, 1)  # a pen's edge is no softer where the digit is larger
    room = np.array(field.shape) - cut.shape
    y, x = (room / 2 + np.clip(draw.normal(0, 20, 2), 20 - room / 2, room / 2 - 20)).astype(int)  # whole after the warp
    field[y : y + cut.shape[0], x : x + cut.shape[1]] = cut
    return _photographed(draw, field, [digit], np.array([[x + cut.shape[1] / 2, y + cut.shape[0] / 2]]))


def blank(seed: int, number: int) -> Sheet:
    """A sheet with nothing on it but perhaps lines."""
    return _photographed(rng(seed, "blank", number), np.zeros((HEIGHT, WIDTH), np.float32), [], np.zeros((0, 2)))


def scene(seed: int, number: int) -> Sheet:
    """A photograph of no digits: blurred blobs, edges and textures of many sizes."""
    draw = rng(seed, "scene", number)
    total = np.zeros((HEIGHT, WIDTH), np.float32)
    for cells in (4, 12, 40, 120):
        noise = draw.normal(0, 1, (cells, cells)).astype(np.float32)
        total += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) * (4 / cells) ** 0.5
    for _ in range(int(draw.integers(3, 12))):
        corners = np.rint(draw.uniform((0, 0), (WIDTH, HEIGHT), (4, 2))).astype(np.int32)
        cv2.fillPoly(total, [corners], float(draw.normal(0, 2)))
    total = cv2.GaussianBlur(total, (0, 0), 2)
    picture = 128 + 45 * total / total.std() + draw.normal(0, 4, total.shape)
    return Sheet(_packed(picture), (), np.zeros((0, 2)))


def _cropped(one: np.ndarray) -> np.ndarray:
    rows, columns = (np.flatnonzero((one > 0.2).any(axis)) for axis in (1, 0))
    return one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _photographed(draw: np.random.Generator, ink: np.ndarray, digits: list[int], centres: np.ndarray) -> Sheet:
    paper = 225 + 4 * cv2.GaussianBlur(draw.normal(0, 1, ink.shape).astype(np.float32), (0, 0), 1.5) / 0.19
    if draw.random() < 0.5:  # ruled
        gap, shade = int(draw.integers(50, 110)), float(draw.uniform(20, 60))
        for y in range(int(draw.integers(10, gap)), ink.shape[0], gap):
            paper[y : y + int(draw.integers(2, 4))] -= shade
    dark = float(draw.uniform(20, 90))
    picture = paper * (1 - ink) + dark * ink
    x, y = np.meshgrid(np.linspace(-1, 1, ink.shape[1]), np.linspace(-1, 1, ink.shape[0]))
    angle, depth = draw.uniform(0, 2 * np.pi), draw.uniform(0, 0.35)
    light = 1 - depth * (0.5 + 0.5 * (np.cos(angle) * x + np.sin(angle) * y))
    if draw.random() < 0.4:  # the shadow of a hand
        edge = np.cos(angle + 1) * x + np.sin(angle + 1) * y - draw.uniform(-0.3, 0.3)
        light *= 1 - 0.35 / (1 + np.exp(-edge * draw.uniform(8, 30)))
    picture = picture * light
    high, wide = ink.shape
    corners = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32)
    moved = corners + (wide / WIDTH * draw.normal(0, 18, (4, 2))).astype(np.float32)
    warp = cv2.getPerspectiveTransform(corners, moved)
    picture = cv2.warpPerspective(picture.astype(np.float32), warp, (wide, high), borderMode=cv2.BORDER_REPLICATE)
    if len(centres):
        centres = cv2.perspectiveTransform(centres[None].astype(np.float64), warp)[0]
    picture = cv2.GaussianBlur(picture, (0, 0), float(draw.uniform(0.4, 2.0)))
    picture = picture + draw.normal(0, draw.uniform(1, 6), picture.shape)
    if draw.random() < 0.15:  # chalk on a board
        picture = 255 - picture
    return Sheet(_packed(picture), tuple(digits), centres)


def _packed(picture: np.ndarray) -> np.ndarray:
    grey = np.clip(picture, 0, 255).astype(np.uint8)
    packed = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE)


def handwriting() -> list[Path]:
    """The handwriting fonts that are installed."""
    files = sorted(file for file in Path("/usr/share/fonts").rglob("*.[ot]tf") if file.is_file())
    return [file for file in files if any(name in str(file).lower() for name in FONTS)]


def unipen(file: Path) -> list[tuple[int, int, list[np.ndarray]]]:
    """(writer, digit, strokes) of UCI's pen digits in UNIPEN's text format; y downwards."""
    found: list[tuple[int, int, list[np.ndarray]]] = []
    digit, writer, strokes, points = -1, 0, list[np.ndarray](), list[list[float]]()
    for line in [*file.read_text().splitlines(), ".SEGMENT"]:
        words = line.split()
        if not words:
            continue
        if words[0] == ".SEGMENT":
            if digit >= 0 and strokes:
                found.append((writer, digit, strokes))
            digit, strokes = int(words[-1].strip('"')) if len(words) > 2 else -1, []
        elif words[0] == ".COMMENT" and len(words) > 2 and words[2].isdecimal():
            writer = int(words[2])
        elif words[0] == ".PEN_DOWN":
            points = []
        elif words[0] == ".PEN_UP":
            strokes += [np.array(points, np.float32)] if points else []
        elif words[0].lstrip("-").isdecimal():
            points.append([float(words[0]), -float(words[1])])
    return found
