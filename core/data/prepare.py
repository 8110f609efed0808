"""Any picture of one digit → 28 × 28 in MNIST's manner: its box scaled to 20 pixels, its centre of mass in the middle.

As LeCun et al. (1998) made MNIST: the longer side of the ink's box becomes 20 pixels, its shape kept; then the centre of mass is
moved to (14, 14) of a field of 28 × 28. Each new pixel is the mean of the old ones by the area that it covers of them, rounded half
up. All of it is done in whole numbers, so that every language on every processor gets the same bytes (golden vectors:
tests/core/preparation.txt; in Kotlin: server/export/android/Preparation.kt).
"""

from __future__ import annotations

import numpy as np

from core.images import SIDE

BOX = 20  # pixels of the longer side
FAINT = 32  # ink below this is no part of the box


def prepared(ink: np.ndarray) -> np.ndarray:
    """uint8 [28, 28] of a digit, 0 = paper, 255 = ink. ink: uint8 [h, w], the same way round; none gives an empty field.

    Exact for pictures of up to 64 million pixels.
    """
    field = np.zeros((SIDE, SIDE), np.uint8)
    rows, columns = (np.flatnonzero((ink >= FAINT).any(axis)) for axis in (1, 0))
    if not len(rows):
        return field
    crop = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    longer = max(crop.shape)
    height, width = (max(1, (2 * BOX * side + longer) // (2 * longer)) for side in crop.shape)
    # In doubles, for which a product of matrices is quick; every sum is a whole number below 2^53, so none is rounded.
    sums = _overlaps(crop.shape[0], height) @ crop.astype(np.float64) @ _overlaps(crop.shape[1], width).T
    small = (2 * sums.astype(np.int64) + crop.size) // (2 * crop.size)
    total = max(int(small.sum()), 1)
    down, right = int(small.sum(1) @ np.arange(height)), int(small.sum(0) @ np.arange(width))
    top, left = (
        min(max(((SIDE + 1) * total - 2 * moment) // (2 * total), 0), SIDE - side)  # ⌊14 - moment / total + 1/2⌋
        for moment, side in ((down, height), (right, width))
    )
    field[top : top + height, left : left + width] = small
    return field


def _overlaps(before: int, after: int) -> np.ndarray:
    """f64 [after, before], whole numbers: how much each new pixel covers of every old one, in 1 / after of an old one.

    Rows add up to `before`.
    """
    new, old = before * np.arange(after + 1), after * np.arange(before + 1)
    cover = np.minimum(new[1:, None], old[1:]) - np.maximum(new[:-1, None], old[:-1])
    return np.maximum(cover, 0).astype(np.float64)
