"""How good a model's logits are: sums over examples, which add up over batches, clients and rounds as means do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sums:
    """Sums over examples, never means: they add up over batches, clients and rounds."""

    loss: float = 0.0  # cross-entropy, nats
    correct: int = 0
    examples: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.loss + other.loss, self.correct + other.correct, self.examples + other.examples)

    @property
    def mean_loss(self) -> float:
        """Nats an example; 0 of none."""
        return self.loss / max(1, self.examples)

    @property
    def accuracy(self) -> float:
        """The share of examples read right; 0 of none."""
        return self.correct / max(1, self.examples)


def score(logits: np.ndarray, labels: np.ndarray) -> Sums:
    """How good these logits are. logits: f32 [n, classes]; labels: int [n]."""
    z = logits.astype(np.float64)
    z -= z.max(1, keepdims=True)
    loss = np.log(np.exp(z).sum(1)) - z[np.arange(len(labels)), labels]
    return Sums(float(loss.sum()), int((z.argmax(1) == labels).sum()), len(labels))
