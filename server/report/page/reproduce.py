"""The end of the page: how to run this again, and with what it was run."""

from __future__ import annotations

import json
import shlex
from itertools import chain, pairwise

from core.config.overrides import flat
from core.config.scenario import OF_SOURCE
from server.record import Report, plain
from server.report.figures.formatting import NONE, duration
from server.report.page.html import Html, fold, join, table, tag

KEPT = ("--plugin", "--baselines", "--export", "--backend", "--track")  # options that are no setting


def command(report: Report) -> str:
    """The command line that repeats this run. It sets every value, so that it holds whatever the named scenario says by then."""
    settings, short = flat(report.settings), [*(report.command or ("python", "-m", "scenarios.run", report.name))]
    start = short.index("run", 3) + 2 if "scenarios.deploy" in short else 4  # behind the preset's name
    words, others, preset = short[:start], short[start:], short[start - 1]
    if report.settings.past:
        words += ["--from", report.source or "RUN"]
    for key, text in settings.items():
        words += ["--set", f"{key}={text}"] * (key not in OF_SOURCE and (key != "name" or text != preset))
    kept = [[flag, value] for flag, value in pairwise(others) if flag in KEPT]
    return shlex.join([*words, *chain.from_iterable(kept)])


def reproduce(report: Report) -> Html:
    """The command line, and the digest to compare."""
    parts = [tag("h2", "Run it again")]
    full = _command_block(command(report))
    if report.command:
        parts += [_command_block(shlex.join(report.command))]
        why = "It does not depend on what the preset says by then."
        parts += [fold("The same with every setting said", tag("p", why, class_="soft"), full)]
    else:
        parts += [full]
    if digest := report.weights_sha256:
        parts.append(tag("p", "SHA-256 of the final weights, to compare: ", tag("code", digest), class_="soft"))
    return join(parts)


def _command_block(line: str) -> Html:
    """A command line, which may break between its options only."""
    pieces = line.replace(" --", "\n--").split("\n")
    return tag("pre", Html(" ".join(tag("span", piece) for piece in pieces)), class_="command", tabindex=0)


def settings(report: Report) -> Html:
    """Settings, seconds and versions, folded."""
    parts = [fold("Settings", tag("pre", json.dumps(plain(report.settings), indent=2, ensure_ascii=False), tabindex=0))]
    if times := report.times:
        spent = [(name, duration(value)) for name, value in times.items()]
        parts.append(fold("Where the time went", table(["Part", "Time"], spent)))
    if versions := report.versions:
        parts.append(fold("Versions", table(["Package", "Version"], [(k, v or NONE) for k, v in versions.items()])))
    return join(parts)
