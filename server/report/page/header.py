"""The top of the page: the result in a sentence, what went wrong, the key figures."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from server.report.figures.formatting import NONE, duration, gap, known, number, percent, points, size, some, span
from server.report.figures.local_baseline import on_own_digits
from server.report.page.html import Html, fold, join, tag

SHOWN = 6  # events in full view; the others fold


def headline(report: Mapping[str, Any]) -> Html:
    """The result as one sentence, from the report's own numbers."""
    who = some(report.get("clients", 0), "client")
    together = " together" if report.get("clients", 0) > 1 else ""
    if not known(report.get("accuracy")):
        return tag("h1", f"{who}, but no model was judged")
    said = f"{who}{together} read {percent(report['accuracy'])} of the test images right"
    if "federated" in (report.get("diverged") or {}):
        said += ", but training diverged"
    return tag("h1", said + _beside_all_data(report) + _alone(report) + ".")


def _beside_all_data(report: Mapping[str, Any]) -> str:
    """How far from the centralized baseline; one that diverged is never compared in silence."""
    if not known(central := report.get("baselines", {}).get("centralized")):
        return ""
    said = f", {gap(report['accuracy'], central)} training on all data in one place"
    if "centralized" not in (report.get("diverged") or {}):
        return said
    best = (report.get("best") or {}).get("centralized") or {}
    shown = f" ({percent(best['accuracy'])} in its best round)" if known(best.get("accuracy")) else ""
    return f"{said}, which diverged{shown}"


def _alone(report: Mapping[str, Any]) -> str:
    """What clients' own models read: on the whole test set, and on their own digits beside the global model."""
    said = []
    if known(local := report.get("baselines", {}).get("local")):
        said.append(f"{percent(local)} on all ten digits")
    if pairs := on_own_digits(report):
        alone, joined = (percent(fmean(shares)) for shares in zip(*pairs, strict=True))
        said.append(f"{alone} on their own, where together they read {joined}")
    return f"; alone they average {', and '.join(said)}" if said else ""


def subtitle(report: Mapping[str, Any]) -> Html:
    """Which run this is."""
    tested = sum(map(sum, report.get("confusion") or []))
    parts = [f"Scenario {report.get('scenario')}", f"seed {report.get('seed')}", f"folder {report.get('folder')}"]
    return tag("p", " · ".join(parts + [f"{tested:,} test images"] * bool(tested)), class_="soft")


def notices(report: Mapping[str, Any]) -> Html:
    """What failed, was left out or was refused, so that nobody reads past it; nothing if all went well."""
    diverged = [_sentence(why) for why in (report.get("diverged") or {}).values()]
    sentences = [*diverged, *_status(report), *_versions(report), *_answers(report), *_refused(report)]
    events = [str(event) for event in report.get("events", []) if _sentence(event) not in diverged]
    if not sentences and not events:
        return Html("")
    shown = tag("ul", *(tag("li", text) for text in sentences + events[:SHOWN]))
    if rest := events[SHOWN:]:
        shown = join([shown, fold(f"{len(rest):,} more", tag("ul", *(tag("li", event) for event in rest)))])
    return tag("section", tag("strong", "What did not go as planned"), shown, class_="warn", role="note")


def _sentence(text: Any) -> str:
    return str(text)[:1].upper() + str(text)[1:]


def _status(report: Mapping[str, Any]) -> list[str]:
    done, planned = len(report.get("history", [])), report.get("settings", {}).get("rounds")
    if report.get("status", "finished") != "finished":
        return [f"This run is {report['status']}: {done} of {planned or NONE} rounds are done."]
    if planned and done < planned:
        return [f"{done} of {planned} planned rounds were run."]
    return []


def _versions(report: Mapping[str, Any]) -> list[str]:
    """That the figures and the files are not of one version, if so."""
    if not last(report) or not (version := current(report)):
        return []
    other = report["stages"][-1]["version"]
    return [f"The figures here are of version {other}, which is not current; the files are version {version}'s."]


def _answers(report: Mapping[str, Any]) -> list[str]:
    history = report.get("history", [])
    failed = sum(len(row.get("failed") or {}) for row in history)
    retried = sum(len(row.get("retried") or {}) for row in history)
    asked = failed + sum(len(row.get("clients") or []) for row in history)
    sentences = [f"{failed} of {some(asked, 'answer')} failed or never came, and the model was made without."] * bool(
        failed
    )
    return sentences + [f"{some(retried, 'client')} had to be asked again."] * bool(retried)


def _refused(report: Mapping[str, Any]) -> list[str]:
    refused = (report.get("exports") or {}).get("refused") or {}
    said = " ".join(map(str, report.get("events", [])))
    return [f"{name} was not exported: {why}" for name, why in refused.items() if name not in said]


def tiles(report: Mapping[str, Any]) -> Html:
    """The key figures."""
    cohort = report.get("settings", {}).get("cohort")
    history = report.get("history", [])
    seconds = report.get("seconds", {})
    total = seconds.get("total", sum(seconds.values()) or None)
    shown = [
        (
            "Test accuracy",
            percent(report.get("accuracy")),
            f"at the end: {last(report)}loss {number(report.get('loss'))}",
        ),
        _gap(report),
        _worst(report),
        _smallest(report),
        ("Rounds", number(report.get("rounds")), f"{some(cohort, 'client')} a round" if cohort else ""),
        ("Clients", number(report.get("clients")), _each(report)),
        ("Gradient examples", number(history[-1].get("seen") if history else None), "in all rounds together"),
        ("Time", duration(total), f"training {duration(seconds.get('training'))}"),
    ]
    return tag("div", *(_tile(*one) for one in shown), class_="tiles")


def _tile(name: str, value: str, note: str) -> Html:
    parts = (("name", name), ("value", value), ("note", note))
    return tag("div", *(tag("div", text, class_=kind) for kind, text in parts), class_="tile")


def _gap(report: Mapping[str, Any]) -> tuple[str, str, str]:
    central, share = report.get("baselines", {}).get("centralized"), report.get("accuracy")
    if not known(central) or not known(share):
        return "Gap to centralized", NONE, "no baseline was run"
    broken = ", diverged" if "centralized" in (report.get("diverged") or {}) else ""
    apart = f"{points(share, central):+.2f} points".replace("-", "−")
    return "Gap to centralized", apart, f"at the end: centralized {percent(central)}{broken}"


def last(report: Mapping[str, Any]) -> str:
    """Which version the last weights are, if they are not the current one, whose files the run's exports are."""
    if not (stages := report.get("stages")) or stages[-1]["version"] == current(report):
        return ""
    return f"version {stages[-1]['version']}, not current; "


def current(report: Mapping[str, Any]) -> int | None:
    """The number of the version whose files the exports are."""
    return int(report["current"]) if report.get("current") else None


def _worst(report: Mapping[str, Any]) -> tuple[str, str, str]:
    shares = {shard["client"]: shard["accuracy"] for shard in report.get("shards", []) if known(shard.get("accuracy"))}
    if not shares:
        return "Worst served client", NONE, "no client judged the model"
    worst = min(shares, key=lambda client: shares[client])
    return "Worst served client", percent(shares[worst]), f"client {worst}; mean {percent(fmean(shares.values()))}"


def _each(report: Mapping[str, Any]) -> str:
    sizes = [shard["examples"] for shard in report.get("shards", []) if known(shard.get("examples"))]
    return f"{span(sizes)} images each" if sizes else ""


def _smallest(report: Mapping[str, Any]) -> tuple[str, str, str]:
    sizes = {name: facts["bytes"] for name, facts in files(report).items() if known(facts.get("bytes"))}
    if not sizes:
        return "Model size", NONE, "nothing was exported"
    name = min(sizes, key=lambda one: sizes[one])
    version = current(report)
    return "Smallest model", size(sizes[name]), name + (f", version {version}" if version else "")


def files(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The exports that exist: what was refused has no size."""
    exports = report.get("exports") or {}
    return {name: facts for name, facts in exports.get("files", exports).items() if "bytes" in facts}
