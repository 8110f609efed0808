"""Pictures of learning in stages: the accuracy matrix, what became of each task, and where forgetting comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from server.record import Continual, Report
from server.report.figures import style
from server.report.figures.formatting import percent, some

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _section(report: Report) -> Continual | None:
    return report.continual if report.continual and len(report.continual.tasks) > 1 else None


def matrix(report: Report) -> Figure | None:
    """What it knows after each stage

    One row a stage, one column a task: the global model's test accuracy. Framed cells are what the stage taught; cells to
    the right of them are tasks not met yet, and a column that pales downwards is a task being forgotten.
    """
    if (section := _section(report)) is None:
        return None
    shares, measures = 100 * np.array(section.matrix), section.measures
    title = f"{percent(measures.average_accuracy)} over all tasks at the end, {_lost(measures.forgetting)}"
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
    return (
        f"{100 * forgetting:.2f} points forgotten"
        if forgetting >= 0
        else f"{-100 * forgetting:.2f} points gained since"
    )


def _frame(axes: Axes, task: int, stage: int) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((task - 0.46, stage - 0.42), 0.92, 0.84, fill=False, edgecolor=style.ORANGE, linewidth=1.8)
    )


def tasks(report: Report) -> Figure | None:
    """What became of each task

    The global model's accuracy on each task, round by round; dotted lines are where a new stage begins.
    """
    if (section := _section(report)) is None:
        return None
    rounds = np.array([row.round for row in report.history])
    shares = 100 * np.array([row.tasks_accuracy for row in report.history])
    worst = int(np.argmin(shares[-1]))
    equal = int((np.abs(shares[-1] - shares[-1, worst]) < 0.05).sum()) - 1
    also = f" (and {some(equal, 'task')} more as little)" if equal else ""
    title = f"At the end it knows {section.tasks[worst]} least: {shares[-1, worst]:.1f} %{also}"
    figure = style.figure(8.6, 4.2, title)
    axes = figure.subplots()
    for end in section.ends[:-1]:
        axes.axvline(end + 0.5, color=style.GREY, linestyle=":", linewidth=1)
    colours = [style.PALETTE[i % len(style.PALETTE)] for i in range(shares.shape[1])]
    for task, colour in enumerate(colours):
        axes.plot(rounds, shares[:, task], color=colour, linestyle="-" if task < len(style.PALETTE) else "--")
    named = [(shares[-1, i], f"{shares[-1, i]:.1f}  {section.tasks[i]}", c) for i, c in enumerate(colours)]
    style.label_ends(axes, named)
    axes.set_ylim(0, 101)
    axes.set_ylabel("Test accuracy (%)")
    style.rounds_axis(axes, rounds)
    axes.grid(axis="y")
    return figure


def forgetting_split(report: Report) -> Figure | None:
    """Where forgetting comes from

    What each round took from tasks met before: by clients' own training (temporal: the received model against the
    client's own new one) and by averaging their models (spatial: their own models against the new global one). Bars below
    zero gave something back. Both together are what the global model lost.
    """
    found = {row.round: row.forgetting_split for row in report.history if row.forgetting_split}
    if (section := _section(report)) is None or not found:
        return None
    rounds = np.array(list(found))
    parts = {
        "temporal": 100 * np.array([one.temporal for one in found.values()]),
        "spatial": 100 * np.array([one.spatial for one in found.values()]),
    }
    total = {kind: part.sum() for kind, part in parts.items()}
    how = {k: f"{'took' if t >= 0 else 'gave back'} {abs(t):.1f} points" for k, t in total.items()}
    title = f"Summed over all rounds, clients' training {how['temporal']}, averaging {how['spatial']}"
    figure = style.figure(8.6, 3.9, title.replace("-", "−"))
    axes = figure.subplots()
    for end in section.ends[:-1]:
        axes.axvline(end + 0.5, color=style.GREY, linestyle=":", linewidth=1)
    axes.bar(rounds - 0.2, parts["temporal"], 0.4, color=style.ORANGE, label="temporal: clients' own training")
    axes.bar(rounds + 0.2, parts["spatial"], 0.4, color=style.BLUE, label="spatial: averaging")
    axes.axhline(0, color=style.GREY, linewidth=0.8)
    axes.set_ylabel("Accuracy lost on earlier tasks (points)")
    style.rounds_axis(axes, rounds)
    figure.legend(loc="outside lower right", ncols=2, fontsize=8.5)
    axes.grid(axis="y")
    return figure


def classes(report: Report) -> Figure | None:
    """What it knows of each digit, round by round

    One row a digit, one column a round, darker for more of its test images read right: digits that nobody shows any more
    pale if they are forgotten.
    """
    history = [row for row in report.history if row.classes_accuracy]
    settings = report.settings
    changing = settings.join or settings.leave or settings.stream.name != "whole"
    if not changing or not history:
        return None
    shares = np.array([[np.nan if s is None else 100 * s for s in row.classes_accuracy] for row in history]).T
    worst = int(np.nanargmin(shares[:, -1]))
    figure = style.figure(8.6, 3.6, _worst(report, worst, shares[worst, -1]))
    axes = figure.subplots()
    edges = (history[0].round - 0.5, history[-1].round + 0.5, len(shares) - 0.5, -0.5)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto", extent=edges)
    moves = [("joins", settings.join), ("leaves", settings.leave)]
    for round_ in sorted({round_ for _, pairs in moves for _, round_ in pairs}):
        axes.axvline(round_ - 0.5, color=style.ORANGE, linestyle=":", linewidth=1.4)
        moved = [f"{some(len(who), 'client')} {word if len(who) == 1 else word[:-1]}" for word, pairs in moves
                if (who := [c for c, r in pairs if r == round_])]  # fmt: skip
        axes.annotate(
            ", ".join(moved), (round_ - 0.5, -0.5), (3, 4), textcoords="offset points", fontsize=8, color=style.GREY
        )
    axes.set_yticks(range(len(shares)), [report.called(label) for label in range(len(shares))])
    axes.set(xlabel="Round", ylabel="Digit" if report.numbers else "Class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="Read right (%)", shrink=0.8).outline.set_visible(False)
    return figure


def _worst(report: Report, label: int, share: float) -> str:
    if report.numbers:
        return f"At the end it reads {share:.1f} % of the {label}s, its worst digit"
    return f"At the end it reads {share:.1f} % of “{report.called(label)}”, its worst class"


def served(report: Report) -> Figure | None:
    """How well it serves each client, stage by stage

    One row a client, one column a stage: the global model's accuracy on test images in the client's own mix of digits, seen
    through its own looks, as it meets them in that stage.
    """
    section = _section(report)
    if section is None or len(section.clients) < 2 or not section.clients[-1]:
        return None
    names = list(section.clients[-1])
    shares = np.array([[100 * row.get(name, np.nan) for row in section.clients] for name in names])
    worst = int(np.nanargmin(shares[:, -1]))
    title = f"At the end it serves client {names[worst]} worst: {shares[worst, -1]:.1f} % of its {report.kinds}"
    few = len(names) <= 25
    figure = style.figure(max(5.6, 1.6 + 0.8 * shares.shape[1]), 1.6 + (0.3 * len(names) if few else 4.5), title)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=130 if few else 100, aspect="auto")
    if few:
        for (client, stage), share in np.ndenumerate(shares):
            axes.text(stage, client, f"{share:.1f}", ha="center", va="center", fontsize=8,
                      color="white" if share > 80 else style.INK)  # fmt: skip
        axes.set_yticks(range(len(names)), list(map(str, names)))
    else:
        figure.colorbar(image, ax=axes, label="Read right (%)", shrink=0.8).outline.set_visible(False)
    axes.set_xticks(range(shares.shape[1]), [str(stage + 1) for stage in range(shares.shape[1])])
    axes.set(xlabel="Stage", ylabel="Client")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
