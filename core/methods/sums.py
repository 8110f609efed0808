"""Sums over a client's images, and what they can be: the server solves heads from them, so it believes none that no images
could give."""

from __future__ import annotations

import numpy as np

ROUNDING = 1e-3  # relative; features and sums are float32


def summed(rows: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Σ φφᵀ, f64 [n+1, n+1], and Σ φyᵀ, f64 [n+1, classes], φ being a row, f64 [n], and a 1; y one-hot."""
    rows = np.concatenate([rows, np.ones((len(rows), 1))], 1)
    return rows.T @ rows, rows.T @ np.eye(classes)[labels]


def packed(matrix: np.ndarray) -> np.ndarray:
    """A symmetric matrix's lower triangle, row by row."""
    return matrix[np.tril_indices(len(matrix))]


def unpacked(triangle: np.ndarray) -> np.ndarray:
    """The symmetric matrix again."""
    size = int((np.sqrt(8 * len(triangle) + 1) - 1) / 2)
    matrix = np.zeros((size, size))
    matrix[np.tril_indices(size)] = triangle
    return matrix + np.tril(matrix, -1).T


def check(gram: np.ndarray, cross: np.ndarray, examples: int, largest: np.ndarray, signed: bool = False) -> None:
    """Raises ValueError if no images of this number, with features 0 … largest (signed: −largest … largest), have these sums.

    gram: Σ φφᵀ, f64 [n+1, n+1], φ being a row of features and a 1; cross: Σ φyᵀ, f64 [n+1, classes], y one-hot.
    """
    counts, sums, top = cross[-1], gram[-1], np.append(largest, 1.0) * (1 + ROUNDING) + ROUNDING
    if gram[-1, -1] != examples or counts.sum() != examples or (counts < 0).any() or (counts % 1).any():
        raise ValueError(f"its sums are not of {examples} images, each of one class")
    least = -counts * top[:, None] if signed else 0.0
    if (cross < least).any() or (cross > counts * top[:, None]).any() or (np.diag(gram) > examples * top**2).any():
        raise ValueError("its sums are of features that no image has")
    if not np.allclose(cross.sum(1), sums, rtol=ROUNDING, atol=ROUNDING * examples):
        raise ValueError("its sums by class do not add up to those of all its images")
    try:  # a sum of φφᵀ has no negative eigenvalue, but for what rounding its entries to float32 can make of 0
        np.linalg.cholesky(gram + (np.linalg.norm(gram) * 2.0**-23 + 1e-9) * np.eye(len(gram)))
    except np.linalg.LinAlgError:
        raise ValueError("its sums of products are not those of any features") from None
