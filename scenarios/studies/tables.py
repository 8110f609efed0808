"""A study's table as Markdown, CSV, JSON and LaTeX; its paired comparisons, and what tuning chose."""

from __future__ import annotations

import csv
import io
import json
import shlex
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scenarios.experiment.again import again
from scenarios.experiment.options import RunOptions
from scenarios.studies.measures import MEASURES, Measure
from scenarios.studies.outcome import Outcome, score
from scenarios.studies.pairs import LEVEL, Pair
from scenarios.studies.study import Cell, Changes, Study, Trial
from server import record
from server.report.figures.formatting import NONE, formatted
from server.report.figures.results import unbeaten

SCHEMA = 1  # of table.json
PUBLISHED, BEST, APART = "published", "best − published", "best apart − published"  # lines below the rows
TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "–": "--", "≥": r"$\geq$", "≤": r"$\leq$",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "→": r"$\rightarrow$", "Δ": r"$\Delta$", "×": r"$\times$",
}  # fmt: skip


def cell_text(outcome: Outcome, row: str, column: str, name: str) -> str:
    """ "97.71 ± 0.20 (5)": mean ± sample standard deviation over seeds, and how many; "(3 of 5)" where some have no such value."""
    values, seeds = list(outcome.values(row, column, name).values()), len(outcome.finished(row, column))
    if not seeds:
        return NONE
    count = f"({len(values)})" if len(values) == seeds else f"({len(values)} of {seeds})"
    if not values:
        return f"{NONE} {count}" if name in outcome.study.measures[:1] else NONE
    return f"{number(MEASURES[name], statistics.mean(values))}{plus_minus(MEASURES[name], values)} {count}"


def number(measure: Measure, value: float) -> str:
    """A value as it is shown."""
    return formatted(measure.scale * value, f",.{measure.digits}f")


def plus_minus(measure: Measure, values: Sequence[float]) -> str:
    """ " ± 0.20", nothing for one value."""
    return f" ± {number(measure, statistics.stdev(values))}" if len(values) > 1 else ""


def grid(outcome: Outcome, name: str) -> tuple[list[str], list[list[str]]]:
    """Head and rows of one measure; below those of the first measure, what is published, and the best row against it."""
    study = outcome.study
    head = [MEASURES[name].head, *study.columns]
    rows = [[row, *(cell_text(outcome, row, column, name) for column in study.columns)] for row in study.rows]
    if name == study.measures[0]:
        rows += [[PUBLISHED, *(_reported(study, column) for column in study.columns)]] if study.published else []
        rows += [
            [line, *(set_against(outcome, column, apart) for column in study.columns)] for line, apart in _lines(study)
        ]
    return head, rows


def best(outcome: Outcome, column: str) -> set[str]:
    """The rows that no other of a column beats in the first measure, over the seeds that both have, but those apart; none if there
    is nothing to compare. A row that some of its seeds have no value of is none of them: who gets there once would be before who
    always does."""
    values = _values(outcome, column, apart=False)
    return set(unbeaten(values, MEASURES[outcome.study.measures[0]].more)) if len(values) > 1 else set()


def _values(outcome: Outcome, column: str, apart: bool) -> dict[str, dict[int, float]]:
    """Of the first measure, by row and seed: those rows that stand apart, or all others."""
    study = outcome.study
    rows = [row for row in study.rows if (row in study.apart) == apart]
    values = {row: outcome.values(row, column, study.measures[0]) for row in rows}
    return {row: one for row, one in values.items() if one and len(one) == len(outcome.finished(row, column))}


# ── against what is published ──


@dataclass(frozen=True)
class Against:
    """The best row of a column against what is published there."""

    row: str
    difference: float  # in units of the measure, not scaled
    beaten: bool
    text: str  # "scaffold, +0.31"


def against(outcome: Outcome, column: str, apart: bool) -> Against | None:
    """The best row, of those apart or of all others; None if nothing is published, or no row is known to be the best."""
    measure, values = MEASURES[outcome.study.measures[0]], _values(outcome, column, apart)
    rows = unbeaten(values, measure.more)
    if column not in outcome.study.published or not rows:
        return None
    row = rows[0]
    difference = statistics.mean(values[row].values()) - outcome.study.published[column].value
    text = f"{row}, {formatted(measure.scale * difference, f'+,.{measure.digits}f')}"
    return Against(row, difference, difference > 0 if measure.more else difference < 0, text)


def set_against(outcome: Outcome, column: str, apart: bool) -> str:
    """The same in a cell of the table."""
    best_row = against(outcome, column, apart)
    return best_row.text if best_row else NONE


def _reported(study: Study, column: str) -> str:
    published = study.published.get(column)
    return number(MEASURES[study.measures[0]], published.value) if published else NONE


def _lines(study: Study) -> list[tuple[str, bool]]:
    """The lines that set the best row against what is published; is each of the rows apart?"""
    if not study.published:
        return []
    return [(BEST, False), (APART, True)] if study.apart else [(BEST, False)]


def shown_measures(outcome: Outcome) -> list[str]:
    """The measures that any finished run has; the first one always."""
    study = outcome.study
    others = [
        name
        for name in study.measures[1:]
        if any(outcome.values(row, column, name) for row in study.rows for column in study.columns)
    ]
    return [study.measures[0], *others]


# ── Markdown ──


def markdown(outcome: Outcome, command: str, plugins: tuple[str, ...] = ()) -> str:
    """table.md: a table a measure, what is missing, and the command of each cell."""
    study, parts = outcome.study, [f"# {outcome.study.name}: {outcome.study.meaning}"]
    parts.append(
        "Mean ± sample standard deviation over seeds (number of seeds). Bold: no other row of the column has a better mean over "
        "the seeds that both have; it need not be better by more than chance: see pairs.md."
    )
    for i, name in enumerate(shown_measures(outcome)):
        head, rows = grid(outcome, name)
        top = [set[str]() if i else best(outcome, column) for column in study.columns]
        parts.append(lined(head, [[row[0], *_bold(row, top)] for row in rows]))
    if study.published:
        parts.append(
            "Published:\n\n" + "\n".join(f"- {column}: {one.source}" for column, one in study.published.items())
        )
    if study.apart:
        parts.append(f"Apart from the others, and never the best of a column: {', '.join(study.apart)}.")
    for row, why in study.left_out.items():
        parts.append(f"Left out: {row}: {why}")
    if failed := {cell: one for cell, one in outcome.results.items() if one.failures}:
        lines = [f"- {cell}: {one.failures}, the first: {one.failure}" for cell, one in failed.items()]
        parts.append("Replies or rounds that failed, and are missing in these results:\n\n" + "\n".join(lines))
    if missing := outcome.missing:
        names = "".join(f"- {cell}\n" for cell in missing)
        parts.append(
            f"## Missing\n\n{len(missing)} cells; this fills them:\n\n```bash\n{command}\n```\n\n{names}".rstrip()
        )
    commands = "\n".join(f"{command_of(outcome, cell, command, plugins)}  # {cell}" for cell in outcome.results)
    parts.append(f"## Each cell again\n\n```bash\n{commands}\n```")
    return "\n\n".join(parts) + "\n"


def _bold(row: Sequence[str], top: Sequence[set[str]]) -> list[str]:
    return [f"**{text}**" if row[0] in names else text for text, names in zip(row[1:], top, strict=True)]


def lined(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(text.replace('|', chr(92) + '|') for text in line)} |" for line in lines)


def command_of(outcome: Outcome, cell: Cell, command: str, plugins: tuple[str, ...] = ()) -> str:
    """The command that makes a cell again: of a preset, or, where no change of a preset makes its settings, the study's own for
    this cell alone."""
    options = RunOptions(baselines="none", export="none", backend=RunOptions.backend, plugins=plugins)
    return shlex.join(again(outcome.scenarios[cell], options) or _narrowed(command, cell))


def _narrowed(command: str, cell: Cell) -> list[str]:
    """A study's command with one row, one column and one seed in place of those that it names, and a folder of its own: in the
    study's it would write the tables of this cell alone over all others."""
    words, kept = iter(shlex.split(command)), list[str]()
    for word in words:
        option, equals, _ = word.partition("=")
        if option not in ("--rows", "--columns", "--seeds", "--budget", "--out"):
            kept.append(word)
        elif not equals:
            next(words, None)
    return [*kept, "--rows", cell.row, "--columns", cell.column, "--seeds", f"{cell.seed},", "--out", "again"]


# ── CSV, JSON, LaTeX ──


def table_csv(outcome: Outcome) -> str:
    """table.csv: a line a finished cell, and one, without a seed, a published figure; values as they are in JSON, not scaled."""
    names = outcome.study.measures
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n")
    write.writerow(["row", "column", "seed", *names, "seconds", "processor_seconds", "weights_sha256"])
    for cell, one in outcome.results.items():
        values = [MEASURES[name].read(one) for name in names]
        write.writerow([cell.row, cell.column, cell.seed, *values, one.seconds, one.processor, one.weights_sha256])
    for column, reported in outcome.study.published.items():
        write.writerow([PUBLISHED, column, "", reported.value, *[""] * (len(names) + 2)])
    return text.getvalue()


def table_json(
    outcome: Outcome, compared: Sequence[Pair], command: str, code: str, plugins: tuple[str, ...] = ()
) -> str:
    """table.json: all of it. Shares are shares, 0 … 1."""
    study = outcome.study
    lines = [
        {
            "row": row, "column": column, "seeds": outcome.finished(row, column),
            "chosen": _words(outcome.point(Cell(row, column, outcome.finished(row, column)[0]))),
            **{name: _spread(outcome.values(row, column, name)) for name in study.measures},
        }
        for column in study.columns for row in study.rows if outcome.finished(row, column)
    ]  # fmt: skip
    cells = [
        {
            "row": cell.row, "column": cell.column, "seed": cell.seed, "command": command_of(outcome, cell, command, plugins),
            **{name: MEASURES[name].read(one) for name in study.measures},
            "diverged": one.diverged, "failures": one.failures, "failure": one.failure,
            "seconds": one.seconds, "processor_seconds": one.processor, "weights_sha256": one.weights_sha256,
        }
        for cell, one in outcome.results.items()
    ]  # fmt: skip
    page = {
        "schema": SCHEMA, "study": study.name, "meaning": study.meaning, "code": code, "command": command,
        "reference": next(iter(study.rows)), "left_out": study.left_out, "lines": lines, "cells": cells,
        "pairs": [record.plain(one) | {"verdict": one.verdict} for one in compared],
        "published": {
            column: record.plain(one) | {"best": against(outcome, column, False), "best_apart": against(outcome, column, True)}
            for column, one in study.published.items()
        }, "apart": study.apart,
        "missing": [str(cell) for cell in outcome.missing],
    }  # fmt: skip
    return json.dumps(record.plain(page), indent=1, allow_nan=False) + "\n"


def _spread(by_seed: Mapping[int, float]) -> dict[str, Any]:
    values = list(by_seed.values())
    mean, deviation = (
        (statistics.mean(values) if values else None),
        (statistics.stdev(values) if len(values) > 1 else None),
    )
    return {"mean": mean, "deviation": deviation, "n": len(values)}


def latex(outcome: Outcome) -> str:
    """table.tex: the first measure, for \\usepackage{booktabs}; the best mean of a column is bold."""
    study, name = outcome.study, outcome.study.measures[0]
    head, rows = grid(outcome, name)
    top = [best(outcome, column) for column in study.columns]
    lines = [
        "% needs \\usepackage{booktabs}; mean and sample standard deviation over seeds (number of seeds)",
        f"\\begin{{tabular}}{{l{'r' * len(study.columns)}}}",
        "\\toprule",
        f"{' & '.join(map(escaped, head))} \\\\",
        "\\midrule",
    ]
    for row in rows:
        lines += ["\\midrule"] if row[0] == PUBLISHED else []
        texts = [escaped(text) for text in row]
        texts = [f"\\textbf{{{text}}}" if i and row[0] in top[i - 1] else text for i, text in enumerate(texts)]
        lines.append(f"{' & '.join(texts)} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def escaped(text: str) -> str:
    """A text that LaTeX shows as it is."""
    return "".join(TEX.get(letter, letter) for letter in text)


# ── paired comparisons, and what tuning chose ──


def pairs_page(outcome: Outcome, compared: Sequence[Pair]) -> str:
    """pairs.md."""
    study, measure = outcome.study, MEASURES[outcome.study.measures[0]]
    reference = next(iter(study.rows))
    head = [
        "row",
        "seeds",
        f"difference ({measure.unit})",
        "95 % interval",
        "p",
        "p, Holm",
        "p, Wilcoxon",
        f"below {LEVEL:g}?",
    ]
    text = (
        f"Each row against **{reference}**, {measure.head}, over the seeds that both have. A difference is the mean of the "
        "differences seed by seed. p: paired t-test, two-sided (`scipy.stats.ttest_1samp` of the differences); Holm: adjusted "
        "for the rows of a column; Wilcoxon: signed ranks, from six seeds on, with fewer it can never be below 0.05. Seeds "
        'are few: "not shown" does not mean that there is no difference. Where a seed has no value, because a row never reached '
        "its target with it, there is no test: those that did are no fair sample. Nor is there one, but of signed ranks, where the "
        "difference is the same in every seed."
    )
    parts = [f"# {study.name}: paired comparisons", text]
    for column in study.columns:
        rows = [list(_paired(one, measure)) for one in compared if one.column == column]
        if rows:
            parts += [f"## {column}", lined(head, rows)]
    return "\n\n".join(parts) + "\n"


def _paired(pair: Pair, measure: Measure) -> Iterator[str]:
    def signed(value: float) -> str:
        return formatted(measure.scale * value, f"+,.{measure.digits}f")

    yield pair.row
    yield str(len(pair.seeds))
    yield signed(pair.difference)
    yield f"{signed(pair.interval[0])} … {signed(pair.interval[1])}" if pair.interval else NONE
    for p in (pair.p, pair.p_holm, pair.p_ranks):
        yield NONE if p is None else "< 0.0001" if p < 0.0001 else f"{p:.4f}"
    yield pair.verdict


def chosen_page(outcome: Outcome) -> str:
    """chosen.md: each row's grid, how its points did on validation images, and which was taken."""
    study, tuning = outcome.study, outcome.study.tuning
    if not tuning:
        return f"# {study.name}: nothing was tuned\n"
    seeds = ", ".join(map(str, tuning.seeds))
    more = f"; trials have {_words(tuning.changes)}" if tuning.changes else ""
    for column, changes in tuning.where.items():
        own = tuple(change for change in changes if change not in study.columns.get(column, ()))
        more += f"; those on {column} {_words(own)}" if own else ""
    text = (
        f"Tuned on validation images only, on seeds {seeds}, which are not reported{more}. Every row has the same number of "
        "trials. The point with the best mean validation accuracy of the last weights is taken; of equals, the one with the "
        "lower validation loss. A trial in which nothing was learned, since every reply failed, reads nothing."
    )
    rows = []
    for row, column in dict.fromkeys((trial.row, trial.column) for trial in study.trials()):
        for i, point in enumerate(tuning.grid(row)):
            trials = [one for seed in tuning.seeds if (one := outcome.trials.get(Trial(row, column, i, seed)))]
            accuracy = f"{100 * score(trials)[0]:.2f}" if trials else NONE
            mark = "taken" if outcome.chosen.get((row, column)) == i else ""
            failed = str(sum(one.failures for one in trials))
            rows.append([row, column, _words(point), f"{len(trials)} of {len(tuning.seeds)}", accuracy, failed, mark])
    head = ["row", "tuned on", "point", "trials", "validation accuracy (%)", "failed replies or rounds", ""]
    return f"# {study.name}: what tuning chose\n\n{text}\n\n{lined(head, rows)}\n"


def _words(changes: Changes) -> str:
    return " ".join(f"{path}={text}" for path, text in changes)
