"""A photograph to measure with, where none is given: a sheet of test images, two megapixels."""

from __future__ import annotations

import cv2
import numpy as np

WIDTH, HEIGHT = 1632, 1224
COLUMNS, ROWS, LARGER = 4, 3, 6


def sheet(images: np.ndarray) -> bytes:
    """A JPEG of twelve digits in dark ink on light paper that is darker towards one corner. images: uint8 [≥ 12, 28, 28]."""
    ink = np.zeros((HEIGHT, WIDTH), np.float32)
    for i, image in enumerate(images[: COLUMNS * ROWS]):
        large = cv2.resize(image, None, fx=LARGER, fy=LARGER, interpolation=cv2.INTER_CUBIC)
        high, wide = large.shape
        y = (2 * (i // COLUMNS) + 1) * HEIGHT // (2 * ROWS) - high // 2
        x = (2 * (i % COLUMNS) + 1) * WIDTH // (2 * COLUMNS) - wide // 2
        ink[y : y + high, x : x + wide] = large / np.float32(255)
    light = np.linspace(235, 190, WIDTH)[None] * np.linspace(1, 0.9, HEIGHT)[:, None]
    picture = (light * (1 - 0.8 * ink)).astype(np.uint8)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
