"""What the cross-entropy compares: options against the bias of a classifier to the classes it saw last, or has at all.

Each of SOFTMAXES returns what is added to the logits inside the loss, f32 [n, classes], given
- labels: those of the rows that are learned from in this round, int [n];
- own: which of these rows are the client's own experience (not rehearsed), bool [n];
- counts: how many images of each class the client has, whether drawn or not: of its own experience, then of those that it
  remembers, int [2, classes].
What a paper on federations defines is a strategy's client half instead, and a `Calibration` (fl/strategies/fedrs.py, fedlc.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.config.part import Registry

NEVER = np.float32(-1e4)  # far below any logit, and finite


@dataclass(frozen=True)
class Calibration:
    """What becomes of a client's logits z inside its cross-entropy: scale·z + shift."""

    scale: np.ndarray  # f32 [classes]
    shift: np.ndarray  # f32 [classes]

    @classmethod
    def none(cls, counts: np.ndarray) -> Calibration:
        """They stay as they are. counts: one number a class."""
        return cls(np.ones(len(counts), np.float32), np.zeros(len(counts), np.float32))

    def __add__(self, other: Calibration) -> Calibration:
        """One, then the other."""
        return Calibration(other.scale * self.scale, other.scale * self.shift + other.shift)


def plain(labels: np.ndarray, own: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Cross-entropy over all classes"""
    return np.zeros((len(labels), counts.shape[1]), np.float32)


def masked(labels: np.ndarray, own: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Own images compete only with the classes of the client's own experience, so they push no old class down; as many of
    them as of an old class are rehearsed compete with all (ER-ACE, Caccia et al. 2022, arXiv:2104.05025)"""
    own_classes, old_classes = counts > 0
    per_class = int((~own).sum() / max(1, old_classes.sum()))  # as the paper's buffer, in which new classes lie too
    mask = own.copy()
    for label in np.flatnonzero(own_classes):
        rows = np.flatnonzero(own & (labels == label))
        mask[rows[np.linspace(0, len(rows) - 1, min(per_class, len(rows))).astype(int)]] = False
    return np.where(mask[:, None] & ~own_classes, NEVER, np.float32(0)).astype(np.float32)


def present(labels: np.ndarray, own: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Classes of which the client holds no image, new or remembered, do not compete: what others know, or nobody yet, is not
    pushed down. But classes that no client holds together are never told apart: with few labels a client it harms

    Then each client solves a problem of its own, and nothing puts their answers on one scale (docs/non-iid.md has figures).
    The paper's restricted softmax scales these logits instead of leaving them out: strategy fedrs.
    """
    absent = counts.sum(0) == 0
    return np.tile(np.where(absent, NEVER, np.float32(0)), (len(labels), 1)).astype(np.float32)


def balanced(
    labels: np.ndarray,
    own: np.ndarray,
    counts: np.ndarray,
    *,
    strength: float = 1.0,  # what multiplies the logs; range [0, 10]
) -> np.ndarray:
    """Adds the log of each class's share of the images that a client learns from in a round, so that rare classes weigh like
    common ones (logit adjustment, Menon et al. 2021, arXiv:2007.07314)

    FedLC's calibration has another formula: strategy fedlc.
    """
    if not 0 <= strength <= 10:
        raise ValueError(f"strength = {strength} of balanced should be 0 … 10")
    rows = np.bincount(labels, minlength=counts.shape[1]).astype(np.float32)
    share = np.maximum(rows, 0.5) / max(1, len(labels))  # a class that is not there: half an image
    return np.tile(np.float32(strength) * np.log(share), (len(labels), 1)).astype(np.float32)


SOFTMAXES: Registry = {"plain": plain, "present": present, "masked": masked, "balanced": balanced}
