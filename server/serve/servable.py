"""What is served: a verified export, loaded and tried; and the follower that takes a new one when a run's `current` moves."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.images import SIDE
from core.predict import Predictor, about, load
from server import run_folder, versions

NAME = "digits"  # the model's, in every protocol
FILE = "model.onnx"
log = logging.getLogger("serve")

Identity = tuple[str, int, int, int]  # of a file: its path, inode, size, time of change


@dataclass(frozen=True)
class Servable:
    """A model that answers."""

    version: int
    path: Path
    labels: tuple[str, ...]
    predict: Predictor  # images f32 [n, 28, 28, 1] → probabilities f32 [n, classes]; one thread at a time
    metadata: dict[str, str] = field(default_factory=dict)  # what the file says of itself
    identity: Identity | None = None  # of the file that was loaded; another may lie there by now

    @property
    def platform(self) -> str:
        """What runs it, as the v2 protocol calls it."""
        return "onnx_onnxv1" if self.path.suffix == ".onnx" else "tflite"

    @property
    def on_disk(self) -> bool:
        """Is the file that was loaded still where it was?"""
        try:
            return self.identity in (None, identity(self.path))
        except OSError:
            return False

    @property
    def classes(self) -> int:
        """How many probabilities an image gets."""
        return len(self.labels)


def servable(path: Path, version: int | None = None) -> Servable:
    """Load a file and try it. version: its number; None: what it says itself, else 1.

    Raises ValueError, naming the file, if it cannot be loaded or its answers are no probabilities.
    """
    try:
        loaded = identity(path)
        metadata, predict = about(path), load(path)
        answers = predict(np.stack([np.zeros((SIDE, SIDE, 1), np.float32), np.ones((SIDE, SIDE, 1), np.float32)]))
    except Exception as error:  # every runtime has its own errors for a file that it cannot read
        raise ValueError(f"{path} cannot be loaded: {error}") from None
    if (
        answers.ndim != 2
        or len(answers) != 2
        or not np.isfinite(answers).all()
        # Probabilities of an int8 file are multiples of 1/256 or 1/255, each off by half of one at most.
        or np.abs(answers.sum(1) - 1).max() > min(0.5, max(0.01, answers.shape[1] / 510))
    ):
        raise ValueError(f"{path} cannot be served: what it answers to two images are no probabilities")
    labels = (
        tuple(metadata["labels"].split(","))
        if metadata.get("labels")
        else tuple(str(n) for n in range(answers.shape[1]))
    )
    if len(labels) != answers.shape[1]:
        raise ValueError(f"{path} cannot be served: it names {len(labels)} labels and answers with {answers.shape[1]}")
    own_version = metadata.get("origin.version", "")
    number = version if version is not None else int(own_version) if own_version.isdecimal() else 1
    return Servable(number, path, labels, predict, metadata, loaded)


def file_to_serve(source: Path, file: str = FILE) -> tuple[Path, int | None]:
    """The file to serve now, and its version's number if the source has versions.

    source: a run's folder (its current version, or the file that it left) or an exported file itself. Raises ValueError, naming it,
    if there is none.
    """
    if source.is_file():
        return source, None
    if not source.exists():
        raise ValueError(f"there is no {source}: give a run's folder or an exported file")
    version = versions.current(source)
    path = (version or source) / file
    if not path.is_file():
        target = "-".join(reversed(file.split(".")[1:]))  # model.int8.onnx: onnx-int8
        to = f"python -m scenarios.export {shlex.quote(str(source))} --to {target}"
        is_one = file.startswith("model.") and (source / run_folder.SCENARIO).exists()
        hint = f" (this makes it: {to})" if is_one else ""
        raise ValueError(f"there is no {path}: give a run's folder or an exported file{hint}")
    return path, int(version.name) if version else None


class Follower:
    """Keeps the newest good model of a source; the old one goes on where a new one cannot be loaded."""

    def __init__(self, source: Path, file: str = FILE, swapped: Callable[[Servable], None] = lambda _: None) -> None:
        """Loads it. swapped: told of each new one. Raises ValueError if there is none to begin with."""
        self.source, self.file, self.swapped = source, file, swapped
        path, version = file_to_serve(source, file)
        self._identity: Identity | None = identity(path)
        self.serving = servable(path, version)
        self.refused: dict[int, str] = {}  # by version: why it was not taken
        self._absent = ("", 0)  # why there was nothing to take, and in how many looks

    def look(self) -> None:
        """See whether there is a new file, and take it if it is good. May be called from any one thread."""
        try:
            path, version = file_to_serve(self.source, self.file)
            now = identity(path)
        except (ValueError, OSError) as error:
            self._nothing(str(error))
            return
        self._absent = ("", 0)
        if now == self._identity:
            return
        self._identity = now
        try:
            fresh = servable(path, version)
        # A file from elsewhere may break its reader in any way, and whoever looks must look again.
        except Exception as error:
            why = str(error) if isinstance(error, ValueError) else f"{path} is not fit to serve: {error!r}"
            self.refused[version if version is not None else self.serving.version] = why
            new = "the new file" if version is None else f"version {version}"
            log.error("%s is not taken, %s goes on: %s", new, self.serving.version, why)
            return
        if version is None:  # one file has no other versions, whatever the one that was refused called itself
            self.refused.clear()
        self.refused = {number: why for number, why in self.refused.items() if number > fresh.version}
        log.info("version %s takes over from %s", fresh.version, self.serving.version)
        self.serving = fresh  # one assignment: whoever has the old one ends with it
        self.swapped(fresh)

    def _nothing(self, why: str) -> None:
        """There is no file where the current version should have one: between two renames, perhaps. If it is so again, say it."""
        before, looks = self._absent
        self._absent = (why, looks + 1 if why == before else 1)
        if self._absent[1] != 2:
            return
        log.error("version %s goes on: %s", self.serving.version, why)
        with suppress(ValueError, OSError):
            version = versions.current(self.source)
            if version and int(version.name) != self.serving.version:  # that one goes on, file or no file
                self.refused[int(version.name)] = why


def identity(path: Path) -> Identity:
    """What changes when a file is replaced."""
    status = os.stat(path)
    return str(path), status.st_ino, status.st_size, status.st_mtime_ns
