"""How broad the pen was: thin strokes are drawn as broad as MNIST's, for a model that has seen no others."""

from __future__ import annotations

import cv2
import numpy as np

BROAD = 0.1  # a stroke over the digit's longer side; of MNIST's own test images the median is 0.107


def thickened(ink: np.ndarray) -> np.ndarray:
    """A digit's ink uint8 [h, w], 0 = paper, its strokes no thinner than MNIST's, with the room that they then need around it.

    Strokes that are broad enough, or would grow by less than a pixel, stay as they are.
    """
    more = BROAD * max(ink.shape) - stroke(ink)
    if more < 1:
        return ink
    side = 2 * round(more / 2) + 1  # odd, so that nothing moves; a stroke grows by side - 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    grown: np.ndarray = cv2.dilate(np.pad(ink, side), disc)
    return grown


def stroke(ink: np.ndarray) -> float:
    """The usual breadth of the strokes, pixels: twice the distance to the paper on their middle lines; 0 without ink."""
    full = np.pad((ink >= 128).astype(np.uint8), 1)
    distance = cv2.distanceTransform(full, cv2.DIST_L2, 3)
    middle = (distance > 0) & (distance >= cv2.dilate(distance, np.ones((3, 3), np.uint8)))
    return 2 * float(np.median(distance[middle])) - 1 if middle.any() else 0.0
