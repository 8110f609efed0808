"""Flower's own command in a fresh copy of this project, in its own simulation: it runs, and to the bits of ours."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.config.scenario import Scenario
from scenarios.backends import local
from scenarios.backends.grid import serve
from scenarios.environment import SETTINGS
from scenarios.presets import SCENARIOS
from server import record, run
from tests.fakes import Onlooker

pytestmark = pytest.mark.slow

HOME = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a clone has."""
    found = tmp_path / "clone"
    for room in ("core", "fl", "clients", "server", "scenarios"):
        shutil.copytree(HOME / room, found / room, ignore=shutil.ignore_patterns("__pycache__", "ort"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(HOME / file, found)
    return found


def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def environment(checkout: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Flower's local SuperLink as `flwr run` starts it, but that it installs nothing: what the app needs is here."""
    home, control = tmp_path / "flwr", port()
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{control}"\ninsecure = true\n'
    )
    variables = os.environ | SETTINGS | {"FLWR_HOME": str(home), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    words = ["--insecure", "--simulation", "--isolation", "subprocess", "--disable-runtime-dependency-installation"]
    addresses = ["--host", "127.0.0.1", "--port", str(control)]
    with (
        (tmp_path / "superlink.log").open("wb") as log,
        subprocess.Popen(
            [BIN / "flower-superlink", *words, *addresses], cwd=checkout, env=variables, stdout=log, stderr=log
        ) as link,
    ):
        end = time.monotonic() + 60
        while time.monotonic() < end and link.poll() is None:
            with closing(socket.socket()) as probe:
                if not probe.connect_ex(("127.0.0.1", control)):
                    break
            time.sleep(0.2)
        yield variables
        link.terminate()


def test_flwr_build_has_nothing_to_say_against_it(checkout: Path) -> None:
    done = subprocess.run([BIN / "flwr", "build"], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0 and "arning" not in done.stdout + done.stderr, done.stdout + done.stderr
    assert [file for file in checkout.iterdir() if file.suffix == ".fab"]


def test_flwr_run_leaves_a_run_with_the_weights_of_our_simulation(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    config = f'scenario="quick" set="rounds=4 partition.alpha=1.0" out="{folder}"'
    done = subprocess.run(
        [BIN / "flwr", "run", ".", "--stream", "--run-config", config],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (folder / "report.json").exists(), done.stdout[-3000:] + done.stderr[-3000:]
    report = record.load(folder)
    assert report.events == () and len(report.history) == 4
    (tmp_path / "alone").mkdir()
    scenario = Scenario.read(folder / "scenario.json")
    assert scenario == SCENARIOS["quick"][0].with_(("rounds", "4"), ("partition.alpha", "1.0"))
    with local.opened(scenario, 1, {"CLIENTS_HOME": str(tmp_path / "clients")}) as backend:
        serve(run.build(scenario, tmp_path / "alone", Onlooker()), backend.grid)
    assert record.load(tmp_path / "alone").weights_sha256 == report.weights_sha256
