"""The weights of a run's best round so far, by validation loss, beside its last ones: RUN/best.npz."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.arrays import Unreadable, read
from core.curves import best
from core.disk import placed
from server.record import digest

BEST, LAST = "best.npz", "last.npz"
KEYS = ("round", "accuracy", "loss", "validation_loss")

Arrays = list[np.ndarray]


def keep(folder: Path, history: Sequence[Mapping[str, Any]], arrays: Arrays) -> None:
    """Write best.npz if the newest round, which left these weights, is the best so far.

    Called after its checkpoint and again when a run goes on from there: a crash between the two loses nothing.
    """
    if history and best(history) is history[-1]:
        write(folder / BEST, history[-1]["round"], arrays)


def write(path: Path, round: int, arrays: Arrays) -> None:
    """The weights that a round left; the same weights give the same file."""
    named = {f"weight{i}": array for i, array in enumerate(arrays)}
    with placed(path) as file:
        np.savez(file, round=np.array(round), **named)  # type: ignore[arg-type]


def weights(path: Path) -> tuple[int, Arrays]:
    """(round, weights) of such a file. Raises Unreadable, naming the file, if it is none; FileNotFoundError if it is not there."""
    named = read(path)
    try:
        return int(named.pop("round")), [named[f"weight{i}"] for i in range(len(named))]
    except (KeyError, TypeError) as error:
        raise Unreadable(f"{path} holds no weights of a round: {error} is missing") from None


def facts(folder: Path, history: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The best round, with the digest of its weights (None if they are not there any more); None without validation images."""
    if (chosen := best(history)) is None:
        return None
    try:
        round_, arrays = weights(folder / BEST)
    except (Unreadable, FileNotFoundError):
        round_, arrays = 0, []
    return {key: chosen[key] for key in KEYS} | {
        "weights_sha256": digest(arrays) if round_ == chosen["round"] else None
    }
