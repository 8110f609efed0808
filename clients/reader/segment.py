"""Find handwritten digits in a photograph or a scan: where each is, and its ink on clean paper.

The paper's light is estimated and taken away, ruled lines are taken out and what they cut is mended, what is left is split into
connected parts, and parts that lie above each other in one place are one digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

LONGEST = 800  # pixels of a page's longer side, while digits are looked for
LIGHT = 8  # times smaller, while the paper's light is estimated
CONTRAST = 22.0  # grey levels between ink and paper, at least
NOISE = 5.0  # and how many times the paper's own grain
SMALL = 0.3  # of the usual height: what is lower is a dot or a stain
LEAST = 9  # pixels of height
MANY = 400  # parts of one page; more are a texture
FILLED = (0.06, 0.85)  # how much of a digit's box its ink covers
SLENDER = (0.08, 2.2)  # width over height
THICK = 0.5  # the widest stroke over the height
SOFT = 2.0  # pixels from paper to full ink: more is out of focus, or no ink
RULED = 0.012  # of a picture's longer side: what is broader is no ruled line
STEEP = 0.25  # what a line may fall or rise, pixels a pixel, on a sheet that is tilted
NEIGHBOURS = 3  # digits with one to their right that tell a tilt
LARGE = 0.018  # of a digit's height may be soft: one that fills the picture has soft edges, and is sharp all the same

Box = tuple[int, int, int, int]  # left, top, width, height


@dataclass(frozen=True)
class Cutout:
    """A digit in a picture."""

    box: Box  # in the picture's own pixels
    ink: np.ndarray  # uint8 [h, w], 0 = paper, 255 = ink, without what its neighbours drew


def find(picture: np.ndarray) -> list[Cutout]:
    """The digits in a picture, line by line. picture: uint8 [h, w], grey; ink may be darker or lighter than the paper."""
    scale = min(1.0, LONGEST / max(picture.shape))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    page = picture if scale == 1 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    ink = _ink(page)
    if ink is None:
        return []
    mask, lines = _without_lines(ink)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    parts = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= LEAST]
    if not parts or len(parts) > MANY:
        return []
    groups = _grouped([tuple(int(n) for n in stats[i, :4]) for i in parts])
    digits = []
    for box, members in _likely(groups, page.shape):
        left, top, width, height = box
        window = (slice(top, top + height), slice(left, left + width))
        digit_mask = np.isin(labels[window], [parts[i] for i in members])
        most = FILLED[1] if width > 0.4 * height else 1.0  # an upright 1 fills its box
        if not FILLED[0] <= digit_mask.mean() <= most or _stroke(digit_mask) > THICK * height:
            continue
        digit_ink = np.where(cv2.dilate(digit_mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0, ink[window], 0)
        digit_ink = np.where(digit_mask & (lines[window] > 0), np.maximum(digit_ink, 160), digit_ink)
        if _softness(clean := _stretched(digit_ink, digit_mask)) <= max(SOFT, LARGE * height):
            digits.append(Cutout(_unscaled(box, scale), clean))
    return digits


def _stroke(mask: np.ndarray) -> float:
    """The width of the widest stroke, pixels."""
    padded = np.pad(mask.astype(np.uint8), 1)
    return 2 * float(cv2.distanceTransform(padded, cv2.DIST_L2, 3).max())


def _softness(ink: np.ndarray) -> float:
    """How wide the edge of the ink is, pixels: those neither paper nor full ink, for each on the outline."""
    outline = cv2.morphologyEx(np.pad((ink > 128).astype(np.uint8), 1), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return float(((ink > 25) & (ink < 200)).sum() / max(1.0, outline.sum() / 2))


def _unscaled(box: Box, scale: float) -> Box:
    left, top, width, height = (round(n / scale) for n in box)
    return left, top, width, height


def _ink(page: np.ndarray) -> np.ndarray | None:
    """How much ink there is, uint8 [h, w], the paper at 0; None if nothing stands out from the paper."""
    edges = np.concatenate([page[0], page[-1], page[:, 0], page[:, -1]])
    bright = cv2.bitwise_not(page) if np.median(edges) > 127 else page  # ink is bright from here on
    paper = _paper(bright)
    above = cv2.subtract(bright, paper)
    smooth = cv2.GaussianBlur(above, (3, 3), 0)
    level, _ = cv2.threshold(smooth, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    is_ink = smooth > level
    if not is_ink.any() or is_ink.mean() > 0.4:
        return None
    background = above[::3, ::3][~is_ink[::3, ::3]].astype(np.float32)  # some are enough
    grain = float(np.median(background) + 1.4826 * np.median(np.abs(background - np.median(background))))
    full = float(np.percentile(smooth[is_ink][::3], 75))
    if full < max(CONTRAST, NOISE * grain):
        return None
    clean = (smooth.astype(np.float32) - max(0.35 * full, 2.0 * grain)) * (255 / (0.5 * full))
    inked: np.ndarray = clean.clip(0, 255).astype(np.uint8)
    return inked


def _paper(bright: np.ndarray) -> np.ndarray:
    """The paper's light: what is left when everything narrow is taken away, smoothed."""
    height, width = bright.shape
    small = cv2.resize(bright, (max(1, width // LIGHT), max(1, height // LIGHT)), interpolation=cv2.INTER_AREA)
    side = max(3, min(small.shape) // 6) | 1
    opened = cv2.morphologyEx(small, cv2.MORPH_OPEN, np.ones((side, side), np.uint8), borderType=cv2.BORDER_REPLICATE)
    even = cv2.blur(opened, (side, side), borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(even, (width, height), interpolation=cv2.INTER_LINEAR)


def _without_lines(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ink's pixels without ruled lines, and the lines': uint8 [h, w] of 0 and 255. Strokes that a line crossed are mended."""
    mask = np.where(ink > 96, 255, 0).astype(np.uint8)
    height, width = mask.shape
    lines = np.zeros_like(mask)
    for across, length in ((True, width), (False, height)):
        kernel = np.ones((1, max(15, length // 10)) if across else (max(15, length // 10), 1), np.uint8)
        long = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
        if not long.any():
            continue
        near = cv2.dilate(long, np.ones((3, 5) if across else (5, 3), np.uint8))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
        reach = stats[:, cv2.CC_STAT_WIDTH if across else cv2.CC_STAT_HEIGHT]
        breadth = np.bincount(labels[long > 0], minlength=count) / np.maximum(reach, 1)  # the mean one, pixels
        # A stroke of a large digit is as long, but broader; from border to border goes no digit that counts.
        is_line = (reach > 0.45 * length) & (breadth <= RULED * max(height, width)) | (reach > 0.95 * length)
        ruled = [i for i in range(1, count) if is_line[i]]
        if ruled:
            lines[np.isin(labels, ruled) & (mask > 0)] = 255
    if not lines.any():
        return mask, lines
    rest = cv2.subtract(mask, lines)
    rest = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    bridged = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, np.ones((9, 3), np.uint8))
    cut = cv2.dilate(lines, np.ones((5, 5), np.uint8))
    return cv2.bitwise_or(rest, cv2.bitwise_and(bridged, cut)), lines


def _grouped(boxes: Sequence[tuple[int, ...]]) -> list[tuple[Box, list[int]]]:
    """Parts that lie above each other, close by, as one: (box, which parts)."""
    heights = sorted(h for _, _, _, h in boxes)
    usual = heights[int(0.8 * (len(heights) - 1))]
    groups: list[tuple[Box, list[int]]] = []
    for i in sorted(range(len(boxes)), key=lambda i: -boxes[i][3]):
        left, top, width, height = boxes[i]
        host = None
        for g, ((x, y, w, h), _) in enumerate(groups):
            overlap = min(left + width, x + w) - max(left, x)
            gap = max(top, y) - min(top + height, y + h)
            low_enough = max(top + height, y + h) - min(top, y) <= 1.35 * max(usual, h)
            if overlap >= 0.45 * min(width, w) and gap <= 0.18 * usual and low_enough and height < 0.8 * usual:
                host = g
                break
        if host is None:
            groups.append(((left, top, width, height), [i]))
        else:
            (x, y, w, h), members = groups[host]
            right, low = max(x + w, left + width), max(y + h, top + height)
            groups[host] = ((min(x, left), min(y, top), right - min(x, left), low - min(y, top)), [*members, i])
    return groups


def _likely(groups: list[tuple[Box, list[int]]], shape: tuple[int, ...]) -> list[tuple[Box, list[int]]]:
    """Those whose size can be a digit's, line by line, from left to right."""
    heights = sorted(box[3] for box, _ in groups if box[3] >= LEAST)
    if not heights:
        return []
    usual = float(np.median([h for h in heights if h >= 0.4 * heights[-1]]))
    likely = []
    for box, members in groups:
        left, top, width, height = box
        whole = left > 0 and top > 0 and left + width < shape[1] and top + height < shape[0]
        if height >= max(LEAST, SMALL * usual) and SLENDER[0] <= width / height <= SLENDER[1] and whole:
            likely.append((box, members))
    return _in_reading_order(likely, usual)


def _in_reading_order(groups: list[tuple[Box, list[int]]], usual: float) -> list[tuple[Box, list[int]]]:
    """In the order of reading, also where the sheet is tilted a little."""
    middles = np.array([(x + w / 2, y + h / 2) for (x, y, w, h), _ in groups]).reshape(-1, 2)
    levels = middles[:, 1] - _tilt(middles) * middles[:, 0]
    lines: list[list[int]] = []
    for i in np.argsort(levels, kind="stable"):
        if lines and levels[i] - levels[lines[-1]].mean() < 0.6 * usual:
            lines[-1].append(i)
        else:
            lines.append([i])
    return [groups[i] for line in lines for i in sorted(line, key=lambda i: groups[i][0][0])]


def _tilt(middles: np.ndarray) -> float:
    """How much the lines fall, pixels a pixel to the right: the median from each digit to its nearest right neighbour, weighed by
    their distance: close neighbours tell little, and there are many.

    middles: f64 [n, 2], x and y. 0 if too few have one.
    """
    right = middles[None] - middles[:, None]  # [from, to, 2]
    beside = (right[..., 0] > 0) & (np.abs(right[..., 1]) < STEEP * right[..., 0])
    distance = np.where(beside, np.hypot(right[..., 0], right[..., 1]), np.inf)
    has = np.flatnonzero(beside.any(1))
    if len(has) < NEIGHBOURS:
        return 0.0
    x, y = right[has, distance[has].argmin(1)].T
    slope, order = y / x, np.argsort(y / x)
    weight = np.cumsum(x[order])
    return float(slope[order][np.searchsorted(weight, weight[-1] / 2)])


def _stretched(ink: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Ink from 0 to 255, whatever the pen."""
    full = max(1.0, float(np.percentile(ink[mask], 80)) if mask.any() else 1.0)
    stretched: np.ndarray = (ink.astype(np.float32) * (255 / full)).clip(0, 255).astype(np.uint8)
    return stretched
