"""docs/report.md says what a report is: every picture, every column of the numbers beside it, every key of --json."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.config.scenario import Scenario
from scenarios.experiment.pipeline import brief
from server.record import Report
from server.report.figures import PLOTS
from tests.reports import fake, read, staged

PAGE = (Path(__file__).parents[1] / "docs" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PLOTS)
def test_every_picture_is_explained_with_its_files_columns(name: str) -> None:
    heading = (inspect.getdoc(PLOTS[name]) or "").partition("\n")[0]
    part = PAGE.partition(f"### {heading}\n")[2].partition("\n#")[0]
    assert part.strip().startswith(f"`{name}`")
    picture = PLOTS[name](read(staged(fake())))
    assert picture is not None
    _, separator, columns = part.partition("\nCSV: ")
    assert tuple(re.findall(r"`(.*?)`", columns)) == picture.columns and bool(separator) == bool(picture.columns)


def keys(name: str, hint: Any) -> Iterator[str]:
    """The keys of a value of this type; NAME for those that depend on the run."""
    if isinstance(hint, types.UnionType):
        hint = next(one for one in typing.get_args(hint) if one is not type(None))
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        for field, inner in typing.get_type_hints(hint).items():
            yield from keys(f"{name}.{field}", inner)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield from keys(f"{name}.NAME", typing.get_args(hint)[1])
    else:
        yield name


def test_every_key_that_json_prints_is_explained_and_no_other() -> None:
    hints = typing.get_type_hints(Report)
    printed = [key for name in brief(Report(Scenario("x"))) for key in keys(name, hints.get(name, int))]
    part = PAGE.partition("## `--json`")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\S+)` \| (.+?) \| (.*?) ?\|$", part, re.MULTILINE)
    assert [key for key, *_ in rows] == printed and all(len(meaning) > 8 for _, meaning, _ in rows)
