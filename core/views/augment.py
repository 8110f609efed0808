"""Random views of a digit, in training only; and the geometry that looks (core/views/looks.py) share with them.

Geometry comes first, then the pen and the camera: stroke, focus, contrast. Where clients' looks differ in these, a client that
holds few digits makes its look a clue to them, which misleads on everybody else's images; what an augmentation varies at random
is a clue to nothing.

Images are laid under each other on one sheet with blank margins, so that OpenCV treats a whole batch in one call; all
geometry of a batch, affine and elastic, is folded into one map and one `cv2.remap`. Coordinates are (x, y) in pixels
from the image's centre; a warp says for each target pixel where to look in the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from core.config.part import Part, Registry
from core.images import SIDE

MARGIN = 4  # blank pixels around each image on a sheet; no filter here reaches farther
CHUNK = 256  # images a sheet: OpenCV's images end at 32,767 rows, and float32 coordinates stay exact to 1/1000 pixel
_TILE = SIDE + 2 * MARGIN


@dataclass(frozen=True)
class Warp:
    """Where each target pixel looks: matrix f32 [n, 2, 2], shift f32 [n, 2] (pixels), field f32 [n, 2, 28, 28] or 0."""

    matrix: np.ndarray
    shift: np.ndarray
    field: np.ndarray | float = 0.0
    stroke: np.ndarray | None = None  # f32 [n]: towards a pen a pixel thicker (1) or thinner (-1)
    focus: np.ndarray | None = None  # f32 [n]: towards a blur of a pixel (1), or as far the other way, sharper (-1)
    contrast: np.ndarray | None = None  # f32 [n]: what multiplies the ink

    @classmethod
    def none(cls, n: int) -> Warp:
        """Each pixel looks at itself."""
        return cls(np.tile(np.eye(2, dtype=np.float32), (n, 1, 1)), np.zeros((n, 2), np.float32))

    def turned(self, degrees: np.ndarray) -> Warp:
        """Turn the digit counter-clockwise. degrees: [n]."""
        a = np.radians(degrees, dtype=np.float32)
        turn = np.stack([np.cos(a), -np.sin(a), np.sin(a), np.cos(a)], -1).reshape(-1, 2, 2)
        return replace(self, matrix=turn @ self.matrix)

    def zoomed(self, factor: np.ndarray) -> Warp:
        """Make the digit larger (factor > 1) or smaller. factor: [n]."""
        return replace(self, matrix=self.matrix / np.asarray(factor, np.float32)[:, None, None])

    def moved(self, pixels: np.ndarray) -> Warp:
        """Move the digit right and down. pixels: [n, 2]."""
        return replace(self, shift=self.shift - np.asarray(pixels, np.float32))

    def apply(self, images: np.ndarray) -> np.ndarray:
        """The warped images, uint8 [n, 28, 28]; what lies outside is paper."""
        import cv2

        n = len(images)
        cv2.setNumThreads(1)  # a worker owns one core
        look = np.concatenate([self.matrix, self.shift[:, :, None]], 2).reshape(2 * n, 3) @ _grid()
        look = look.reshape(n, 2, SIDE, SIDE)
        look += self.field
        look += SIDE / 2 - 0.5 + MARGIN
        np.clip(look, 0, _TILE - 1, out=look)
        look[:, 1] += _TILE * np.arange(n, dtype=np.float32)[:, None, None]
        x, y = look[:, 0].reshape(n * SIDE, SIDE), look[:, 1].reshape(n * SIDE, SIDE)
        return self._drawn(cv2.remap(sheet(images), x, y, cv2.INTER_LINEAR).reshape(n, SIDE, SIDE))

    def _drawn(self, images: np.ndarray) -> np.ndarray:
        """The images with another pen, focus and contrast."""
        import cv2

        if self.stroke is not None:
            laid, cross = sheet(images), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
            thick, thin = unsheet(cv2.dilate(laid, cross)), unsheet(cv2.erode(laid, cross))
            images = _towards(images, np.where(_each(self.stroke) > 0, thick, thin), np.abs(self.stroke))
        if self.focus is not None:
            images = _towards(images, unsheet(cv2.GaussianBlur(sheet(images), (7, 7), 1.0)), self.focus)
        if self.contrast is not None:
            images = _towards(np.zeros_like(images), images, self.contrast)
        return images


def _each(amounts: np.ndarray) -> np.ndarray:
    return amounts.astype(np.float32)[:, None, None]


def _towards(images: np.ndarray, others: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Each image moved by its share of the way (f32 [n]) to the other, or beyond, or away from it; uint8 again."""
    mixed = images + _each(shares) * (others.astype(np.float32) - images)
    return np.clip(mixed + np.float32(0.5), 0, 255).astype(np.uint8)


@cache
def _grid() -> np.ndarray:
    """f32 [3, 784]: x, y from the centre, and 1."""
    axis = np.arange(SIDE, dtype=np.float32) - np.float32(SIDE / 2 - 0.5)
    x, y = np.meshgrid(axis, axis)
    return np.stack([x.ravel(), y.ravel(), np.ones(SIDE * SIDE, np.float32)])


def sheet(images: np.ndarray) -> np.ndarray:
    """The images under each other, each with a blank margin: uint8 [n·36, 36]."""
    m = MARGIN
    return np.pad(images, ((0, 0), (m, m), (m, m))).reshape(-1, _TILE)


def unsheet(laid: np.ndarray) -> np.ndarray:
    """The images of a sheet, uint8 [n, 28, 28]."""
    return laid.reshape(-1, _TILE, _TILE)[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


# ── Augmentations. strength f32 [n] in 0 … 1 scales each one's full range. ──


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"augment {name} = {value} should be {low} … {high}")


def rotate(
    warp: Warp,
    strength: np.ndarray,
    rng: np.random.Generator,
    *,
    degrees: float = 15.0,  # most, either way; range [0, 180]
) -> Warp:
    """Turn by up to ±degrees (15)"""
    _within("rotate: degrees", degrees, 0, 180)
    return warp.turned(rng.uniform(-degrees, degrees, len(strength)) * strength)


def zoom(
    warp: Warp,
    strength: np.ndarray,
    rng: np.random.Generator,
    *,
    amount: float = 0.1,  # most; range [0, 0.99]
) -> Warp:
    """Scale by 1 ± amount (0.1), below 1"""
    _within("zoom: amount", amount, 0, 0.99)
    return warp.zoomed(1 + rng.uniform(-amount, amount, len(strength)) * strength)


def shift(
    warp: Warp,
    strength: np.ndarray,
    rng: np.random.Generator,
    *,
    share: float = 0.1,  # of the width, most, each way; range [0, 1]
) -> Warp:
    """Move by up to ±share (0.1) of the width, each way"""
    _within("shift: share", share, 0, 1)
    return warp.moved(rng.uniform(-share * SIDE, share * SIDE, (len(strength), 2)) * strength[:, None])


def elastic(
    warp: Warp,
    strength: np.ndarray,
    rng: np.random.Generator,
    *,
    alpha: float = 20.0,  # how far it bends; range [0, 1000]
    sigma: float = 4.0,  # pixels of the Gaussian; range [0.1, 28]
) -> Warp:
    """Bend like paper: uniform noise smoothed by a Gaussian of sigma (4) pixels, times alpha (20) (Simard et al. 2003)"""
    _within("elastic: alpha", alpha, 0, 1000)
    _within("elastic: sigma", sigma, 0.1, SIDE)
    noise = rng.random((len(strength), 2, SIDE, SIDE), np.float32)
    noise -= 0.5
    smooth = _gaussian(sigma)
    rows = (noise.reshape(-1, SIDE) @ smooth.T).reshape(-1, SIDE, SIDE)  # separable: one way, then the other
    field = np.matmul(smooth, rows).reshape(noise.shape)
    field *= (2 * alpha * strength).astype(np.float32)[:, None, None, None]
    return replace(warp, field=warp.field + field)


@cache
def _gaussian(sigma: float) -> np.ndarray:
    """f32 [28, 28]: row i holds the weights of a Gaussian at pixel i, reflected at the borders."""
    import cv2

    size = 2 * int(3 * sigma + 0.5) + 1
    kernel = cv2.getGaussianKernel(size, sigma)
    return cv2.sepFilter2D(np.eye(SIDE), cv2.CV_64F, np.ones(1), kernel, borderType=cv2.BORDER_REFLECT).astype(
        np.float32
    )


def stroke(
    warp: Warp,
    strength: np.ndarray,
    rng: np.random.Generator,
    *,
    share: float = 0.5,  # of a pixel all round, most; range [0, 1]
) -> Warp:
    """A thicker or thinner pen, by up to ±share (0.5) of a pixel all round"""
    _within("stroke: share", share, 0, 1)
    return replace(warp, stroke=rng.uniform(-share, share, len(strength)) * strength)


def focus(
    warp: Warp,
    strength: np.ndarray,
    rng: np.random.Generator,
    *,
    share: float = 0.7,  # of the way, most; range [0, 1]
) -> Warp:
    """Out of focus, or sharpened: up to ±share (0.7) of the way to a blur of one pixel, or away from it"""
    _within("focus: share", share, 0, 1)
    return replace(warp, focus=rng.uniform(-share, share, len(strength)) * strength)


def contrast(
    warp: Warp,
    strength: np.ndarray,
    rng: np.random.Generator,
    *,
    amount: float = 0.3,  # most; range [0, 0.99]
) -> Warp:
    """Paler or stronger ink, by a factor 1 ± amount (0.3), below 1"""
    _within("contrast: amount", amount, 0, 0.99)
    return replace(warp, contrast=1 + rng.uniform(-amount, amount, len(strength)) * strength)


AUGMENTS: Registry = {
    "rotate": rotate, "zoom": zoom, "shift": shift, "elastic": elastic, "stroke": stroke, "focus": focus,
    "contrast": contrast,
}  # fmt: skip


def augment(images: np.ndarray, parts: Sequence[Part], strength: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A fresh random view of each image. images: uint8 [n, 28, 28]; strength: f32 [n, parts], 0 (none) … 1 (full)."""
    if not parts:
        return images
    views = np.empty_like(images)
    for start in range(0, len(images), CHUNK):
        rows = slice(start, start + CHUNK)
        warp = Warp.none(len(images[rows]))
        for column, part in enumerate(parts):
            warp = part.build("augment", AUGMENTS, warp, strength[rows, column], rng)
        views[rows] = warp.apply(images[rows])
    return views
