"""A run's folder: nobody's is overwritten, and what cannot be one is refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.scenario import Scenario
from scenarios.studies import one_run, results
from server.run_folder import InUse, driver_lock, free_name, new_folder


def test_each_new_folder_is_another(tmp_path: Path) -> None:
    names = [new_folder(tmp_path / "runs" / "quick-0").name for _ in range(3)]
    assert names == ["quick-0", "quick-0-2", "quick-0-3"]


def test_a_link_whose_place_is_gone_is_never_a_runs_folder(tmp_path: Path) -> None:
    """As with a disk that is not mounted: it is named, and nobody tries for ever."""
    (tmp_path / "runs").symlink_to(tmp_path / "not mounted")
    with pytest.raises(ValueError, match="runs cannot hold a run's folder: File exists"):
        new_folder(tmp_path / "runs" / "quick-0")
    (tmp_path / "quick-0").symlink_to(tmp_path / "not mounted")
    assert free_name(tmp_path / "quick-0").name == new_folder(tmp_path / "quick-0").name == "quick-0-2"


def test_a_study_waits_for_a_folder_in_use_and_for_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_run, "PAUSE", 0.0)
    settings, code = Scenario("one").json(), results.code()
    with driver_lock(tmp_path / "cell"):
        assert one_run.work(settings, tmp_path / "cell", code) == one_run.BUSY
    (tmp_path / "cells").symlink_to(tmp_path / "not mounted")
    with pytest.raises(ValueError, match="cannot be used as a run's folder") as refusal:
        one_run.work(settings, tmp_path / "cells" / "one", code)
    assert not isinstance(refusal.value, InUse)
