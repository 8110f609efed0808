"""Any picture of one digit → 28 × 28 in MNIST's manner: its box scaled to 20 pixels, its centre of mass in the middle.

As LeCun et al. (1998) made MNIST: the longer side of the ink's box becomes 20 pixels, its shape kept; then the centre of mass is
moved to (14, 14) of a field of 28 × 28. Pixels are averaged by the area that they cover, in double precision, and rounded half
up, so that other languages can do the very same (golden vectors: tests/core/vectors).
"""

from __future__ import annotations

import numpy as np

from core.data.spec import SIDE

BOX = 20  # pixels of the longer side
FAINT = 32  # ink below this is no part of the box


def prepared(ink: np.ndarray) -> np.ndarray:
    """uint8 [28, 28] of a digit, 0 = paper, 255 = ink. ink: uint8 [h, w], the same way round; none gives an empty field."""
    field = np.zeros((SIDE, SIDE), np.uint8)
    rows, columns = (np.flatnonzero((ink >= FAINT).any(axis)) for axis in (1, 0))
    if not len(rows):
        return field
    crop = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float64)
    longer = max(crop.shape)
    height, width = (max(1, int(BOX * side / longer + 0.5)) for side in crop.shape)
    small = np.floor(_areas(crop.shape[0], height) @ crop @ _areas(crop.shape[1], width).T + 0.5)
    total = max(small.sum(), 1.0)
    down, right = small.sum(1) @ np.arange(height) / total, small.sum(0) @ np.arange(width) / total
    top, left = (
        min(max(int(np.floor(SIDE / 2 - middle + 0.5)), 0), SIDE - side)
        for middle, side in ((down, height), (right, width))
    )
    field[top : top + height, left : left + width] = small
    return field


def _areas(before: int, after: int) -> np.ndarray:
    """f64 [after, before]: which share of each new pixel every old one covers; rows add up to 1."""
    edges = np.arange(after + 1) * (before / after)
    old = np.arange(before)
    cover = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    return np.maximum(cover, 0) * (after / before)
