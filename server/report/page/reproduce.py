"""The end of the page: how to run this again, and with what it was run."""

from __future__ import annotations

import json
import shlex

from server.record import Report, plain
from server.report.figures.formatting import NONE, duration, flat
from server.report.page.html import Html, fold, join, table, tag


def command(report: Report) -> str:
    """The command line that repeats this run. It sets every value, so that it holds whatever the named scenario says by then."""
    settings = flat(plain(report.settings))
    words = ["python", "-m", "scenarios.run", report.name]
    if settings.pop("past") != "0":
        words += ["--from", report.source or "RUN"]
    for key, text in settings.items():
        words += ["--set", f"{key}={text}"] * (key != "name")
    return shlex.join(words)


def reproduce(report: Report) -> Html:
    """The command line, and the digest to compare."""
    pieces = command(report).replace(" --", "\n--").split("\n")  # a line may break between options only
    shown = Html(" ".join(tag("span", piece) for piece in pieces))
    parts = [tag("h2", "Run it again"), tag("pre", shown, class_="command", tabindex=0)]
    if digest := report.weights_sha256:
        parts.append(tag("p", "SHA-256 of the final weights, to compare: ", tag("code", digest), class_="soft"))
    return join(parts)


def settings(report: Report) -> Html:
    """Settings, seconds and versions, folded."""
    parts = [fold("Settings", tag("pre", json.dumps(plain(report.settings), indent=2, ensure_ascii=False), tabindex=0))]
    if seconds := report.seconds:
        spent = [(name, duration(value)) for name, value in seconds.items()]
        parts.append(fold("Where the time went", table(["Part", "Time"], spent)))
    if versions := report.versions:
        parts.append(fold("Versions", table(["Package", "Version"], [(k, v or NONE) for k, v in versions.items()])))
    return join(parts)
