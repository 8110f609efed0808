"""report.html: a run on one page that holds everything itself, opens anywhere, and needs no network.

It needs no scripts either: a browser that runs none shows the pictures; one that does lets their curves be followed.
"""

from __future__ import annotations

import inspect
from html import escape
from pathlib import Path

from core.disk import placed
from server import run_folder
from server.record import Report
from server.report.figures import PLOTS
from server.report.page import curves, devices, header, reproduce, tables
from server.report.page.html import Html, image, join, tag
from server.report.page.style import CSS

__all__ = ["write"]

# The browser itself is told to load nothing from anywhere, and to run one script only, by its digest.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {script}"


def write(report: Report, folder: Path) -> Path:
    """Write report.html beside the pictures that `figures.draw` left in the folder; those that are there are shown."""
    path = folder / run_folder.PAGE
    with placed(path) as file:
        file.write(_page(report, folder).encode())
    return path


def _page(report: Report, folder: Path) -> str:
    policy = escape(POLICY.format(script=curves.source()))
    head = join([
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}"><link rel="icon" href="data:,">'),
        tag("title", f"{report.name}, seed {report.seed}"),
        tag("style", Html(CSS)),
    ])  # fmt: skip
    parts = [header.subtitle, header.headline, header.notices, header.tiles]
    rest = [tables.baselines, tables.continual, tables.exports, tables.clients, devices.devices, reproduce.reproduce]
    folded = tag("section", tag("h2", "Details"), tables.rounds(report), reproduce.settings(report))
    pictures = [_picture(name, report, folder / f"{name}.png") for name in PLOTS if (folder / f"{name}.png").exists()]
    body = tag("main", *(part(report) for part in parts), *pictures, *(part(report) for part in rest), folded)
    script = tag("script", curves.script())
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}{script}</body></html>\n'


def _picture(name: str, report: Report, path: Path) -> Html:
    """A picture with the first line of its function's docstring as heading and the rest as the way to read it."""
    heading, _, caption = (inspect.getdoc(PLOTS[name]) or name).partition("\n")
    said = tag("figcaption", " ".join(caption.split()))
    about = PLOTS[name](report)  # None: the report has lost what the picture was drawn from
    followed = {"data-curves": curves.data(about)} if about and about.curves else {}
    finding = (
        tag("p", about.title, class_="finding") if about else Html("")
    )  # on a telephone, that in the picture is too wide
    # It scrolls in its own box where it is too wide, by keys too.
    box = {"class": "picture", "tabindex": 0, "role": "region", "aria-label": heading}
    shown = tag("div", image(path, about.alt if about else heading), **box)
    return tag("figure", tag("h2", heading), said, finding, shown, **followed)
