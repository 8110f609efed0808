"""Each device of a federation of real nodes: what it held, learned and forgot, how long it took, when it was away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from server.record import Report, RoundRecord
from server.report.figures.formatting import NONE, duration, number, percent, size
from server.report.page.html import Html, fold, join, table, tag, words

HEAD = [
    "Device", "Answered", words("Away in rounds"), "Images", "Answer", "Of it work", "Memory", "Battery", "Own images"
]  # fmt: skip
HOW = (
    "A row a device, by the client that it plays. Images: that it learned from in its last round. Answer: from asking to its"
    " answer, the median; of it work: what it says it worked. Battery: the lowest. Own images: the finished model on its own"
    " test images."
)


def devices(report: Report) -> Html:
    """A row a device, and behind it its rounds; nothing for a simulation."""
    if not any(row.clients_seconds for row in report.history):
        return Html("")
    clients = sorted({client for row in report.history for client in (*row.clients, *row.failed)})
    accuracies = {shard.client: shard.accuracy for shard in report.shards}
    rows = [_device(client, report.history, accuracies.get(client)) for client in clients]
    folded = [fold(f"Device {client}", table(ROUND, _rounds(client, report.history))) for client in clients]
    return join([tag("h2", "Devices"), tag("p", HOW, class_="soft"), table(HEAD, rows), *folded])


def _device(client: int, history: Sequence[RoundRecord], accuracy: float | None) -> list[Any]:
    answered = [row for row in history if client in row.clients]
    asked = len(answered) + sum(client in row.failed for row in history)
    away = spans(row.round for row in history if client in row.failed)
    battery = [row.battery[client] for row in answered if client in row.battery]
    if not answered:
        return [client, f"0 of {asked}", words(away), *[NONE] * 6]
    last = answered[-1]
    return [
        client, f"{len(answered)} of {asked}", words(away or "never"), number(last.clients_examples.get(client)),
        _median(client, answered, "clients_seconds"),
        _median(client, answered, "clients_work"), size(last.memory.get(client, 0)),
        percent(min(battery)) if battery else NONE, percent(accuracy),
    ]  # fmt: skip


def _median(client: int, rows: Sequence[RoundRecord], attribute: str) -> str:
    values = [getattr(row, attribute)[client] for row in rows if client in getattr(row, attribute)]
    return duration(median(values)) if values else NONE


def spans(numbers: Iterator[int]) -> str:
    """Ascending numbers in few words: 3, 5–8."""
    ranges: list[list[int]] = []
    for n in numbers:
        if ranges and n == ranges[-1][-1] + 1:
            ranges[-1] = [ranges[-1][0], n]
        else:
            ranges.append([n])
    return ", ".join("–".join(map(str, ends)) for ends in ranges)


ROUND = ["Round", "Images", "Answer", "Of it work", "Memory", "Battery", "Own images", words("Remarks")]


def _rounds(client: int, history: Sequence[RoundRecord]) -> Iterator[list[Any]]:
    """The rounds that asked this client."""
    for row in history:
        if client not in row.clients and client not in row.failed:
            continue
        remarks = [group[client] for group in (row.failed, row.said, row.odd) if client in group]
        remarks += ["began with an empty memory"] * (client in row.unprepared)
        yield [
            row.round, number(row.clients_examples.get(client)), duration(row.clients_seconds.get(client)),
            duration(row.clients_work.get(client)), size(row.memory.get(client)), percent(row.battery.get(client)),
            percent(row.clients_accuracy.get(client)), words("; ".join(remarks)),
        ]  # fmt: skip
