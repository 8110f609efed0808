"""report.html: a run on one page that holds everything itself, opens anywhere, and needs no network.

It needs no scripts either: a browser that runs none shows the pictures; one that does lets their curves be followed.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from core.disk import placed
from server import run_folder
from server.record import Report
from server.report.figures import PLOTS
from server.report.page import curves, devices, header, html, reproduce, tables
from server.report.page.html import Html, tag
from server.report.page.style import CSS

__all__ = ["write"]

# The browser itself is told to load nothing from anywhere, and to run one script only, by its digest.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {script}"


def write(report: Report, folder: Path) -> Path:
    """Write report.html beside the pictures that `figures.draw` left in the folder, and show those that exist."""
    path = folder / run_folder.PAGE
    with placed(path) as file:
        file.write(_page(report, folder).encode())
    return path


def _page(report: Report, folder: Path) -> str:
    parts = [header.subtitle, header.headline, header.notices, header.tiles]
    rest = [tables.baselines, tables.personal, tables.continual, tables.costs, tables.exports, tables.clients]
    rest += [devices.devices, reproduce.reproduce]
    folded = tag("section", tag("h2", "Details"), tables.rounds(report), reproduce.settings(report))
    pictures = [_picture(name, report, folder / f"{name}.png") for name in PLOTS if (folder / f"{name}.png").exists()]
    body = tag("main", *(part(report) for part in parts), *pictures, *(part(report) for part in rest), folded)
    script = tag("script", curves.script())
    policy = POLICY.format(script=curves.source())
    return html.page(f"{report.name}, seed {report.seed}", policy, CSS, body, script)


def _picture(name: str, report: Report, path: Path) -> Html:
    """A picture with the first line of its function's docstring as heading and the rest as the way to read it."""
    heading, _, caption = (inspect.getdoc(PLOTS[name]) or name).partition("\n")
    picture = PLOTS[name](report)  # None: the report has lost what the picture was drawn from
    figcaption = tag("figcaption", " ".join([*caption.split(), *([picture.reading] if picture else [])]).strip())
    attributes = {"data-curves": curves.data(picture)} if picture and picture.curves else {}
    # On a telephone the finding inside the picture is too wide.
    finding = tag("p", picture.title, class_="finding") if picture else Html("")
    box = html.scrolls("picture", heading, html.image(path, picture.alt if picture else heading))
    return tag("figure", tag("h2", heading), figcaption, finding, box, **attributes)
