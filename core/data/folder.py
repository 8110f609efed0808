"""A folder of pictures, <label>/*.png: what is in it, what is left out, and which of its pictures' two colours is the ink.

A label is a number from 0 on, written without leading zeros.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from core.config.scenario import CLASSES
from core.data.pictures import picture
from core.data.spec import DatasetSpec, Examples, Source
from core.images import SIDE

SHOWN = 3  # names in a sentence
# Folders beside the labels' that are known, and no data: readings that nobody has named, corrections that nobody has approved, and
# the strokes of those that somebody has.
UNSURE, PENDING, STROKES = ASIDE = ("unsure", "pending", "strokes")


def read(path: Path, ink: str, count: int = 0) -> Source:
    """All that the folder holds; every sixth image of each label (by name) is a test image.

    count: of classes; what is above is left out; 0: as many as there are. Raises ValueError, naming it, if there are too few; of a
    picture that cannot be read, its name.
    """
    count = count or classes(path)
    names, notes = pictures(path, count), left_out(path, count)
    labels = np.array([int(name.split("/")[0]) for name in names], np.int64)
    test = (np.arange(len(names)) - np.searchsorted(labels, labels)) % 6 == 5
    if not test.any():
        reason = "; ".join(notes) or "it is empty"
        raise ValueError(f"folder {path.name!r} needs <label>/*.png with at least six images of a label ({reason})")
    drawn = {name: picture(path / name, SIDE) for name in names}
    dark = dark_ink(not_kept(drawn), ink)
    x = inked(drawn, dark)
    if dark and ink == "auto":
        notes += (
            f"{path.name}: its ink is dark, its paper light (judged by the pictures' borders), so they were inverted",
        )
    train, tested = Examples(x[~test], labels[~test]), Examples(x[test], labels[test])
    return Source(DatasetSpec(path.name, count), train, tested, (*notes, *odd(drawn, dark)))


def classes(folder: Path) -> int:
    """How many labels its pictures have: up to the greatest that has one, and two at least."""
    labels = _labels(folder, CLASSES)
    return max(1, *([label for label in labels if _pngs(folder / str(label))] or labels or [1])) + 1


def label(name: str) -> int | None:
    """The label that a folder of this name has; none, if no label is written so."""
    written = name.isascii() and name.isdecimal() and str(int(name[:9])) == name
    return int(name) if written and int(name) < CLASSES else None


def named_anew(file: Path) -> None:
    """Take away what the same picture was called before: it in other label folders and among the unsure ones, its strokes there."""
    folder, name = file.parents[1], file.parent.name
    for other in folder.glob(f"*/{file.name}"):
        if other.parent != file.parent and (other.parent.name == UNSURE or label(other.parent.name) is not None):
            other.unlink(missing_ok=True)
    for strokes in (folder / STROKES).glob(f"*-{file.stem}.json"):
        if strokes.name != f"{name}-{file.stem}.json":
            strokes.unlink(missing_ok=True)


def labels(folder: Path) -> list[int]:
    """The labels that have a folder, with pictures in it or without, smallest first."""
    return _labels(folder, CLASSES)


def pictures(folder: Path, classes: int) -> list[str]:
    """The names <label>/<file>.png of a folder's pictures with labels 0 … classes - 1, label by label, by name in each."""
    return [f"{label}/{name}" for label in _labels(folder, classes) for name in _pngs(folder / str(label))]


def left_out(folder: Path, classes: int) -> tuple[str, ...]:
    """What is in the folder and is not read, in sentences; hidden files are nobody's mistake."""
    labels = [str(label) for label in _labels(folder, classes)]
    files = {label: [f"{label}/{name}" for name in _visible(folder / label)] for label in labels}
    others = sorted(set(_visible(folder)) - {*labels, *ASIDE})
    strays = [name for names in files.values() for name in names if not name.endswith(".png")]
    empty = [label for label, names in files.items() if not set(names) - set(strays)]
    return (
        *_sentence(f"left out of {folder.name}, for they are no label folders 0 … {classes - 1}", others),
        *_sentence(f"label folders of {folder.name} without any *.png", empty),
        *_sentence(f"left out of {folder.name}, for they are not *.png", strays),
    )


def unread(names: Sequence[str]) -> tuple[str, ...]:
    """The sentence on pictures that cannot be read; none if there are none."""
    return _sentence("left out, for they are not readable PNGs", names)


def dark_ink(images: np.ndarray, ink: str) -> bool:
    """Is the ink of these images, uint8 [n, h, w], darker than their paper? ink: "auto" to judge it from all of them at once.

    Their borders are paper: the median of their borders' medians tells. Raises ValueError for images scaled to 0 … 1.
    """
    if len(images) and images.max() == 1:
        raise ValueError("the pictures hold no value but 0 and 1: multiply them by 255")
    return ink == "dark" if ink != "auto" else bool(len(images)) and bool(np.median(_borders(images)) > 127)


def digest(image: np.ndarray) -> str:
    """What a digit that is kept is named by: its content, so that nothing is kept twice. image: uint8 [28, 28], 0 = paper."""
    return hashlib.sha256(image.tobytes()).hexdigest()[:16]


def kept(drawn: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which were kept here, by the reader or an approved correction: bool [n]. They are light ink on black in any folder."""
    names = [name.rpartition("/")[2].removesuffix(".png") for name in drawn]
    # A name of another's making is no digest of just this picture.
    ours = [len(name) == 16 and name == digest(image) for name, image in zip(names, drawn.values(), strict=True)]
    return np.array(ours, bool)


def not_kept(drawn: Mapping[str, np.ndarray]) -> np.ndarray:
    """The others, by whose borders a folder's ink is judged: uint8 [m, 28, 28]."""
    return np.stack(list(drawn.values()))[~kept(drawn)]


def inked(drawn: Mapping[str, np.ndarray], dark: bool) -> np.ndarray:
    """The images by name as the models know them: uint8 [n, 28, 28], 0 = paper. dark: is the ink of those not kept here?"""
    images = np.stack(list(drawn.values()))
    return np.where((dark & ~kept(drawn))[:, None, None], 255 - images, images)


def odd(images: Mapping[str, np.ndarray], dark: bool) -> tuple[str, ...]:
    """Sentences on the pictures, by name and as they are drawn, that stand out: no ink in them, or the other way round."""
    if not images:
        return ()
    drawn = np.stack(list(images.values()))
    blank = np.ptp(drawn.reshape(len(drawn), -1), axis=1) <= 1
    inverted = ((_borders(drawn) > 127) != dark) & ~blank & ~kept(images)
    names = np.array(list(images))
    ink, other_ink = ("dark", "light") if dark else ("light", "dark")
    return (
        *_sentence("pictures without any ink", names[blank].tolist(), len(names)),
        *_sentence(
            f"pictures drawn in {other_ink} ink, where the folder's is {ink}", names[inverted].tolist(), len(names)
        ),
    )


def _borders(images: np.ndarray) -> np.ndarray:
    """The median of each image's border pixels."""
    edges = [images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]]
    return np.median(np.concatenate(edges, axis=1), axis=1)


def _labels(folder: Path, classes: int) -> list[int]:
    """The label folders that there are, 0 … classes - 1, smallest first."""
    labels = {name: label(name) for name in _visible(folder)}
    return sorted(n for name, n in labels.items() if n is not None and n < classes and (folder / name).is_dir())


def _pngs(folder: Path) -> list[str]:
    """Hidden ones are no pictures: macOS leaves a ._NAME beside each file that it copies to a stick."""
    return [name for name in _visible(folder) if name.endswith(".png")]


def _visible(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []


def _sentence(what: str, names: Sequence[str], total: int = 0) -> tuple[str, ...]:
    """What they are, how many, and the first few by name; nothing if there are none. total: how many there are in all."""
    if not names:
        return ()
    first = ["".join(letter if letter.isprintable() else "?" for letter in name) for name in names[:SHOWN]]
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return (f"{what}: {len(names):,}{f' of {total:,}' if total else ''} ({', '.join(first)}{more})",)
