"""A person's look at corrections that wait: each as it was drawn, in the terminal, and a word on what becomes of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import cv2
import numpy as np

from core.config.scenario import CLASSES
from core.data import corrections
from core.data import folder as image_folder
from core.data.corrections import Correction

HELP = "y: approve · a digit: approve as that · n: throw away · Enter: leave it waiting · q: stop"
SHADES = " ░▒▓█"
ACROSS = 10  # pictures in a line of the sheet
SCALE, LINE = 3, 18  # of the sheet: times a picture's side, and pixels of its words


def approve(folder: Path, lines: TextIO) -> int:
    """Show each, and do what the next line says, at once. Returns how many were approved.

    lines: a terminal's, or any text with a line a correction. Its end is a stop. Raises ValueError if there is no such folder.
    """
    if not folder.is_dir():
        why = f"there is no {folder}" if not folder.exists() else f"{folder} is no folder"
        raise ValueError(f"--approve: {why}; a service's --learn {folder} makes it with the first correction")
    corrections.resumed(folder)
    waiting = corrections.waiting(folder)
    sentence = f"{len(waiting):,} corrections wait" if len(waiting) != 1 else "1 correction waits"
    print(f"{sentence} in {folder}" + (f"\n{HELP}" if waiting else ""))
    approved = 0
    for number, file in enumerate(waiting, 1):
        try:
            correction = corrections.read(file, CLASSES)
        except ValueError as error:
            print(f"{error}: not looked at")
            continue
        print(
            f"\n{drawn(correction.image)}\n{number} of {len(waiting):,}: "
            f"read as {correction.read} ({100 * correction.confidence:.0f} %)"
        )
        classes = 1 + max(9, correction.label, correction.read, *image_folder.labels(folder))
        decision = _decision(f"it is a {correction.label}, says who drew it: ", lines, classes)
        if decision == "q":
            break
        if decision == "n":
            corrections.refuse(file)
        elif decision:
            try:
                print(corrections.approve(file, correction, correction.label if decision == "y" else int(decision)))
                approved += 1
            except ValueError as error:
                print(error)
    print(f"{approved:,} approved, {len(corrections.waiting(folder)):,} wait")
    return approved


def _decision(question: str, lines: TextIO, classes: int) -> str:
    """y, n, q, the number of one of so many classes, or nothing."""
    while True:
        print(question, end="", flush=True)
        line = lines.readline()
        word = line.strip().lower()
        if not lines.isatty():
            print(word)
        if not line:
            return "q"
        number = image_folder.label(word)
        if word in ("", "y", "n", "q") or (number is not None and number < classes):
            return word
        above = f" (classes are 0 … {classes - 1}; a folder named as another makes it one)" * (number is not None)
        print(f"{word[:20]!r} is no answer{above}. {HELP}")


def drawn(image: np.ndarray) -> str:
    """A picture, uint8 [28, 28], as lines of text: two letters a pixel across, so that it is as wide as it is high."""
    shades = np.array(list(SHADES))[image.astype(int) * len(SHADES) // 256]
    return "\n".join("".join(np.repeat(row, 2)).rstrip() for row in shades[image.any(1)])


def sheet(folder: Path) -> np.ndarray | None:
    """All that wait on one picture, uint8 [h, w], each over the label that it was given; none if nothing waits."""
    cells = [_cell(one) for one in _readable(folder)]
    if not cells:
        return None
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % ACROSS)
    return np.vstack([np.hstack(cells[i : i + ACROSS]) for i in range(0, len(cells), ACROSS)])


def _readable(folder: Path) -> Iterator[Correction]:
    for file in corrections.waiting(folder):
        try:
            yield corrections.read(file, CLASSES)
        except ValueError as error:
            print(error, file=sys.stderr)


def _cell(correction: Correction) -> np.ndarray:
    large = 255 - np.kron(correction.image, np.ones((SCALE, SCALE), np.uint8))
    caption = np.full((LINE, large.shape[1]), 255, np.uint8)
    cv2.putText(
        caption, f"{correction.read} -> {correction.label}", (4, LINE - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 0, 1, cv2.LINE_AA,
    )  # fmt: skip
    return np.pad(np.vstack([large, caption]), 2, constant_values=200)
