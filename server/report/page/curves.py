"""Curves that can be followed on the page: what curves.js gets of a picture, and that script, the only one the page may run."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from server.record import plain
from server.report.figures import style
from server.report.figures.lines import Line
from server.report.figures.picture import Picture
from server.report.page.html import Html

# Letters and axes change with the reader's light; lines in their colour do so too.
THEMED = {style.INK: "var(--ink)", style.GREY: "var(--soft)"}


@lru_cache(maxsize=1)
def script() -> Html:
    """The script as it stands in the page."""
    return Html(Path(__file__).with_name("curves.js").read_text(encoding="utf-8"))


def source() -> str:
    """The script as a Content-Security-Policy names it: by its digest, so that no other one runs."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()}'"


def data(picture: Picture) -> str:
    """What the script is given, as JSON: the very lines that the picture is drawn from."""
    assert picture.curves
    shares = [share for line in picture.curves.lines for share in line.values("accuracy")]
    nines = picture.curves.limits is None and style.in_nines(shares)
    facts = {
        "title": picture.title, "nines": nines, "limits": picture.curves.limits, "stages": picture.curves.stages,
        "ticks": style.TICKS if nines else None, "lines": [_line(line) for line in picture.curves.lines],
        "bands": [line.band for line in picture.curves.lines if line.band],
    }  # fmt: skip
    return json.dumps(plain(facts), ensure_ascii=False, separators=(",", ":"))


def _line(line: Line) -> dict[str, Any]:
    points = [[p.round, p.seen, p.accuracy, *((p.low, p.high) if line.band else (None, None))] for p in line.points]
    return {"name": line.name, "colour": THEMED.get(line.colour, line.colour), "dash": line.dash, "points": points}
