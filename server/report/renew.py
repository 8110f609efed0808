"""A finished run's report, page and card, after something of it has changed: another current version, other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from server import record, run_folder
from server.report import card, page


def renew(run: Path, *events: str, **facts: Any) -> None:
    """Write them anew with more events, and other facts. A run that is not finished, is damaged, or an older program's has none."""
    if (before := record.finished(run)) is None:
        return
    report = before.with_(*events, **facts)
    record.save(run, report)  # of one that was put aside, too: it is finished
    (run / run_folder.ASIDE).unlink(missing_ok=True)
    page.write(report, run)
    card.save(report, run)
