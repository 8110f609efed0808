"""What a study leaves in its folder: tables, paired comparisons, what tuning chose, pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.disk import removed
from scenarios.studies import tables
from scenarios.studies.measures import MEASURES
from scenarios.studies.outcome import Outcome
from scenarios.studies.pairs import pairs
from scenarios.studies.study import Cell
from server import record
from server.report.figures.groups import worded
from server.report.figures.memory import MemoryPoint, against_memory
from server.report.figures.results import spread
from server.report.figures.study import FigureFormat, Series, curves, points

PAGES = ("table.md", "table.csv", "table.json", "table.tex", "pairs.md", "chosen.md")
PICTURES = ("curves", "points", "memory")


def write(outcome: Outcome, out: Path, command: str, code: str, plugins: tuple[str, ...] = ()) -> list[Path]:
    """Write all of it anew, at least one cell being finished; returns the files."""
    compared = pairs(outcome)
    texts = (
        tables.markdown(outcome, command, plugins),
        tables.table_csv(outcome),
        tables.table_json(outcome, compared, command, code, plugins),
        tables.latex(outcome),
        tables.pairs_page(outcome, compared),
        tables.chosen_page(outcome),
    )
    for name, text in zip(PAGES, texts, strict=True):
        record.write(out / name, text)
    for name in PICTURES:  # one that has nothing to show any more would be of other runs
        for kind in ("png", "svg", "csv"):
            removed(out / f"{name}.{kind}")
    return [*(out / name for name in PAGES), *_pictures(outcome, out)]


def _pictures(outcome: Outcome, out: Path) -> Iterator[Path]:
    study, name = outcome.study, outcome.study.measures[0]
    measure, rows = MEASURES[name], list(study.rows)
    series = list(_series(outcome))
    yield curves(series, out, rows, study.meaning, study.apart)
    if any(one.values for one in series):
        unit = "%" if measure.accuracy else measure.unit
        shown = FigureFormat(measure.head, unit, measure.digits, measure.more, measure.accuracy, study.apart)
        yield points(series, out, rows, study.meaning, shown)
    if marks := list(_memory(outcome)):
        yield against_memory(marks, out, study.meaning)


def _series(outcome: Outcome) -> Iterator[Series]:
    study, name = outcome.study, outcome.study.measures[0]
    for column in study.columns:
        for row in study.rows:
            ended = {seed: outcome.results[Cell(row, column, seed)].curve for seed in outcome.finished(row, column)}
            values = {seed: MEASURES[name].scale * value for seed, value in outcome.values(row, column, name).items()}
            if ended:
                yield Series(row, column, ended, values)


def _memory(outcome: Outcome) -> Iterator[MemoryPoint]:
    """Of streams. Rows that differ in nothing but a method's budget are one line through their budgets."""
    for row, changes in outcome.study.rows.items():
        method = {path: text for path, text in changes if not path.endswith((".images", ".kilobytes"))}
        name = worded(method).removeprefix("methods=") or row
        for column in outcome.study.columns:
            ended = [outcome.results[Cell(row, column, seed)] for seed in outcome.finished(row, column)]
            shares = spread(list(outcome.values(row, column, "accuracy").values()))
            if shares and any(one.measures for one in ended):
                kilobytes = max(one.memory_bytes for one in ended) / 1000
                yield MemoryPoint(name, column, kilobytes, *shares, len(ended), name != "joint")
