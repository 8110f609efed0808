"""The page in a real browser: its curves are followed, and it is whole in the dark, on a telephone, on paper, without scripts."""

from __future__ import annotations

import json
import re
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from core.config.part import Part
from scenarios import compare
from server.report import page
from server.report.figures import draw
from tests.reports import fact, fake, read, saved, staged, stream
from tests.tools import BROWSER, MODULES, needed

PAGES = Path(__file__).parents[1] / "page"


def look(script: str, file: Path) -> dict[str, Any]:
    """What a script of tests/page sees of this page; its screenshots lie beside it. Nothing may be asked for but the page."""
    chromium, node, _ = needed(BROWSER), needed("node"), needed(str(MODULES / "playwright-core"))
    command = [node, PAGES / script, file.as_uri(), chromium, MODULES, file.parent]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen["faults"] == [] and set(seen["requested"]) <= {"file", "data"}
    return seen


def _spoil(file: Path) -> None:
    """Give the first figure a line without points, and set a figure whose data make no sense after it."""
    text = file.read_text()
    (found,) = re.findall(r'data-curves="([^"]+)"', text)[:1]
    curves = json.loads(unescape(found))
    curves["lines"].append({"name": "empty", "colour": "#000", "dash": "-", "points": []})
    text = text.replace(found, escape(json.dumps(curves)), 1)
    file.write_text(text.replace("</figure>", '</figure><figure data-curves="{}"></figure>', 1))


@pytest.mark.slow
def test_the_page_is_whole_wherever_it_is_read(tmp_path: Path) -> None:
    report = staged(fake())
    report["history"][-1]["accuracy"] = None  # it broke in its last round
    draw(read(report), tmp_path)
    file = page.write(read(report), tmp_path)
    _spoil(file)
    seen = look("report.mjs", file)
    assert len(seen["problems"]) == 3 and all(
        "TypeError" in one for one in seen["problems"]
    )  # the spoiled one's, a window each
    assert seen["fields"] == 2  # the others have theirs

    first, second, last = (report["history"][i]["accuracy"] for i in (0, 1, -2))
    central = report["curves"]["centralized"][0]["accuracy"]
    assert seen["desk"] == {"picture": False, "curves": True}
    ends = f"federated {100 * last:.2f} %, centralized {100 * report['baselines']['centralized']:.2f} %, local 61.34 %, empty –"
    assert seen["end"] == seen["left"] == f"At the end: {ends}"
    start = f"federated {100 * first:.2f} %, centralized {100 * central:.2f} %, local 61.34 %, empty –"
    assert seen["hovered"] == seen["finger"] == f"Round 1: {start}"
    assert seen["keys"][0] == seen["hovered"] and seen["keys"][1].startswith(f"Round 2: federated {100 * second:.2f} %")
    assert seen["keys"][2].endswith(ends) and seen["keys"][3].startswith(f"Round 19: federated {100 * last:.2f} %")
    assert seen["keys"][4] == seen["end"] and seen["hidden"] == 1
    assert seen["examples"] == f"After {report['history'][0]['seen']:,} gradient examples: {start}"

    assert seen["print"] == {
        "picture": True,
        "curves": False,
        "cut": [0] * len(seen["cut"]),
        "paper": "rgb(255, 255, 255)",
    }
    assert seen["dark"] == ["rgb(20, 23, 26)", "rgb(255, 255, 255)"]
    assert seen["width"] == 390 and not any(seen["phone"]) and not any(seen["cut"]) and len(seen["cut"]) >= 4
    assert seen["plain"] == {"picture": True, "fields": 0}


@pytest.mark.slow
def test_the_page_of_a_comparison_is_whole_wherever_it_is_read(tmp_path: Path) -> None:
    prox = Part("fedprox", {"mu": 0.1})
    reports = [stream(0.9, "replay"), stream(0.94, "replay", 1), stream(0.8, "ewc"), fact(0.7, 0, 0.97, strategy=prox)]
    folders = saved(tmp_path, **{f"run{i}": report for i, report in enumerate(reports)})
    assert compare.main([*folders, "--out", str(tmp_path), "--html", str(tmp_path / "all.html")]) == 0
    seen = look("comparison.mjs", tmp_path / "all.html")
    assert seen["problems"] == [] and seen["pictures"] == [True, True]
    assert len(seen["cut"]) >= 5 and not any(seen["cut"]) and not any(seen["phone"]) and seen["width"] == 390
    assert not any(seen["print"]["cut"]) and seen["print"]["paper"] == "rgb(255, 255, 255)"
    assert seen["dark"] == "rgb(20, 23, 26)"
