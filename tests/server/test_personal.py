"""What a report says of personal models: picture, table, headline, closing table, card; nothing, where there are none."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from scenarios.closing import closing
from scenarios.trackers import values
from server.report import card
from server.report.figures import PLOTS, draw, style
from server.report.figures.personal import clients, shares, worst_tenth
from tests.reports import fake, html, read

SHARE = "accuracy (share of the client's test images)"
KINDS = ["its personal model", "the global model", "trained alone"]


def personal(count: int = 12, **changes: Any) -> dict[str, Any]:
    """A run whose clients' personal models read 99 %, but one, which reads 50 %."""
    report = fake(count, 3)
    shards = [one | {"personal_accuracy": 0.5 if one["client"] == 3 else 0.99} for one in report["shards"]]
    return report | {"shards": shards} | changes


def test_the_worst_tenth_is_a_mean_over_a_tenth_of_clients_and_at_least_one() -> None:
    assert worst_tenth([0.5]) == worst_tenth([0.9, 0.5]) == 0.5
    assert worst_tenth([*np.arange(1, 11) / 10]) == pytest.approx(0.1)
    assert worst_tenth([*np.arange(1, 12) / 100]) == pytest.approx(0.015)  # two of eleven


def test_its_picture_has_each_kind_of_model_for_each_client(tmp_path: Path) -> None:
    facts = personal()
    draw(read(facts), tmp_path)
    with (tmp_path / "personal.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {kind: {int(r["client"]): float(r[SHARE]) for r in rows if r["model"] == kind} for kind in KINDS}
    assert found["its personal model"] == {one["client"]: one["personal_accuracy"] for one in facts["shards"]}
    assert found["the global model"] == {one["client"]: one["accuracy"] for one in facts["shards"]}
    assert found["trained alone"] == dict(enumerate(facts["local_own_accuracies"])) and len(rows) == 36
    with style.applied():
        (axes,) = PLOTS["personal"](read(facts)).draw().axes  # type: ignore[union-attr]
    drawn = [dots.get_offsets()[:, 1].tolist() for dots in axes.collections[1:]]
    order = [one.number for one in clients(read(facts))]
    assert drawn == [pytest.approx([100 * found[kind][client] for client in order]) for kind in reversed(KINDS)]


def test_without_the_baseline_there_are_two_kinds_and_without_personal_models_nothing(tmp_path: Path) -> None:
    report = read(personal(local_own_accuracies=[], local_accuracies=[]))
    assert list(shares(clients(report))) == ["personal", "joined"]
    assert PLOTS["personal"](read(fake(4, 2))) is None and shares(clients(read(fake(4, 2)))) == {}
    assert "ersonal" not in html(fake(4, 2), tmp_path)


def test_the_page_says_mean_worst_tenth_and_worst(tmp_path: Path) -> None:
    text = html(personal(), tmp_path).replace("\N{NO-BREAK SPACE}", " ")
    row = text.partition("Personal models")[2].partition(">its personal model<")[2].partition("</tr>")[0]
    cells = [cell.partition("</td>")[0] for cell in row.split("<td>")[1:]]
    assert cells == ["94.92 %", "74.50 %", "50.00 %"]  # 11 · 0.99 and 0.5 of 12; the worst two; the worst
    headline = text.partition("<h1>")[2].partition("</h1>")[0]
    assert "personal models read 94.92 %" in headline and "the global one" not in headline  # said of the baseline
    bare = html(personal(local_own_accuracies=[], baselines={}), tmp_path).partition("<h1>")[2].partition("</h1>")[0]
    assert "the global one 98." in bare
    assert ">50.00 %<" in text.partition(">Clients<")[2]


def test_the_closing_table_the_card_and_trackers_say_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    report = read(personal())
    Console(width=200).print(closing(report))
    output = capsys.readouterr().out
    assert (
        "its personal model: mean 94.92 %, worst tenth 74.50 %, worst 50.00 %" in output
        and "the global model: mean" in output
    )
    assert "personal model, which is not among these files: there 94.92" in card.card(report).replace(
        "\N{NO-BREAK SPACE}", " "
    )
    assert values.final(report)["final/clients_personal_accuracy_min"] == 0.5
    assert "final/clients_personal_accuracy_min" not in values.final(read(fake(4, 2)))
