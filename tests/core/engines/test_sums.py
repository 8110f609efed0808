"""Sums add up over batches, clients and rounds."""

from __future__ import annotations

import numpy as np
import pytest

from core.scores import Sums, score

LABELS = np.arange(60) % 10
LOGITS = np.random.default_rng(0).normal(0, 3, (60, 10)).astype(np.float32)


def test_judging_is_the_cross_entropy_and_the_right_answers() -> None:
    sums = score(LOGITS, LABELS)
    p = np.exp(LOGITS.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    assert sums.loss == pytest.approx(-np.log(p[np.arange(60), LABELS]).sum(), rel=1e-12)
    assert sums.correct == int((p.argmax(1) == LABELS).sum()) and sums.examples == 60


def test_parts_judged_apart_add_up_to_the_whole() -> None:
    parts = sum((score(LOGITS[i : i + 7], LABELS[i : i + 7]) for i in range(0, 60, 7)), Sums())
    whole = score(LOGITS, LABELS)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-12)
    assert (parts.correct, parts.examples) == (whole.correct, whole.examples)
    assert (parts.accuracy, parts.mean_loss) == pytest.approx((whole.correct / 60, whole.loss / 60))


def test_sure_and_right_costs_nothing_even_with_huge_logits() -> None:
    sums = score(np.eye(10, dtype=np.float32) * 1e30, np.arange(10))
    assert sums == Sums(0.0, 10, 10)


def test_nothing_judged_divides_by_nothing() -> None:
    assert score(np.zeros((0, 10), np.float32), np.zeros(0, np.int64)) == Sums(0.0, 0, 0)
    assert Sums().accuracy == Sums().mean_loss == 0
