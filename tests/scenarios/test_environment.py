"""What the libraries are told, in this process and in its workers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scenarios.environment import SETTINGS, prepare


def test_settings_reach_this_process_and_its_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.chdir(tmp_path)
    variables = prepare(Path("run"))
    assert variables["CLIENTS_HOME"] == str(tmp_path / "run" / "clients")  # a worker may be elsewhere
    assert SETTINGS.items() <= variables.items() and SETTINGS.items() <= os.environ.items()


def test_without_a_run_clients_keep_the_home_they_have(home: Path) -> None:
    assert "CLIENTS_HOME" not in prepare()
    assert os.environ["CLIENTS_HOME"] == str(home)
