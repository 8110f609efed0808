"""Which differences are real: rows against the first one, seed by seed."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from scenarios.studies.outcome import Outcome

LEAST = 3  # seeds, for a test to say anything
RANKS = 6  # seeds from which Wilcoxon's test can go below 0.05 at all: of n signs the rarest has probability 2 / 2^n
LEVEL = 0.05
DECIMALS = (
    9  # decimals: shares of images that differ by equally much are told apart by rounding errors far behind these
)


@dataclass(frozen=True)
class Pair:
    """A row against the first row in one column, over the seeds that both have. In units of the measure, not scaled."""

    row: str
    column: str
    seeds: tuple[int, ...]
    difference: float  # mean over seeds; above 0: the row has more
    without: int = 0  # seeds in which one of the two ended without a value: it never reached the target, say
    interval: tuple[float, float] | None = None  # 95 %, of Student's t; None: too few seeds
    p: float | None = None  # of the paired t-test, two-sided; None: too few seeds, or nothing varies
    p_holm: float | None = None  # adjusted for the number of rows compared in the column (Holm 1979)
    p_ranks: float | None = None  # of Wilcoxon's signed-rank test; None: too few seeds

    @property
    def verdict(self) -> str:
        """Is the difference real?"""
        if self.without:  # those seeds may be what differs
            return f"no value in {self.without} more"
        if self.p is None and len(self.seeds) >= LEAST:
            return "the same in every seed: no test"
        if self.p_holm is None:
            return f"n too small ({len(self.seeds)})"
        return "yes" if self.p_holm < LEVEL else "not shown"


def pairs(outcome: Outcome) -> list[Pair]:
    """Every row but the first, column by column."""
    return [one for column in outcome.study.columns for one in adjusted(list(_column(outcome, column)))]


def _column(outcome: Outcome, column: str) -> Iterator[Pair]:
    reference, *others = outcome.study.rows
    main = outcome.study.measures[0]
    first, ended = outcome.values(reference, column, main), set(outcome.finished(reference, column))
    for row in others:
        values = outcome.values(row, column, main)
        if seeds := tuple(seed for seed in values if seed in first):
            differences = [round(values[seed] - first[seed], DECIMALS) for seed in seeds]
            if without := len(ended & set(outcome.finished(row, column))) - len(seeds):
                # What is left where some seeds have no value is no sample of all: no test is made of it.
                yield Pair(row, column, seeds, statistics.mean(differences), without)
            else:
                yield compared(row, column, seeds, differences)


def compared(row: str, column: str, seeds: tuple[int, ...], differences: Sequence[float]) -> Pair:
    """The test of these differences, one a seed.

    Where all are the same, Student's t has no spread to judge by: three times two rounds less would be as certain as a thousand
    times. Only the signed ranks say something then.
    """
    from scipy import stats

    mean, count = statistics.mean(differences), len(differences)
    pair = Pair(row, column, seeds, mean)
    if count < LEAST:
        return pair
    if count >= RANKS and any(differences):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # ties, which make its p approximate
            pair = replace(pair, p_ranks=float(stats.wilcoxon(differences).pvalue))
    if len(set(differences)) == 1:
        return pair
    half = half_width(differences)
    p = float(stats.ttest_1samp(differences, 0.0).pvalue)
    return replace(pair, interval=(mean - half, mean + half), p=p)


def half_width(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of their mean, by Student's t; of a single value, which has none, 0."""
    from scipy import stats

    count = len(values)
    return float(stats.t.ppf(0.5 + 0.95 / 2, count - 1)) * statistics.stdev(values) / count**0.5 if count > 1 else 0.0


def adjusted(column_pairs: Sequence[Pair]) -> list[Pair]:
    """With Holm's step-down adjustment of their p: the smallest times their number, the next times one less, never falling."""
    tested = sorted((pair for pair in column_pairs if pair.p is not None), key=lambda pair: pair.p or 0.0)
    least, by_row = 0.0, {}
    for i, pair in enumerate(tested):
        least = max(least, min(1.0, (pair.p or 0.0) * (len(tested) - i)))
        by_row[pair.row] = least
    return [replace(pair, p_holm=by_row.get(pair.row)) for pair in column_pairs]
