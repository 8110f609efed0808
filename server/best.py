"""The weights of a training's best round so far, by validation loss, beside its last ones: RUN/best.npz."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core import curves
from core.arrays import Arrays, Unreadable, digest, in_order, numbered, read
from core.curves import Point
from core.disk import placed
from server.record import BestRound

BEST, LAST = "best.npz", "last.npz"


def keep(folder: Path, curve: Sequence[Point], arrays: Arrays) -> None:
    """Write best.npz if the newest round, which left these weights, is the best so far.

    Called after its checkpoint and again when a run goes on from there: a crash between the two loses nothing.
    """
    if curve and curves.best(curve) is curve[-1]:
        write(folder / BEST, curve[-1].round or 0, arrays)


def write(path: Path, round: int, arrays: Arrays) -> None:
    """The weights that a round left; the same weights give the same file."""
    with placed(path) as file:
        np.savez(file, round=np.array(round), **numbered("weight", arrays))  # type: ignore[arg-type]


def weights(path: Path) -> tuple[int, Arrays]:
    """(round, weights) of such a file. Raises Unreadable, naming the file, if it is none; FileNotFoundError if it is not there."""
    named = read(path)
    try:
        round_ = int(named.pop("round"))
    except (KeyError, TypeError):
        raise Unreadable(f"{path} holds no weights of a round: it does not say of which") from None
    arrays = in_order("weight", named)
    if len(arrays) < len(named):
        raise Unreadable(f"{path} holds no weights of a round: it has {', '.join(named)[:100]}")
    return round_, arrays


def best_round(folder: Path, curve: Sequence[Point]) -> BestRound | None:
    """The best round, with the digest of its weights (None if they are not there any more); None without validation images."""
    if (chosen := curves.best(curve)) is None:
        return None
    try:
        round_, arrays = weights(folder / BEST)
    except (Unreadable, FileNotFoundError):
        round_, arrays = 0, []
    sha256 = digest(arrays) if round_ == chosen.round else None
    return BestRound(chosen.accuracy, chosen.round, chosen.loss, chosen.validation_loss, sha256)
