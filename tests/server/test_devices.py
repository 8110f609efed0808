"""A run on devices has a row for each, and its rounds behind it; a simulation has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.report.page.devices import spans
from tests.reports import fake, html


def deployed() -> dict:
    """Client 1 is away in rounds 2 and 3, and has lost images when it comes back."""
    report = fake(2, 4)
    for number, row in enumerate(report["history"], 1):
        there = [0] if number in (2, 3) else [0, 1]
        row |= {
            "clients": there, "clients_seconds": {c: 8.0 + c for c in there}, "clients_work": dict.fromkeys(there, 2.0),
            "clients_examples": dict.fromkeys(there, 100 + number), "memory": dict.fromkeys(there, 157000),
            "battery": {1: 0.5 + number / 10} if 1 in there else {},
            "failed": {} if 1 in there else {1: "its node is not there"},
        }  # fmt: skip
    report["history"][3] |= {"said": {1: "has lost 3 images of its folder"}, "unprepared": [1]}
    return report


def test_each_device_has_a_row_and_its_rounds(tmp_path: Path) -> None:
    text = html(deployed(), tmp_path).replace("\N{NO-BREAK SPACE}", " ")
    part = text.partition("<h2>Devices</h2>")[2].partition("<h2>")[0]
    first, second = (part.partition(f'<th scope="row">{client}</th>')[2].partition("</tr>")[0] for client in (0, 1))
    assert "4 of 4" in first and "never" in first and "8.0 s" in first and "2.0 s" in first and "157 kB" in first
    assert "2 of 4" in second and ">2–3<" in second and "9.0 s" in second and "60.00 %" in second
    rounds = part.partition("Device 1</summary>")[2]
    assert rounds.count("its node is not there") == 2
    assert "has lost 3 images of its folder; began with an empty memory" in rounds
    assert "Devices" not in html(fake(2, 4), tmp_path)


@pytest.mark.parametrize("numbers, text", [([], ""), ([3], "3"), ([3, 4], "3–4"), ([1, 3, 5, 6, 7, 9], "1, 3, 5–7, 9")])
def test_rounds_in_few_words(numbers: list[int], text: str) -> None:
    assert spans(iter(numbers)) == text
