"""The page in a real browser: its curves are followed, and it is whole in the dark, on a telephone, on paper, without scripts."""

from __future__ import annotations

import json
import re
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from server.report import page
from server.report.figures import draw
from tests.reports import fake, read, staged
from tests.tools import BROWSER, MODULES, needed

LOOK = Path(__file__).parents[1] / "page" / "report.mjs"


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
    chromium, node, _ = needed(BROWSER), needed("node"), needed(str(MODULES / "playwright-core"))
    report = staged(fake())
    report["history"][-1]["accuracy"] = None  # it broke in its last round
    draw(read(report), tmp_path)
    file = page.write(read(report), tmp_path)
    _spoil(file)
    command = [node, LOOK, file.as_uri(), chromium, MODULES, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen["faults"] == []
    assert len(seen["problems"]) == 3 and all(
        "TypeError" in one for one in seen["problems"]
    )  # the spoiled one's, a window each
    assert seen["fields"] == 2  # the others have theirs
    assert set(seen["requested"]) <= {"file", "data"}

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
