"""What a person reads when a run or an export is over: tables, from the facts alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from server.report.figures.local_baseline import CLEAR

Facts = Mapping[str, Any]


def closing(facts: Facts) -> Table:
    """The run in a dozen lines; what is of a version says of which."""
    table = Table(title=f"{facts['scenario']}, seed {facts['seed']}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    diverged = list(facts.get("diverged", {}).values())
    rows = [("DIVERGED", why) for why in diverged]
    rows += [*_compared(facts), *_stages(facts), *_clients(facts)]
    seen = facts["history"][-1]["seen"] if facts["history"] else 0
    rows.append(
        ("rounds, clients", f"{facts['rounds']} rounds, {facts['clients']} clients, {seen:,} gradient examples")
    )
    rows.append(("time", ", ".join(f"{name} {spent:.0f} s" for name, spent in facts["seconds"].items())))
    rows += _exports(facts)
    events = [event for event in facts["events"] if event not in diverged]
    rows += [("note", event) for event in events[:5]]
    if len(events) > 5:
        rows.append(("note", f"… and {len(events) - 5} more in report.html"))
    for row in [*rows, ("folder", facts["folder"])]:
        table.add_row(*row)
    return table


def _compared(facts: Facts) -> Iterator[tuple[str, str]]:
    """Last weights with last, best with best: the run's, and how far they are from each baseline's."""
    mine, best = facts["accuracy"], facts.get("best") or {}
    loss = "not finite" if facts["loss"] is None else f"{facts['loss']:.4f}"
    yield "test accuracy", f"{100 * mine:.2f} % at the end   (loss {loss}{_last(facts)})"
    if found := best.get("federated"):
        yield "", f"{100 * found['accuracy']:.2f} % at its best round by validation loss, {found['round']}"
    for name, accuracy in facts["baselines"].items():
        on = ", on all ten digits" if name == "local" else ""
        broken = "; it diverged" if name in facts.get("diverged", {}) else ""
        yield f"{name} baseline", f"{_against(mine, accuracy)} at the end{on}{broken}"
        if found and (other := best.get(name)):
            against = _against(found["accuracy"], other["accuracy"])
            when = (
                f"its best round by validation loss, {other['round']}"
                if "round" in other
                else "each client's best round"
            )
            yield "", f"{against} at {when}"


def _against(mine: float, accuracy: float) -> str:
    return f"{100 * accuracy:.2f} %   ({100 * (mine - accuracy):+.2f} points)"


def _stages(facts: Facts) -> Iterator[tuple[str, str]]:
    if staged := facts.get("continual"):
        measures, sent = staged["measures"], staged["megabytes"]
        mean, lost = 100 * measures["average_accuracy"], 100 * measures["forgetting"]
        yield "tasks", f"{len(staged['tasks'])}; at the end {mean:.2f} % on average, {lost:.2f} points forgotten"
        yield "memory", f"{staged['memory_bytes'] / 1000:,.0f} kB a client"
        yield "traffic", f"{sent['sent']:,.0f} MB to clients, {sent['received']:,.0f} MB from them"


def _clients(facts: Facts) -> Iterator[tuple[str, str]]:
    """The model at the end for each client; and each client's own model, on the same images."""
    shards, alone = facts.get("shards", []), facts.get("local_own_accuracies", [])
    own = [shard["accuracy"] for shard in shards]
    if own:
        yield "on clients' own digits", f"mean {100 * sum(own) / len(own):.2f} %, worst {100 * min(own):.2f} %"
    if own and alone:
        mine = [alone[shard["client"]] for shard in shards]
        helped = sum(joined - one >= CLEAR for joined, one in zip(own, mine, strict=True))
        yield "", f"alone {100 * sum(mine) / len(mine):.2f} %; joining clearly helps {helped} of {len(mine)} there"


def _last(facts: Facts) -> str:
    """Which version the last weights are, and that it is not the current one, if so."""
    if not facts.get("stages"):
        return ""
    number = facts["stages"][-1]["version"]
    refused = "" if facts["current"] and int(facts["current"]) == number else ", which is not current"
    return f"; version {number}{refused}"


def _exports(facts: Facts) -> Iterator[tuple[str, str]]:
    """The current version and its files, which need not be the last weights."""
    current = int(facts.get("current") or 0)
    version = f"version {current}: " if current else ""
    for stage in facts.get("stages", []):
        if stage["version"] == current:
            yield "current", f"{version}{100 * stage['accuracy']:.2f} % after round {stage['round']}"
    if facts.get("stages") and not current:
        yield "current", "no version: none passed the gate, so there are no files"
    for name, one in facts["exports"].get("files", {}).items():
        yield name, f"{version}{100 * one['accuracy']:.2f} %, {one['bytes'] / 1000:,.0f} kB, {one['latency_ms']:.2f} ms"
    for name, why in facts["exports"].get("refused", {}).items():
        yield f"{name} REFUSED", f"{version}{why}"
    yield "weights", f"{facts['weights_sha256'][:16]}…   (at the end{_last(facts)})"


def files(exports: Facts, source: str) -> Table:
    """The exported files, each with what was measured of it. source: of which model they are, in words."""
    table = Table(title=f"exports of {source}", title_justify="left")
    for name in ("file", "kB", "accuracy", "greatest difference", "agreement", "batch-1 ms", "× tf.function"):
        table.add_column(name, justify="left" if name == "file" else "right", no_wrap=name == "file")
    for name, one in exports["files"].items():
        table.add_row(
            name, f"{one['bytes'] / 1000:,.0f}", f"{100 * one['accuracy']:.2f} %", f"{one['difference']:.1e}",
            f"{100 * one['agreement']:.2f} %", f"{one['latency_ms']:.3f}", f"{one['speedup']:.1f}",
        )  # fmt: skip
    for name, why in exports["refused"].items():
        table.add_row(f"{name} REFUSED", why)
    return table
