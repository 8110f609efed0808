"""What a person reads when a run or an export is over: tables, from the facts alone."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from rich.table import Table
from rich.text import Text

from server.record import Exports, Report
from server.report.figures.formatting import size
from server.report.figures.local_baseline import helped_and_harmed, on_own_digits
from server.report.figures.personal import KINDS, clients, shares, worst_tenth


def closing(report: Report) -> Table:
    """The run in a dozen lines; a line about a version says about which."""
    table = Table(title=f"{report.name}, seed {report.seed}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    diverged = list(report.diverged.values())
    rows = [("DIVERGED", why) for why in diverged]
    rows += [*_compared(report), *_stages(report), *_clients(report)]
    seen = report.history[-1].seen if report.history else 0
    steps = seen // report.settings.local.batch
    rounds = f"{len(report.history)} round{'s' * (len(report.history) != 1)}"
    amount = f"{rounds}, {report.settings.clients} clients, {steps:,} steps, {seen:,} gradient examples"
    rows.append(("rounds, clients", amount))
    rows.append(("time", ", ".join(f"{name} {spent:.0f} s" for name, spent in report.times.items())))
    rows += _exports(report)
    events = [event for event in report.events if event not in diverged]
    rows += [("note", event) for event in events[:5]]
    if len(events) > 5:
        rows.append(("note", f"… and {len(events) - 5} more in report.html"))
    for row in [*rows, ("folder", report.folder)]:
        table.add_row(*row)
    return table


def _compared(report: Report) -> Iterator[tuple[str, str]]:
    """Last weights with last, best with best: the run's, and how far they are from each baseline's."""
    final, best = report.accuracy or 0.0, report.best
    loss = "not finite" if report.loss is None else f"{report.loss:.4f}"
    yield "test accuracy", f"{100 * final:.2f} % at the end   (loss {loss}{_last(report)})"
    if report.taught_clause:
        yield "", f"on {report.everything}{report.taught_clause}"
    if best_round := best.get("federated"):
        yield "", f"{100 * best_round.accuracy:.2f} % at its best round by validation loss, {best_round.round}"
    for name, accuracy in report.baselines.items():
        on = f", on {report.everything}" if name == "local" else ""
        broken = "; it diverged" if name in report.diverged else ""
        yield f"{name} baseline", f"{_against(final, accuracy)} at the end{on}{broken}"
        if best_round and (other := best.get(name)):
            against = _against(best_round.accuracy, other.accuracy)
            when = (
                "each client's best round"
                if other.round is None
                else f"its best round by validation loss, {other.round}"
            )
            yield "", f"{against} at {when}"


def _against(accuracy: float, baseline: float) -> str:
    return f"{100 * baseline:.2f} %   ({100 * (accuracy - baseline):+.2f} points)"


def _stages(report: Report) -> Iterator[tuple[str, str]]:
    if staged := report.continual:
        measures, sent = staged.measures, staged.megabytes
        at_the_end = f"{len(staged.tasks)}; at the end {100 * measures.average_accuracy:.2f} % on average"
        yield "tasks", f"{at_the_end}, {_forgotten(measures.forgetting)}"
        if (each := staged.clients_measures) and _asynchronous(report):
            spread = f" ± {100 * each.deviation.forgetting:.2f}"
            yield "", f"by clients, each in its own order, {_forgotten(each.mean.forgetting, spread)}"
        total = staged.memory_total_bytes / 1000
        yield "memory", f"{staged.memory_bytes / 1000:,.0f} kB a client at most, {total:,.0f} kB in all"
        yield "traffic", f"{size(1e6 * sent.sent)} to clients, {size(1e6 * sent.received)} from them"


def _forgotten(share: float, spread: str = "") -> str:
    how = "points forgotten" if share >= 0 else "points better than when they were taught"
    return f"{100 * abs(share):.2f}{spread} {how}"


def _asynchronous(report: Report) -> bool:
    """Do clients go through the stages in another order, or at another time, than the common one?"""
    return bool(report.settings.order or report.settings.lag)


def _clients(report: Report) -> Iterator[tuple[str, str]]:
    """The model at the end for each client; and each client's own model, on the same images."""
    if federated := [shard.accuracy for shard in report.shards if shard.accuracy is not None]:
        yield (
            f"on clients' own {report.kinds}",
            f"mean {100 * sum(federated) / len(federated):.2f} %, worst {100 * min(federated):.2f} %{report.asked}",
        )
    if plain := report.fedavg_own_accuracies:
        yield "", f"plain FedAvg: mean {100 * sum(plain) / len(plain):.2f} %, worst {100 * min(plain):.2f} %"
    for kind, each in shares(clients(report)).items():
        mean, tenth = 100 * sum(each) / len(each), 100 * worst_tenth(each)
        yield "", f"{KINDS[kind][0]}: mean {mean:.2f} %, worst tenth {tenth:.2f} %, worst {100 * min(each):.2f} %"
    if pairs := on_own_digits(report):
        yield "", f"alone {100 * fmean(own for own, _ in pairs):.2f} %; {helped_and_harmed(report)}"


def _last(report: Report) -> str:
    """Which version the last weights are, and that it is not the current one, if so."""
    if not report.stages:
        return ""
    refused = "" if report.current == report.version else ", which is not current"
    return f"; version {report.version}{refused}"


def _exports(report: Report) -> Iterator[tuple[str, str]]:
    """The current version and its files, which need not be the last weights."""
    version = f"version {report.current}: " if report.current else ""
    if stage := report.current_version:
        before = " of the run before this one" if stage.version <= report.settings.past else ""
        yield "current", f"{version}{100 * (stage.accuracy or 0):.2f} % after round {stage.round}{before}"
    if report.stages and not report.current:
        yield "current", "no version: none passed the gate, so there are no files"
    for name, one in report.exports.files.items():
        yield name, f"{version}{100 * one.accuracy:.2f} %, {one.bytes / 1000:,.0f} kB, {one.latency_ms:.2f} ms"
    for name, why in report.exports.refused.items():
        yield f"{name} REFUSED", f"{version}{why}"
    yield "weights", f"{report.weights_sha256[:16]}…   (at the end{_last(report)})"


def files(exports: Exports, source: str) -> Table:
    """The exported files, each with what was measured of it. source: of which model they are, in words."""
    caption = (
        "right: of the test images; Δ: greatest difference of a probability from Keras'; agree: says the same class; "
        "ms: one image, one thread; × TF: over tf.function"
    )
    lines = [caption, *(f"{name} REFUSED: {why}" for name, why in exports.refused.items())]  # too long for a cell
    table = Table(
        title=f"exports of {source}", title_justify="left", caption=Text("\n".join(lines)), caption_justify="left"
    )
    for name in ("file", "kB", "right, %", "Δ", "agree, %", "ms", "× TF"):
        table.add_column(name, justify="left" if name == "file" else "right", no_wrap=True)
    for name, one in exports.files.items():
        table.add_row(
            name, f"{one.bytes / 1000:,.0f}", f"{100 * one.accuracy:.2f}", f"{one.difference:.1e}",
            f"{100 * one.agreement:.2f}", f"{one.latency_ms:.3f}", f"{one.speedup:.1f}",
        )  # fmt: skip
    for name in exports.refused:
        table.add_row(name, "refused")
    return table
