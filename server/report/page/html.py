"""HTML in plain Python: every text is escaped on its way in, so no part of a report can become markup."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

SCALE = 0.63  # CSS pixels for a pixel of a picture: a wide one fills the page, and dense screens show it sharp


class Html(str):
    """Text that is HTML already."""


def tag(name: str, *inside: Any, **attributes: Any) -> Html:
    """<name attributes>inside</name>; what is not Html is escaped. A trailing _ of a keyword is dropped: class_."""
    pairs = "".join(f' {key.rstrip("_")}="{escape(str(value))}"' for key, value in attributes.items())
    return Html(f"<{name}{pairs}>{join(inside)}</{name}>")


def join(parts: Iterable[Any]) -> Html:
    """The parts one after the other; what is not Html is escaped."""
    return Html("".join(part if isinstance(part, Html) else escape(str(part)) for part in parts))


def page(title: str, policy: str, style: str, *body: Html) -> str:
    """A whole page. policy: the Content-Security-Policy; what it does not name, the browser does not load or run."""
    head = join([
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}"><link rel="icon" href="data:,">'),
        tag("title", title),
        tag("style", Html(style)),
    ])  # fmt: skip
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{join(body)}</body></html>\n'


def scrolls(kind: str, label: str, inside: Html) -> Html:
    """A box that scrolls where its content is too wide, by keys too. kind: its class."""
    return tag("div", inside, class_=kind, tabindex=0, role="region", **{"aria-label": label})


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], label: str = "") -> Html:
    """A table that scrolls in its own box. The first column names the row; columns of words are set in `words`.

    label: its name for who cannot see it; by default its first head, where no other table on the page begins with the same.
    """
    top = tag("tr", *(tag("th", text, scope="col") for text in head))
    body = (tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows)
    return scrolls("table", label or head[0], tag("table", tag("thead", top), tag("tbody", *body)))


def words(text: str) -> Html:
    """A table cell's text that is prose, not a number."""
    return tag("span", text, class_="words")


def fold(summary: str, *inside: Any) -> Html:
    """A part that opens on a click."""
    return tag("details", tag("summary", summary), *inside)


def image(path: Path, alt: str, svg: bool = False) -> Html:
    """The PNG, embedded in the page, all at one scale; svg: instead of it the SVG beside it, as a picture of its own, so that
    two of them may use the same ids."""
    octets = path.read_bytes()
    width = round(SCALE * int.from_bytes(octets[16:20], "big"))  # PNG: its width comes first
    kind, octets = ("svg+xml", path.with_suffix(".svg").read_bytes()) if svg else ("png", octets)
    source = f"data:image/{kind};base64,{base64.b64encode(octets).decode()}"
    return Html(f'<img src="{source}" alt="{escape(alt)}" style="--width: {width}px">')
