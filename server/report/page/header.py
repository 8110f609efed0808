"""The top of the page: the result in a sentence, what went wrong, the key figures."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from server.record import LEARNED_NOTHING, ExportedFile, Report
from server.report.figures.formatting import (
    NONE,
    counted,
    duration,
    gap,
    listed,
    number,
    percent,
    sentence,
    signed,
    size,
    span,
)
from server.report.figures.local_baseline import on_own_digits
from server.report.figures.personal import clients, shares
from server.report.page.html import Html, fold, join, tag

SHOWN = 6  # events in full view; the others fold


def headline(report: Report) -> Html:
    """The result as one sentence, from the report's own numbers."""
    who = counted(report.settings.clients, "client")
    together = " together" if report.settings.clients > 1 else ""
    if report.accuracy is None:
        return tag("h1", f"{who}, but no model was tested")
    result = f"{who}{together} read {percent(report.accuracy)} of the test images right"
    if report.taught_clause:
        result += f" ({report.everything}{report.taught_clause})"
    if "federated" in report.diverged:
        result += ", but training diverged"
    elif LEARNED_NOTHING in report.events:
        result += ", but nothing was learned"
    return tag("h1", result + _beside_all_data(report) + _personal(report) + _alone(report) + ".")


def _beside_all_data(report: Report) -> str:
    """How far from the centralized baseline; one that diverged is never compared in silence."""
    central = report.baselines.get("centralized")
    if central is None or report.accuracy is None:
        return ""
    clause = f", {gap(report.accuracy, central)} training on all data in one place"
    if "centralized" not in report.diverged:
        return clause
    best = report.best.get("centralized")
    best_share = f" ({percent(best.accuracy)} in its best round)" if best else ""
    return f"{clause}, which diverged{best_share}"


def _personal(report: Report) -> str:
    """What clients' personal models read on the clients' own images; beside the global one, if nothing else says that."""
    accuracies = {kind: percent(fmean(each)) for kind, each in shares(clients(report)).items()}
    if not accuracies:
        return ""
    beside = "" if on_own_digits(report) else f", the global one {accuracies['joined']}"
    return f"; on their own images personal models read {accuracies['personal']}{beside}"


def _alone(report: Report) -> str:
    """What clients' own models read: on the whole test set, and on their own digits beside the global model."""
    clauses = []
    if (local := report.baselines.get("local")) is not None:
        clauses.append(f"{percent(local)} on {report.everything}")
    if pairs := on_own_digits(report):
        alone, joined = (percent(fmean(shares)) for shares in zip(*pairs, strict=True))
        clauses.append(f"{alone} on their own, where together they read {joined}")
    return f"; alone they average {', and '.join(clauses)}" if clauses else ""


def subtitle(report: Report) -> Html:
    """Which run this is."""
    tested = sum(map(sum, report.confusion))
    under = f", each under {listed(report.conditions)}" if report.conditions else ""
    parts = [f"Scenario {report.name}", f"seed {report.seed}", f"folder {report.folder}"]
    return tag("p", " · ".join(parts + [f"{tested:,} test images{under}"] * bool(tested)), class_="soft")


def notices(report: Report) -> Html:
    """What failed, was left out or was refused, so that nobody reads past it; nothing if all went well."""
    diverged = [sentence(why) for why in report.diverged.values()]
    sentences = [*diverged, *_status(report), *_versions(report), *_replies(report), *_refused(report)]
    events = [event for event in report.events if sentence(event) not in diverged]
    if not sentences and not events:
        return Html("")
    listing = tag("ul", *(tag("li", text) for text in sentences + events[:SHOWN]))
    if rest := events[SHOWN:]:
        listing = join([listing, fold(f"{len(rest):,} more", tag("ul", *(tag("li", event) for event in rest)))])
    return tag("section", tag("strong", "What did not go as planned"), listing, class_="warn", role="note")


def _status(report: Report) -> list[str]:
    done, planned = len(report.history), report.settings.rounds
    return [f"{done} of {planned} planned rounds were run."] if done < planned else []


def _versions(report: Report) -> list[str]:
    """That the figures and the files are not of one version, if so."""
    if not stale_version(report) or not report.current:
        return []
    which = f"version {report.version}, which is not current; the files are version {report.current}'s"
    return [f"The figures here are of {which}."]


def _replies(report: Report) -> list[str]:
    failed = sum(len(row.failed) for row in report.history)
    retried = sum(len(row.retried) for row in report.history)
    asked = failed + sum(len(row.clients) for row in report.history)
    without = f"{failed} of {counted(asked, 'reply', 'replies')} failed or never came, and the model was made without."
    sentences = [without] * bool(failed)
    return sentences + [f"{counted(retried, 'client')} had to be asked again."] * bool(retried)


def _refused(report: Report) -> list[str]:
    events = " ".join(report.events)
    return [f"{name} was not exported: {why}" for name, why in report.exports.refused.items() if name not in events]


def tiles(report: Report) -> Html:
    """The key figures."""
    cohort, history, seconds = report.settings.cohort, report.history, report.seconds
    total = seconds.get("total", sum(seconds.values()) or None)
    key_figures = [
        (
            "Test accuracy",
            percent(report.accuracy),
            f"at the end: {stale_version(report)}loss {number(report.loss)}",
        ),
        _gap(report),
        _worst(report),
        _smallest(report),
        ("Rounds", number(len(history)), f"{counted(cohort, 'client')} a round"),
        ("Clients", number(report.settings.clients), _each(report)),
        ("Gradient examples", number(history[-1].seen if history else None), "in all rounds together"),
        ("Time", duration(total), f"training {duration(seconds.get('training'))}"),
    ]
    return tag("div", *(_tile(*figure) for figure in key_figures), class_="tiles")


def _tile(name: str, value: str, note: str) -> Html:
    parts = (("name", name), ("value", value), ("note", note))
    return tag("div", *(tag("div", text, class_=kind) for kind, text in parts), class_="tile")


def _gap(report: Report) -> tuple[str, str, str]:
    central, share = report.baselines.get("centralized"), report.accuracy
    if central is None or share is None:
        return "Gap to centralized", NONE, "no centralized baseline was run"
    broken = ", diverged" if "centralized" in report.diverged else ""
    difference = f"{signed(share, central)} points"
    return "Gap to centralized", difference, f"at the end: centralized {percent(central)}{broken}"


def stale_version(report: Report) -> str:
    """Which version the last weights are, if not the current one; the exported files are the current one's."""
    if not report.stages or report.version == report.current:
        return ""
    return f"version {report.version}, not current; "


def _worst(report: Report) -> tuple[str, str, str]:
    shares = {shard.client: shard.accuracy for shard in report.shards if shard.accuracy is not None}
    if not shares:
        return "Worst served client", NONE, "no client tested the model"
    worst = min(shares, key=lambda client: shares[client])
    return (
        "Worst served client",
        percent(shares[worst]),
        f"client {worst}; mean {percent(fmean(shares.values()))}{report.asked}",
    )


def _each(report: Report) -> str:
    sizes = [shard.examples for shard in report.shards]
    return f"{span(sizes)} images each{report.asked}" if sizes else ""


def _smallest(report: Report) -> tuple[str, str, str]:
    files: Mapping[str, ExportedFile] = report.exports.files
    if not files:
        return "Model size", NONE, "nothing was exported"
    name = min(files, key=lambda one: files[one].bytes)
    return "Smallest model", size(files[name].bytes), name + (f", version {report.current}" if report.current else "")
