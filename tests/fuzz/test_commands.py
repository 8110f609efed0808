"""Random command lines, a few of them; `python -m tests.fuzz` takes many."""

from __future__ import annotations

import pytest

from tests.fuzz import commands


@pytest.mark.slow
def test_random_command_lines_end_well_or_with_a_sentence() -> None:
    counts = commands.run(seed=0, count=40)
    assert not [kind for kind, outcome in counts if outcome == "finding"]
    assert (
        counts["settings", "let in"] + counts["settings", "let in, with a note"] == 40
        and counts["run", "ended well"] == 2
    )
    assert counts["garbage", "exit code 2"] > 20 and counts["damaged run folder", "exit code 2"] > 4
