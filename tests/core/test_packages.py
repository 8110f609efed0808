"""The command that a person is told to install with installs into the environment that told it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from core import packages
from core.packages import pip_install

HOME = Path(__file__).parents[2]


def test_an_environment_with_pip_installs_into_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: object())
    assert pip_install("wandb", "a b") == f"{sys.executable} -m pip install wandb 'a b'"


def test_the_command_of_an_environment_without_pip_works_where_that_is_active(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    (wheel := tmp_path / "nothing-1-py3-none-any.whl").touch()
    bin_folder = tmp_path / "bare" / "bin"
    active = os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}", "PYTHONPATH": str(HOME)}
    code = f"from core.packages import pip_install; print(pip_install('--no-index', {str(wheel)!r}))"
    command = subprocess.run(["python", "-c", code], env=active, capture_output=True, text=True, check=True).stdout
    assert f"--python {bin_folder}/" in command
    told = subprocess.run(shlex.split(command), env=active, capture_output=True, text=True).stderr
    assert (
        "nothing-1-py3-none-any.whl" in told and "No module named pip" not in told
    )  # pip looked at it; it is no wheel
