"""A finished run's report, page and card, after something of it has changed: another current version, other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from server import record
from server.report import card, page


def renew(run: Path, *events: str, **facts: Any) -> None:
    """Write them anew with more events, and other facts. A run that is not finished, is damaged, or an older program's has none."""
    try:
        report = record.load(run).with_(*events, **facts)
    except (FileNotFoundError, ValueError):
        return
    if "total" not in report.seconds:
        return
    record.save(run, report)
    page.write(report, run)
    card.save(report, run)
