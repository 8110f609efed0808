"""Looks: a client's own fixed conditions (its camera and pen), in training and test alike.

Each takes images and this client's position in the range, 0 … 1; the scenario sets the range (low … high).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.config.part import Part, Registry
from core.views.augment import CHUNK, Warp, sheet, unsheet


def _amount(name: str, position: float, low: float, high: float, limits: tuple[float, float]) -> float:
    if not limits[0] <= low <= high <= limits[1]:
        raise ValueError(f"look {name}: {low} … {high} should be a range within {limits[0]} … {limits[1]}")
    return low + position * (high - low)


def _all(images: np.ndarray, *amount: float) -> np.ndarray:
    return np.tile(amount, (len(images), 1)) if len(amount) > 1 else np.full(len(images), amount[0])


def turned(
    images: np.ndarray,
    position: float,
    *,
    low: float = -5.0,  # least of any client, degrees; range [-180, 180]
    high: float = 5.0,  # most of any client, degrees; range [-180, 180]
) -> np.ndarray:
    """The camera is turned, degrees"""
    amount = _amount("rotate", position, low, high, (-180, 180))
    return Warp.none(len(images)).turned(_all(images, amount)).apply(images)


def zoomed(
    images: np.ndarray,
    position: float,
    *,
    low: float = 0.95,  # least of any client, factor; range [0.25, 4]
    high: float = 1.05,  # most of any client, factor; range [0.25, 4]
) -> np.ndarray:
    """The digit is larger or smaller, factor"""
    amount = _amount("zoom", position, low, high, (0.25, 4))
    return Warp.none(len(images)).zoomed(_all(images, amount)).apply(images)


def right(
    images: np.ndarray,
    position: float,
    *,
    low: float = -0.5,  # least of any client, pixels; range [-14, 14]
    high: float = 0.5,  # most of any client, pixels; range [-14, 14]
) -> np.ndarray:
    """The digit sits to the right (or left), pixels"""
    return Warp.none(len(images)).moved(_all(images, _amount("right", position, low, high, (-14, 14)), 0)).apply(images)


def down(
    images: np.ndarray,
    position: float,
    *,
    low: float = -0.5,  # least of any client, pixels; range [-14, 14]
    high: float = 0.5,  # most of any client, pixels; range [-14, 14]
) -> np.ndarray:
    """The digit sits lower (or higher), pixels"""
    return Warp.none(len(images)).moved(_all(images, 0, _amount("down", position, low, high, (-14, 14)))).apply(images)


def stroke(
    images: np.ndarray,
    position: float,
    *,
    low: float = -0.3,  # least of any client, share of a pixel; range [-1, 1]
    high: float = 0.5,  # most of any client, share of a pixel; range [-1, 1]
) -> np.ndarray:
    """A thicker (to 1) or thinner (to -1) pen, share of a pixel all round"""
    import cv2

    amount = _amount("stroke", position, low, high, (-1, 1))
    laid, cross = sheet(images), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    other = cv2.dilate(laid, cross) if amount > 0 else cv2.erode(laid, cross)
    return unsheet(cv2.addWeighted(other, abs(amount), laid, 1 - abs(amount), 0))


def blur(
    images: np.ndarray,
    position: float,
    *,
    low: float = 0.0,  # least of any client, sigma, pixels; range [0, 1.5]
    high: float = 0.7,  # most of any client, sigma, pixels; range [0, 1.5]
) -> np.ndarray:
    """Out of focus, Gaussian sigma in pixels"""
    import cv2

    amount = _amount("blur", position, low, high, (0, 1.5))
    return images if amount < 0.05 else unsheet(cv2.GaussianBlur(sheet(images), (7, 7), amount))


def contrast(
    images: np.ndarray,
    position: float,
    *,
    low: float = 0.75,  # least of any client, factor; range [0, 4]
    high: float = 1.2,  # most of any client, factor; range [0, 4]
) -> np.ndarray:
    """Paler or stronger ink, factor"""
    amount = _amount("contrast", position, low, high, (0, 4))
    return np.clip(images * np.float32(amount) + np.float32(0.5), 0, 255).astype(np.uint8)


LOOKS: Registry = {
    "rotate": turned, "zoom": zoomed, "right": right, "down": down, "stroke": stroke, "blur": blur, "contrast": contrast
}  # fmt: skip


def look(images: np.ndarray, parts: Sequence[Part], positions: Sequence[float]) -> np.ndarray:
    """The images as a client sees them: uint8 [n, 28, 28] → the same. positions: one a part, 0 … 1."""
    if not parts:
        return images
    views = np.empty_like(images)
    for start in range(0, len(images), CHUNK):
        view = images[start : start + CHUNK]
        for part, position in zip(parts, positions, strict=True):
            view = part.build("looks", LOOKS, view, float(position))
        views[start : start + CHUNK] = view
    return views
