"""The tables of the page on which many runs are compared: a row a group, or a run."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from server import run_folder
from server.record import Report
from server.report.figures import groups, results
from server.report.figures.compare import colour
from server.report.figures.formatting import NONE, SPACE, duration, number, percent, sentence, size
from server.report.figures.groups import Group
from server.report.figures.results import COLUMNS, Column, Comparison, Spread, spread
from server.report.page.html import Html, fold, join, table, tag, words
from server.report.page.tables import MEASURES


def _label(comparison: Comparison, i: int) -> Html:
    """A group's label, with its colour in the picture."""
    swatch = tag("span", class_="swatch", style=f"background: {colour(i)}")
    return tag("span", swatch, comparison.groups[i].label, class_="label")


def _section(title: str, how: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Html:
    return join([tag("h2", title), *[tag("p", how, class_="soft")] * bool(how), table(head, rows, title)])


def differs(comparison: Comparison) -> Html:
    """The settings in which groups differ; nothing if there is one group."""
    keys = list(dict.fromkeys(key for group in comparison.groups for key in group.differs))
    if not keys:
        return Html("")
    cells = [
        [_label(comparison, i), *(group.differs.get(key, NONE) for key in keys)]
        for i, group in enumerate(comparison.groups)
    ]
    how = f"Settings in the notation of --set; {NONE}: what it belongs to is not there."
    return _section("What differs", how, ["Runs", *("scenario" if key == "name" else key for key in keys)], cells)


def _cells(column: Column, values: Sequence[Spread | float | None]) -> list[Html]:
    """The part of a cell that only takes room is in the table, but hidden."""
    return [
        join([_unbreakable(start), *[tag("span", _unbreakable(room), class_="gap")] * bool(room), end])
        for start, room, end in column.cells(values)
    ]


def _unbreakable(text: str) -> str:
    """The text with no-break spaces, so that no line breaks inside it."""
    return text.replace(" ", SPACE)


RESULTS = (
    "accuracy", "over_first", "centralized", "over_centralized", "fedavg", "over_fedavg", "local", "local_own", "joint", "own",
    "worst", "worst_fedavg", "personal", "worst_personal",
)  # fmt: skip


def accuracies(comparison: Comparison) -> Html:
    """What each group reads, and how far that is from the first group and from its baselines."""
    several = any(len(row.seeds) > 1 for row in comparison.rows)
    how = "Mean ± standard deviation over seeds (one seed has none). " if several else "One seed each, so no spread. "
    how += "Accuracies are those of the last weights. "
    if any(row.over_first for row in comparison.rows):
        how += f"Δ first: how far above {comparison.rows[0].label}"
        how += "; where seeds are the same, the deviation is that of differences seed by seed. " if several else ". "
    if any(row.over_centralized for row in comparison.rows):
        how += "Δ centralized: how far above each run's own centralized baseline. "
    if any(row.over_fedavg for row in comparison.rows):
        how += "Fedavg: the same federation with plain FedAvg. "
    if any(row.local or row.own for row in comparison.rows):
        how += "Local: each client alone. Own classes, worst client: on clients' own test images. "
    if any(row.personal for row in comparison.rows):
        how += "Personal: each client's own model; it, and not the global one, is what such a strategy is for. "
    keys = [key for key in RESULTS if any(getattr(row, key) is not None for row in comparison.rows)]
    head = ["Runs", "Seeds", *(_head(COLUMNS[key]) for key in keys)]
    columns = [_cells(COLUMNS[key], [getattr(row, key) for row in comparison.rows]) for key in keys]
    first = [[_label(comparison, i), ", ".join(map(str, row.seeds))] for i, row in enumerate(comparison.rows)]
    cells = [[*one, *others] for one, others in zip(first, zip(*columns, strict=True), strict=True)]
    return _section("Results", how, head, cells)


def _head(column: Column) -> str:
    return f"{sentence(column.head)}, {column.unit}"


OWN_WAY = ("forgetting", "backward_transfer", "forward_transfer")


def staged(comparison: Comparison) -> Html:
    """The measures of learning in stages; nothing if no run has stages."""
    staged_groups = [
        (i, [run.continual for run in group.runs if run.continual]) for i, group in enumerate(comparison.groups)
    ]
    staged_groups = [(i, sections) for i, sections in staged_groups if sections]
    if not staged_groups:
        return Html("")
    measures = {
        key: {
            i: spread([v for section in sections if (v := getattr(section.measures, key)) is not None])
            for i, sections in staged_groups
        }
        for key in MEASURES
    }
    heads = {key: Column(MEASURES[key][0], "%" if key.endswith("accuracy") else "points") for key in measures}
    for key in OWN_WAY:
        heads[f"clients_{key}"] = Column(f"{MEASURES[key][0]}, clients' own order", heads[key].unit)
        measures[f"clients_{key}"] = {
            i: spread([getattr(section.clients_measures.mean, key) for section in sections if section.clients_measures])
            for i, sections in staged_groups
        }
    measures = {key: values for key, values in measures.items() if any(values.values())}
    heads = {key: heads[key] for key in measures}
    head = ["Runs", *map(_head, heads.values()), "Memory a client", "Memory, all clients", "Traffic, MB"]
    columns: list[Sequence[str]] = [
        _cells(heads[key], [values[i] for i, _ in staged_groups]) for key, values in measures.items()
    ]
    columns += [
        [size(max(section.memory_bytes for section in sections)) for _, sections in staged_groups],
        [size(max(section.memory_total_bytes for section in sections)) for _, sections in staged_groups],
        [
            number(statistics.mean(section.megabytes.sent + section.megabytes.received for section in sections), 1)
            for _, sections in staged_groups
        ],
    ]
    cells = [
        [_label(comparison, i), *rest] for (i, _), rest in zip(staged_groups, zip(*columns, strict=True), strict=True)
    ]
    meanings = "; ".join(f"{MEASURES[key][0].lower()}: {MEASURES[key][2]}" for key in measures if key in MEASURES)
    if any(key not in MEASURES for key in measures):
        meanings += "; clients' own order: mean over clients, each in the order in which it met its tasks; else the common order"
    return _section("Learning in stages", f"{sentence(meanings)}.", head, cells)


def exports(comparison: Comparison) -> Html:
    """The exported files, a row a group and file; nothing if nothing was exported."""
    cells = []
    for i, group in enumerate(comparison.groups):
        names = dict.fromkeys(name for run in group.runs for name in run.exports.files)
        for name in names:
            files = [run.exports.files[name] for run in group.runs if name in run.exports.files]
            (accuracy,) = _cells(COLUMNS["accuracy"], [spread([one.accuracy for one in files])])
            mean = {k: statistics.mean(getattr(one, k) for one in files) for k in ("bytes", "agreement", "latency_ms")}
            numbers = [size(mean["bytes"]), accuracy, percent(mean["agreement"]), number(mean["latency_ms"])]
            cells.append([_label(comparison, i), name, *numbers])
    if not cells:
        return Html("")
    head = ["Runs", "File", "Size", "Test accuracy, %", "Same answer as Keras", "One image, ms"]
    return _section("Exported models", "Means over seeds; time is that of the machine that exported.", head, cells)


def time(comparison: Comparison) -> Html:
    """Where the time went, mean over seeds."""
    runs = [run for group in comparison.groups for run in group.runs]
    keys = [key for key in dict.fromkeys(key for run in runs for key in run.times) if key != "total"]
    head = ["Runs", *(key.capitalize() for key in keys), "Total", "Processor, clients", "Processor, server"]
    head += ["Steps", "Gradient examples"]
    cells = [
        [
            *(_label(comparison, i), *(_mean(group, key) for key in keys), duration(row.seconds)),
            *(duration(_cost(group, name)) for name in ("clients_processor", "server_processor")),
            *(number(_cost(group, "steps"), 0), number(row.examples, 0)),
        ]
        for i, (group, row) in enumerate(zip(comparison.groups, comparison.rows, strict=True))
    ]
    return _section("Time", "Mean over seeds, each on the machine and beside whatever else it ran.", head, cells)


def _cost(group: Group, name: str) -> float:
    return statistics.mean(getattr(run.costs, name) for run in group.runs)


def _mean(group: Group, key: str) -> str:
    spent = [run.times[key] for run in group.runs if key in run.times]
    return duration(statistics.mean(spent)) if spent else NONE


def runs(comparison: Comparison, path: Path) -> Html:
    """Every run, with a link to its own page."""
    cells = [
        [_label(comparison, i), run.seed, percent(run.accuracy), duration(results.seconds(run)), _link(run, path),
         tag("code", run.weights_sha256[:12] or NONE)]
        for i, group in enumerate(comparison.groups)
        for run in group.runs
    ]  # fmt: skip
    head = ["Runs", "Seed", "Test accuracy", "Time", "Report", "Weights, SHA-256"]
    return _section("Every run", "Links are relative to this page.", head, cells)


def _link(run: Report, path: Path) -> Html:
    """To the run's page if there is one; otherwise its folder's name."""
    folder = Path(run.folder)
    if not (folder / run_folder.PAGE).exists():
        return tag("span", f"{folder.name} (no page)")
    to = os.path.relpath((folder / run_folder.PAGE).resolve(), path.resolve().parent)
    return tag("a", folder.resolve().name, href=quote(to))


def shared(comparison: Comparison) -> Html:
    """The settings that all runs share, folded."""
    rows = [(key, words(value)) for key, value in groups.common(comparison.groups).items()]
    return tag("section", tag("h2", "Details"), fold("Settings that all runs share", table(["Setting", "Value"], rows)))
