"""The package as a wheel: what it needs is declared, and its command works from any folder."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
ROOMS = ("core", "fl", "clients", "server", "scenarios")
ASIDE = {"picamera2", "wandb"}  # a Raspberry Pi's own; installed by its own name (--track wandb)
VERSION = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]["version"]
BIN = Path(sys.executable).parent


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_package_that_the_code_imports_is_declared() -> None:
    project = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {canonical(match[0]) for line in lines if (match := re.match(r"[\w.-]+", line))}
    imported = set()
    for file in (file for room in ROOMS for file in (HOME / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {one.name.split(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).split(".")[0])
    outside, of = imported - set(sys.stdlib_module_names) - set(ROOMS) - ASIDE, packages_distributions()
    assert len(outside) > 15
    missing = {name for name in outside if not declared & {canonical(one) for one in of.get(name, [])}}
    assert not missing


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with our Makefile, no pins, and the Python of an environment that was made without pip."""
    shutil.copy(HOME / "Makefile", tmp_path)
    (tmp_path / "pins-edge.txt").touch()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    return tmp_path


def make_edge(folder: Path) -> subprocess.CompletedProcess[str]:
    """`make edge` as in a shell where that environment is active."""
    command = ["make", "edge", f"PYTHON={folder / 'bare' / 'bin' / 'python'}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_make_fills_an_environment_where_one_without_pip_is_active(bare: Path) -> None:
    done = make_edge(bare)
    assert done.returncode == 0 and (bare / ".venv-edge" / "installed").exists(), done.stderr


def test_make_leaves_no_new_environment_that_it_could_not_fill(bare: Path) -> None:
    (bare / "pins-edge.txt").write_text("-r missing.txt\n")
    assert make_edge(bare).returncode and not (bare / ".venv-edge").exists()


def test_make_keeps_an_environment_that_was_there_where_it_cannot_fill_it(bare: Path) -> None:
    (bare / "pins-edge.txt").write_text("-r missing.txt\n")
    (bare / ".venv-edge").mkdir()
    assert make_edge(bare).returncode and (bare / ".venv-edge").exists()


@pytest.mark.slow
def test_the_command_of_a_wheel_runs_a_scenario_from_another_folder(tmp_path: Path) -> None:
    source, home, elsewhere = tmp_path / "source", tmp_path / "environment", tmp_path / "elsewhere"
    for room in ROOMS:
        shutil.copytree(HOME / room, source / room, ignore=shutil.ignore_patterns("__pycache__", "ort"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(HOME / name, source)
    code = f"from setuptools.build_meta import build_wheel; print(build_wheel({str(tmp_path)!r}))"
    built = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    wheel = tmp_path / built.stdout.split()[-1]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    (own,) = (BIN.parent / "lib").glob("python*/site-packages")
    (packages / "own.pth").write_text(f"{own}\n")  # what it needs is taken from here
    install = [BIN / "uv", "pip", "install", "--quiet", "--no-deps", "--offline", "--python", home, wheel]
    subprocess.run(install, check=True)
    elsewhere.mkdir()
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def fedlearn(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [home / "bin" / "fedlearn", *words], cwd=elsewhere, env=variables, capture_output=True, text=True
        )

    changes = ["train=1500", "test=300", "validation=200", "clients=4", "cohort=2"]
    options = ["--rounds", "2", "--baselines", "none", "--export", "none"]
    done = fedlearn("run", "noniid", *options, *(word for one in changes for word in ("--set", one)))
    assert done.returncode == 0 and (elsewhere / "runs" / "noniid-0" / "report.html").exists(), done.stderr
    refused = fedlearn("deploy", "--home", str(elsewhere / "federation"), "run", "pi")
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "unknown command 'walk'; choose from bench, compare" in fedlearn("walk").stderr
    assert fedlearn("--version").stdout == f"federated-continual {VERSION}\n"
