"""report.html: a run on one page that holds everything itself, opens anywhere, and needs no network and no scripts."""

from __future__ import annotations

import inspect
from pathlib import Path

from core.disk import placed
from server import run_folder
from server.record import Report
from server.report.figures import PLOTS
from server.report.page import devices, header, reproduce, tables
from server.report.page.html import Html, image, join, tag
from server.report.page.style import CSS

__all__ = ["write"]

# The browser itself is told to load nothing from anywhere.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def write(report: Report, folder: Path) -> Path:
    """Write report.html beside the pictures that `figures.draw` left in the folder; those that are there are shown."""
    path = folder / run_folder.PAGE
    with placed(path) as file:
        file.write(_page(report, folder).encode())
    return path


def _page(report: Report, folder: Path) -> str:
    head = join([
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><link rel="icon" href="data:,">'),
        tag("title", f"{report.name}, seed {report.seed}"),
        tag("style", Html(CSS)),
    ])  # fmt: skip
    parts = [header.subtitle, header.headline, header.notices, header.tiles]
    rest = [tables.baselines, tables.continual, tables.exports, tables.clients, devices.devices, reproduce.reproduce]
    folded = tag("section", tag("h2", "Details"), tables.rounds(report), reproduce.settings(report))
    pictures = [_picture(name, folder / f"{name}.png") for name in PLOTS if (folder / f"{name}.png").exists()]
    body = tag("main", *(part(report) for part in parts), *pictures, *(part(report) for part in rest), folded)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def _picture(name: str, path: Path) -> Html:
    """A picture with the first line of its function's docstring as heading and the rest as the way to read it."""
    heading, _, caption = (inspect.getdoc(PLOTS[name]) or name).partition("\n")
    said = tag("figcaption", " ".join(caption.split()))
    return tag("figure", tag("h2", heading), said, tag("div", image(path, heading), class_="picture"))
