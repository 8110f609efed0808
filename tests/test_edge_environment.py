"""The environment of a device that only reads, made anew from its pins, passes its own tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import _pytest
import iniconfig
import pluggy
import py
import pytest

from core.config.scenario import Local, Scenario
from core.data import load
from server.export import onnx, tflite
from server.export.outgoing import Outgoing
from tests import models as model

HOME = Path(__file__).parents[1]
SCENARIO = Scenario("edge", train=6000, test=1000, validation=1500, local=Local(epochs=4, rate=0.05, momentum=0.9))
MEGABYTES = 400  # it takes about 350


def pins(name: str) -> set[str]:
    lines = (HOME / name).read_text().splitlines()
    return {line.partition(" ;")[0] for line in lines if line and not line.startswith("#")}


@pytest.mark.parametrize("name", ["pins-pi.txt", "pins-edge.txt"])
def test_a_device_s_pins_are_some_of_all(name: str) -> None:
    assert pins(name) < pins("pins.txt")


@pytest.mark.slow
def test_made_anew_it_passes_its_own_tests(tmp_path: Path) -> None:
    data, files, environment = load(SCENARIO), tmp_path / "files", tmp_path / "environment"
    files.mkdir()
    leaving = Outgoing(model.spec(), model.trained(SCENARIO, data.train), data.train.x, data.spec.labels)
    tflite.save(leaving, files / "model.tflite")
    tflite.save_int8(leaving, files / "model.int8.tflite")
    onnx.save(leaving, files / "model.onnx")
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(["make", "edge", f"EDGE={environment}"], cwd=HOME, check=True, env=variables)
    size = sum(file.lstat().st_size for file in environment.rglob("*") if file.is_file()) / 1e6
    assert size < MEGABYTES
    for package in (pytest, _pytest, pluggy, iniconfig):  # they are pure Python; the device itself has no use for them
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, tmp_path / "pytest" / source.name)
    shutil.copyfile(str(py.__file__), tmp_path / "pytest" / "py.py")
    variables |= {"PYTHONPATH": str(tmp_path / "pytest"), "EDGE_FILES": str(files)}
    command = [
        environment / "bin" / "python",
        "-m",
        "pytest",
        "--noconftest",
        "-p",
        "no:cacheprovider",
        "tests/edge.py",
    ]
    found = subprocess.run(command, cwd=HOME, env=variables, capture_output=True, text=True)
    print(f"{size:.0f} MB\n{found.stdout}")
    assert found.returncode == 0 and " skipped" not in found.stdout, found.stdout
