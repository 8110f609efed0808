"""The tables of the page: exports, clients, rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean, median
from typing import Any

from server.record import ClientsMeasures, Report, RoundRecord
from server.report.figures.formatting import NONE, duration, in_points, is_finite, number, percent, signed, size
from server.report.figures.formatting import looks as look_words
from server.report.figures.local_baseline import Client, own_models
from server.report.figures.personal import KINDS, shares, worst_tenth
from server.report.figures.personal import clients as served_clients
from server.report.page.header import stale_version
from server.report.page.html import Html, fold, join, table, tag, words

EXPORTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "bytes": ("Size", size),
    "accuracy": ("Test accuracy", percent),
    "agreement": ("Same answer", percent),
    "difference": ("Difference", number),
    "latency_ms": ("One image, ms", number),
    "latency_p95_ms": ("95 % within", number),
    "speedup": ("Speed-up", lambda times: f"{number(times)}×" if is_finite(times) else NONE),
}


def exports(report: Report) -> Html:
    """The exported files and how they compare with the Keras model; nothing if there are none."""
    files = report.exports.files
    if not files:
        return Html("")
    head = ["File", *(name for name, _ in EXPORTS.values())]
    cells = [
        [name, *(formatter(getattr(file, k)) for k, (_, formatter) in EXPORTS.items())] for name, file in files.items()
    ]
    how = f"Each file beside the Keras model on the test images{report.as_they_are}"
    how += "; difference: the largest between two probabilities; speed-up: over TensorFlow's tf.function."
    return join([tag("h2", "Exported models"), tag("p", _which(report) + how, class_="soft"), table(head, cells)])


def _which(report: Report) -> str:
    """Which version the files are of and, if so, that the rest of the page is of another."""
    if not report.current:
        return ""
    files = f"Files of version {report.current}, the current one"
    if not stale_version(report):
        return f"{files}. "
    refused = any(stage.version == report.version and stage.objections for stage in report.stages)
    why = "which was refused" if refused else "which is not current"
    return f"{files}; all else on this page is of version {report.version}, {why}. "


def baselines(report: Report) -> Html:
    """The run beside its baselines, last weights beside last and best beside best; nothing if there are none."""
    if not report.baselines:
        return Html("")
    diverged, federated = report.diverged, report.best.get("federated")
    shares: dict[str, float | None] = {"federated": report.accuracy, **report.baselines}
    rows = []
    for name, share in shares.items():
        best = report.best.get(name)
        top = best.accuracy if best else None
        gaps = [_gap(report.accuracy, share), _gap(federated.accuracy if federated else None, top)]
        gaps = [NONE, NONE] if name == "federated" else gaps
        rows.append([
            f"{name}, {report.everything}" if name == "local" else name, percent(share), gaps[0],
            number(best.round if best else None), percent(top), gaps[1],
            *["diverged" if name in diverged else ""] * bool(diverged),
        ])  # fmt: skip
    head = ["Training", "At the end", "The run, points", "Best round", "In that round", "The run, points"]
    head += ["Remark"] * bool(diverged)
    how = (
        f"Accuracy on {report.test_images}. Best round: that of the lowest validation loss; test images choose nothing."
    )
    how += (
        " The run, points: how far this run is above (+) or below (−) it, last weights against last, best against best."
    )
    return join([tag("h2", "Beside its baselines"), tag("p", how, class_="soft"), table(head, rows)])


def _gap(share: float | None, other: float | None) -> str:
    return signed(share, other) if is_finite(share) and is_finite(other) else NONE


def personal(report: Report) -> Html:
    """Clients' personal models beside the global one; nothing if they have none."""
    accuracies = shares(served_clients(report))
    if not accuracies:
        return Html("")
    rows = [
        [KINDS[kind][0], percent(fmean(each)), percent(worst_tenth(each)), percent(min(each))]
        for kind, each in accuracies.items()
    ]
    how = f"Accuracy on each client's own test images, as it sees them, in its own mix of {report.kinds}."
    how += " The worst tenth: the mean over the tenth of clients that this model serves worst, at least one."
    head = ["On their own images", "Mean over clients", "Worst tenth", "Worst"]
    return join([tag("h2", "Personal models"), tag("p", how, class_="soft"), table(head, rows)])


MEASURES: dict[str, tuple[str, Callable[[Any], str], str]] = {  # each measure's name, how it is written, what it means
    "average_accuracy": ("Average accuracy", percent, "mean over all tasks at the end"),
    "incremental_accuracy": (
        "Average incremental accuracy", percent, "mean over the tasks met so far, then over stages"
    ),
    "forgetting": ("Forgetting", in_points, "best accuracy a task ever had, less what is left of it; below 0: gained"),
    "backward_transfer": (
        "Backward transfer", in_points, "what later stages did to a task, from right after it was taught; below 0: lost"
    ),
    "forward_transfer": ("Forward transfer", in_points, "what earlier stages gave a task before it was taught"),
    "intransigence": ("Intransigence", in_points, "what joint training reaches on a task, less what this does"),
}  # fmt: skip
OWN_WAY = (
    " Clients: the same of each client, in the order in which it met its tasks and over those that it met; mean ± standard"
    " deviation over {}."
)
SPLIT = {
    "temporal": ("Forgetting, temporal", "what a client's own training takes from its earlier tasks; mean of rounds"),
    "spatial": (
        "Forgetting, spatial", "what averaging takes from all tasks that a client has met; mean of rounds; below 0: gives"
    ),
}  # fmt: skip


def continual(report: Report) -> Html:
    """The measures of learning in stages; nothing if there was one."""
    if (section := report.continual) is None:
        return Html("")
    measures, summary = section.measures, section.clients_measures
    entries = [(key, *about, getattr(measures, key)) for key, about in MEASURES.items()]
    rows = [
        [name, formatter(value), *[_over_clients(summary, key, formatter)] * bool(summary), words(meaning)]
        for key, name, formatter, meaning, value in entries
        if value is not None
    ]
    how = "Points are percentage points of test accuracy."
    if summary:
        how += OWN_WAY.format(f"{summary.clients} client{'s' * (summary.clients != 1)}")
    if split := section.forgetting_split:
        how += " Temporal and spatial forgetting: ± at most so much standard error, of the test images drawn."
        for kind, (name, meaning) in SPLIT.items():
            if (lost := getattr(split, kind)) is not None:
                error = number(100 * (getattr(split, f"{kind}_error") or 0.0), 2)
                rows += [[name, f"{in_points(lost)} ± {error}", *[NONE] * bool(summary), words(meaning)]]
    head = ["Measure", "Global model" if summary else "Value", *["Clients"] * bool(summary), words("Meaning")]
    return join([tag("h2", "Learning in stages"), tag("p", how, class_="soft"), table(head, rows)])


def _over_clients(summary: ClientsMeasures | None, key: str, formatter: Callable[[Any], str]) -> str:
    """A measure over clients: mean ± standard deviation, in points."""
    if summary is None or getattr(summary.mean, key) is None:
        return NONE
    return f"{formatter(getattr(summary.mean, key))} ± {number(100 * getattr(summary.deviation, key), 2)}"


def costs(report: Report) -> Html:
    """What the federation took, and how many steps each baseline was given."""
    spent = report.costs
    if not report.history:
        return Html("")
    rows = [["Steps", number(spent.steps), words(f"of SGD, all clients, {report.settings.local.batch} examples each")]]
    rows += [
        ["Gradient examples", number(spent.examples), words("that these steps looked at, rehearsed ones included")]
    ]
    for name, curve in report.curves.items():
        if curve and (seen := curve[-1].seen) is not None:
            count = number(round(seen) // report.settings.local.batch)
            rows += [
                [f"Steps, {name}", count, words(f"of the {name} baseline: {number(round(seen))} gradient examples")]
            ]
    if spent.memory_bytes:
        rows += [
            ["Memory, a client", size(spent.memory_bytes), words("the most that one keeps for its methods; never sent")]
        ]
        rows += [["Memory, all clients", size(spent.memory_total_bytes), words("the sum of the most that each keeps")]]
    sent = spent.megabytes
    rows += [["Traffic", f"{number(sent.sent)} + {number(sent.received)} MB", words("to clients + from clients")]]
    if spent.clients_processor:
        rows += [
            ["Processor, clients", duration(spent.clients_processor), words("processor time of their rounds, together")]
        ]
        rows += [
            ["Processor, server", duration(spent.server_processor), words("of its part of the rounds; no evaluation")]
        ]
    return join([tag("h2", "What it took"), table(["What", "Amount", words("Meaning")], rows)])


def clients(report: Report) -> Html:
    """One row a client: what it has, how often it was asked, how well it is served."""
    shards = report.shards
    if not shards:
        return Html("")
    alone = {one.number: one for one in own_models(report)}
    looks = any(shard.looks for shard in shards)
    classes, kinds = range(max(len(shard.labels) for shard in shards)), report.kinds
    personalized = any(shard.personal_accuracy is not None for shard in shards)
    head = ["Client", "Images", "Rounds", "Accuracy", *["Personal"] * personalized, "Tested on"]
    head += [f"Alone, own {kinds}", f"Alone, all {kinds}"] * bool(alone)
    head += [*map(report.called, classes), *[tag("span", "Look", class_="line")] * looks]
    rows = [
        [
            *(shard.client, number(shard.examples), number(shard.rounds)),
            *(percent(shard.accuracy), *[percent(shard.personal_accuracy)] * personalized, number(shard.tested)),
            *_alone(alone, shard.client),
            *(number(n) for n in shard.labels or [None] * len(classes)),
            *[tag("span", look_words(shard.looks) or "plain", class_="line")] * looks,
        ]
        for shard in shards
    ]
    how = f"Accuracy: the finished global model on test images as this client sees them, in its own mix of {kinds}{report.asked}."
    how += f" {report.called(0)} to {report.called(classes[-1])}: its training images." if classes else ""
    if personalized:
        how += " Personal: the model that the client keeps for itself, on the same images."
    if alone:
        how += f" Alone: a model trained on nothing but this client's images, on those same test images (own {kinds})"
        how += f" and on the whole test set (all {kinds})."
    return join([tag("h2", "Clients"), tag("p", how, class_="soft"), table(head, rows)])


def _alone(alone: Mapping[int, Client], client: int) -> list[str]:
    """The cells of a client's own model; none if no client has one."""
    if not alone:
        return []
    own_model = alone.get(client)
    return [percent(own_model.alone), percent(own_model.everywhere)] if own_model else [NONE, NONE]


def rounds(report: Report) -> Html:
    """One row a round, folded."""
    history = report.history
    if not history:
        return Html("")
    head = ["Round", "Rate", "Images", "Train loss", "Train acc.", "Valid. loss", "Valid. acc.", "Test loss"]
    head += ["Test acc.", "Median drift", "Training", "Evaluation", words("Clients"), words("Remarks")]
    return fold(f"All {len(history):,} rounds" if len(history) > 1 else "The round", table(head, map(_round, history)))


def _round(row: RoundRecord) -> list[Any]:
    drifts = [drift for drift in row.drift.values() if is_finite(drift)]
    remarks = [f"the server: {row.server_error}"] if row.server_error else []
    remarks += [f"client {c}: {why}" for group in (row.failed, row.retried) for c, why in group.items()]
    remarks += [f"client {c}: straggler, {f'{n:g} passes' if n else 'dropped'}" for c, n in row.stragglers.items()]
    return [
        *(row.round, number(row.rate), number(row.examples)),
        *(number(row.train_loss), percent(row.train_accuracy) if row.examples else NONE),
        *(number(row.validation_loss), percent(row.validation_accuracy)),
        *(number(row.loss), percent(row.accuracy)),
        percent(median(drifts)) if drifts else NONE,
        *(duration(row.seconds.train), duration(row.seconds.evaluate)),
        words(", ".join(map(str, row.clients)) or "nobody"),
        words("; ".join(remarks)),
    ]
