"""Pictures of learning in stages: the accuracy matrix, what became of each task, and where forgetting comes from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from core.curves import Point
from server.record import Continual, Report, RoundRecord
from server.report.figures import style
from server.report.figures.formatting import counted, in_points, listed, percent
from server.report.figures.lines import SHARE, Line
from server.report.figures.picture import Curves, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _section(report: Report) -> Continual | None:
    return report.continual if report.continual and len(report.continual.tasks) > 1 else None


def matrix(report: Report) -> Picture | None:
    """What it knows after each stage

    One row a stage, one column a task: the global model's test accuracy. Framed cells are what the stage taught; cells to
    the right of them are tasks not met yet, and a column that pales downwards is a task being forgotten.
    """
    if (section := _section(report)) is None:
        return None
    shares, measures = np.array(section.matrix), section.measures
    title = f"{percent(measures.average_accuracy)} over all tasks at the end, {_lost(measures.forgetting)}"
    ends = [f"{name}: {percent(share, 1)}" for name, share in zip(section.tasks, shares[-1], strict=True)]
    alt = f"A table of test accuracy after each of {counted(len(shares), 'stage')} on each of {len(ends)} tasks. {title}. "
    alt += f"After the last stage: {listed(ends)}."
    columns = ("stage", "last round", "task", "taught in this stage", f"accuracy {SHARE}")
    rows = [
        (stage + 1, section.ends[stage], section.tasks[task], int(section.stages[stage] == task), share)
        for (stage, task), share in np.ndenumerate(shares)
    ]
    return Picture(title, alt, partial(_matrix, title, section, 100 * shares), columns, rows)


def _matrix(title: str, section: Continual, shares: np.ndarray) -> Figure:
    figure = style.figure(max(5.2, 1.4 + 0.85 * shares.shape[1]), 1.5 + 0.5 * len(shares), title)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=130, aspect="auto")
    for (stage, task), share in np.ndenumerate(shares):
        axes.text(task, stage, f"{share:.1f}", ha="center", va="center", fontsize=8.5,
                  color="white" if share > 80 else style.INK)  # fmt: skip
    for stage, task in enumerate(section.stages):
        _frame(axes, task, stage)
    axes.set_xticks(range(shares.shape[1]), section.tasks, fontsize=8.5, rotation=0 if shares.shape[1] < 8 else 30)
    axes.set_yticks(range(len(shares)), [f"stage {i + 1} (round {end})" for i, end in enumerate(section.ends)])
    axes.set_xlabel("Task")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _lost(forgetting: float) -> str:
    return f"{in_points(forgetting)} forgotten" if forgetting >= 0 else f"{in_points(-forgetting)} gained since"


def _frame(axes: Axes, task: int, stage: int) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((task - 0.46, stage - 0.42), 0.92, 0.84, fill=False, edgecolor=style.ORANGE, linewidth=1.8)
    )


def tasks(report: Report) -> Picture | None:
    """What became of each task

    The global model's accuracy on each task, round by round; dotted lines are where a new stage begins.
    """
    if (section := _section(report)) is None:
        return None
    shares = np.array([row.tasks_accuracy for row in report.history])
    worst = int(np.argmin(shares[-1]))
    equal = int((np.abs(shares[-1] - shares[-1, worst]) < 0.0005).sum()) - 1
    also = f" (and {counted(equal, 'task')} more as little)" if equal else ""
    title = f"At the end it knows {section.tasks[worst]} least: {percent(shares[-1, worst], 1)}{also}"
    lines = [_task(report.history, section.tasks[i], i) for i in range(shares.shape[1])]
    ends = [f"{line.name}: {percent(line.last, 1)}" for line in lines]
    alt = f"A curve of test accuracy over rounds for each of {len(lines)} tasks. {title}. At the end: {listed(ends)}."
    rows = [(point.round, line.name, point.accuracy) for line in lines for point in line.points]
    columns = ("round", "task", f"accuracy {SHARE}")
    curves = Curves(lines, section.ends[:-1], (0.0, 1.0))
    return Picture(title, alt, partial(_tasks, title, section, lines), columns, rows, curves)


def _task(history: Sequence[RoundRecord], name: str, task: int) -> Line:
    points = [Point(row.tasks_accuracy[task], row.round, seen=row.seen) for row in history]
    colours = style.PALETTE
    return Line(name, colours[task % len(colours)], points, "-" if task < len(colours) else "--", 1.8, marked=False)


def _tasks(title: str, section: Continual, lines: Sequence[Line]) -> Figure:
    figure = style.figure(8.6, 4.2, title)
    axes = figure.subplots()
    for end in section.ends[:-1]:
        axes.axvline(end + 0.5, color=style.GREY, linestyle=":", linewidth=1)
    for line in lines:
        line.draw(axes, "round", 1.0)
    style.label_ends(axes, [(100 * line.last, f"{100 * line.last:.1f}  {line.name}", line.colour) for line in lines])
    axes.set_ylim(0, 101)
    axes.set_ylabel("Test accuracy (%)")
    style.rounds_axis(axes, lines[0].values("round"))
    axes.grid(axis="y")
    return figure


KINDS = ("temporal", "spatial")


def forgetting_split(report: Report) -> Picture | None:
    """Where forgetting comes from

    What each round took from clients, in points of accuracy, on average over them: temporal, what their own training took
    from tasks that they met before (the received model against the client's own new one); spatial, what averaging took
    from all tasks that they have met, the one that they are being taught included (their own models against the new
    global one). Bars below zero gave something back. Thin lines are two standard errors of the test images, either way.
    """
    splits = {row.round: row.forgetting_split for row in report.history if row.forgetting_split}
    if (section := _section(report)) is None or not splits:
        return None
    names = ("temporal", "temporal_error", "spatial", "spatial_error")
    # None is NaN
    parts = {name: np.array([getattr(split, name) for split in splits.values()], float) for name in names}
    measured = {kind: bool(np.isfinite(parts[kind]).any()) for kind in KINDS}
    if not any(measured.values()):
        return None
    mean = {kind: float(np.nanmean(parts[kind])) for kind in KINDS if measured[kind]}
    how = {k: f"{'took' if t >= 0 else 'gave back'} {100 * abs(t):.1f}" for k, t in mean.items()}
    words = {"temporal": "clients' training {} points of earlier tasks", "spatial": "averaging {} of all tasks met"}
    title = f"Mean of rounds: {', '.join(words[kind].format(how[kind]) for kind in KINDS if measured[kind])}"
    rounds = np.array(list(splits))
    alt = "Two bars a round: accuracy that clients' own training took from earlier tasks, and that averaging took from all tasks "
    alt += f"met. {title}."
    if measured["temporal"]:
        most = int(np.nanargmax(parts["temporal"]))
        alt += f" Training took most in round {rounds[most]}: {in_points(parts['temporal'][most])}; "
        alt += f"averaging then: {in_points(parts['spatial'][most])}."
    columns = ("round", "part", f"accuracy lost {SHARE}", f"standard error {SHARE}")
    rows = [
        (number, kind, parts[kind][i], parts[f"{kind}_error"][i])
        for i, number in enumerate(rounds) for kind in KINDS if np.isfinite(parts[kind][i])
    ]  # fmt: skip
    return Picture(title, alt, partial(_split, title, section, rounds, parts), columns, rows)


def _split(title: str, section: Continual, rounds: np.ndarray, parts: dict[str, np.ndarray]) -> Figure:
    figure = style.figure(8.6, 3.9, title)
    axes = figure.subplots()
    for end in section.ends[:-1]:
        axes.axvline(end + 0.5, color=style.GREY, linestyle=":", linewidth=1)
    bars = {"temporal": (-0.2, style.ORANGE, "clients' own training"), "spatial": (0.2, style.BLUE, "averaging")}
    for kind, (offset, colour, who) in bars.items():
        error = {"elinewidth": 0.7, "ecolor": style.GREY}
        height, whiskers = 100 * parts[kind], 200 * np.nan_to_num(parts[f"{kind}_error"])
        axes.bar(rounds + offset, height, 0.4, yerr=whiskers, color=colour, label=f"{kind}: {who}", error_kw=error)
    axes.axhline(0, color=style.GREY, linewidth=0.8)
    axes.set_ylabel("Accuracy lost on tasks met (points)")
    style.rounds_axis(axes, rounds)
    figure.legend(loc="outside lower right", ncols=2, fontsize=8.5)
    axes.grid(axis="y")
    return figure


def classes(report: Report) -> Picture | None:
    """What it knows of each digit, round by round

    One row a digit, one column a round, darker for more of its test images read right: digits that nobody shows any more
    pale if they are forgotten.
    """
    history = [row for row in report.history if row.classes_accuracy]
    settings = report.settings
    changing = settings.join or settings.leave or settings.stream.name != "whole"
    if not changing or not history:
        return None
    shares = np.array([[np.nan if s is None else s for s in row.classes_accuracy] for row in history]).T
    worst = int(np.nanargmin(shares[:, -1]))
    equal = int((np.abs(shares[:, -1] - shares[worst, -1]) < 0.0005).sum()) - 1
    title = _worst(report, worst, 100 * shares[worst, -1])
    title += f" (and {counted(equal, f'{report.kind} more', f'{report.kinds} more')} as little)" if equal else ""
    names = [report.called(label) for label in range(len(shares))]
    ends = [f"{name}: {percent(share, 1)}" for name, share in zip(names, shares[:, -1], strict=True)]
    alt = f"A table of test accuracy on each {report.kind} after each of {counted(len(history), 'round')}. {title}. "
    alt += f"At the end: {listed(ends)}."
    columns = ("round", report.kind, f"accuracy {SHARE}")
    rows = [
        (history[i].round, names[label], share) for (i, label), share in np.ndenumerate(shares.T) if np.isfinite(share)
    ]
    return Picture(title, alt, partial(_classes, report, title, history, 100 * shares), columns, rows)


def _classes(report: Report, title: str, history: Sequence[RoundRecord], shares: np.ndarray) -> Figure:
    settings = report.settings
    figure = style.figure(8.6, 3.6, title)
    axes = figure.subplots()
    edges = (history[0].round - 0.5, history[-1].round + 0.5, len(shares) - 0.5, -0.5)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto", extent=edges)
    moves = [("joins", settings.join), ("leaves", settings.leave)]
    for round_ in sorted({round_ for _, pairs in moves for _, round_ in pairs}):
        axes.axvline(round_ - 0.5, color=style.ORANGE, linestyle=":", linewidth=1.4)
        moved = [f"{counted(len(who), 'client')} {word if len(who) == 1 else word[:-1]}" for word, pairs in moves
                if (who := [c for c, r in pairs if r == round_])]  # fmt: skip
        axes.annotate(
            ", ".join(moved), (round_ - 0.5, -0.5), (3, 4), textcoords="offset points", fontsize=8, color=style.GREY
        )
    axes.set_yticks(range(len(shares)), [report.called(label) for label in range(len(shares))])
    axes.set(xlabel="Round", ylabel=report.kind.capitalize())
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="Read right (%)", shrink=0.8).outline.set_visible(False)
    return figure


def _worst(report: Report, label: int, share: float) -> str:
    if report.numbers:
        return f"At the end it reads {share:.1f} % of the {label}s, its worst digit"
    return f"At the end it reads {share:.1f} % of “{report.called(label)}”, its worst class"


def served(report: Report) -> Picture | None:
    """How well it serves each client, stage by stage

    One row a client, one column a stage: the global model's accuracy on test images in the client's own mix of digits, seen
    through its own looks, as it meets them in that stage.
    """
    section = _section(report)
    if section is None or len(section.clients) < 2 or not section.clients[-1]:
        return None
    names = list(section.clients[-1])
    shares = np.array([[row.get(name, np.nan) for row in section.clients] for name in names])
    worst, best = int(np.nanargmin(shares[:, -1])), int(np.nanargmax(shares[:, -1]))
    title = f"At the end it serves client {names[worst]} worst: {percent(shares[worst, -1], 1)} of its {report.kinds}"
    alt = f"A table of accuracy for each of {counted(len(names), 'client')} after each of {shares.shape[1]} stages. {title}; "
    alt += f"client {names[best]} best: {percent(shares[best, -1], 1)}."
    columns = ("client", "stage", "accuracy (share of the client's test images)")
    rows = [
        (names[client], stage + 1, share) for (client, stage), share in np.ndenumerate(shares) if np.isfinite(share)
    ]
    return Picture(title, alt, partial(_served, title, names, 100 * shares), columns, rows)


def _served(title: str, names: Sequence[int], shares: np.ndarray) -> Figure:
    few = len(names) <= 25
    figure = style.figure(max(5.6, 1.6 + 0.8 * shares.shape[1]), 1.6 + (0.3 * len(names) if few else 4.5), title)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=130 if few else 100, aspect="auto")
    if few:
        for (client, stage), share in np.ndenumerate(shares):
            axes.text(stage, client, f"{share:.1f}" if share == share else "", ha="center", va="center", fontsize=8,
                      color="white" if share > 80 else style.INK)  # fmt: skip
        axes.set_yticks(range(len(names)), list(map(str, names)))
    else:
        figure.colorbar(image, ax=axes, label="Read right (%)", shrink=0.8).outline.set_visible(False)
    axes.set_xticks(range(shares.shape[1]), [str(stage + 1) for stage in range(shares.shape[1])])
    axes.set(xlabel="Stage", ylabel="Client")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
