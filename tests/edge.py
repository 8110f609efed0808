"""What a device that only reads must be able to do, run in its own environment: `python -m pytest --noconftest tests/edge.py`.

No part of the other tests is used here: they would need what such a device does not have. EDGE_FILES names a folder with exported
models. tests/test_edge_environment.py makes the environment anew, and runs this there.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from clients.bench.sheet import sheet
from clients.reader.photograph import photograph
from clients.reader.reading import Reader
from clients.reader.segment import LONGEST
from core.data import read
from core.data.prepare import prepared
from core.predict import about, floats, load

HOME = Path(__file__).parents[1]
FILES = Path(os.environ.get("EDGE_FILES", "."))
MODELS = ("model.tflite", "model.int8.tflite", "model.onnx")
HEAVY = ("tensorflow", "keras", "ray", "flwr", "matplotlib", "grpc", "scipy", "onnx")
models = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file: Path = tmp_path_factory.mktemp("edge") / "sheet.jpg"
    file.write_bytes(sheet(read("mnist")[1].x))
    return file


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], cwd=HOME, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("module", HEAVY)
def test_what_is_heavy_is_not_here(module: str) -> None:
    assert importlib.util.find_spec(module) is None


@models
def test_a_model_reads_the_test_images_and_says_what_it_is(name: str) -> None:
    _, test = read("mnist")
    share = (load(FILES / name)(floats(test.x[:1000])).argmax(1) == test.y[:1000]).mean()
    assert share > 0.9 and about(FILES / name)["labels"] == "0,1,2,3,4,5,6,7,8,9"


@models
def test_a_photograph_is_read(name: str, photo: Path) -> None:
    digits = Reader(FILES / name).read(*photograph(photo, LONGEST))
    assert len(digits) == 12 and sum(d.label == str(y) for d, y in zip(digits, read("mnist")[1].y, strict=False)) >= 10


def test_the_reader_s_command_keeps_what_it_is_told_is_wrong(photo: Path, tmp_path: Path) -> None:
    found = run("clients.reader", FILES / "model.int8.tflite", photo, "--json", "--learn", tmp_path, "--label", "7")
    assert found.returncode == 0, found.stderr
    assert len(json.loads(found.stdout)["digits"]) == 12 and len(list((tmp_path / "7").glob("*.png"))) == 12
    again = cv2.imread(str(next((tmp_path / "7").glob("*.png"))), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(prepared(again), again)  # what was kept is prepared already


def test_the_measures_are_printed(photo: Path) -> None:
    few = ("--images", "300", "--calls", "50", "--passes", "1")
    found = run("clients.bench", *(FILES / name for name in MODELS), "--photograph", photo, *few)
    assert found.returncode == 0, found.stderr
    assert "int8.tflite" in found.stdout and "images/s" in found.stdout


def test_a_figure_says_what_it_lacks(tmp_path: Path) -> None:
    few = ("--images", "20", "--calls", "5", "--passes", "1")
    found = run("clients.bench", FILES / "model.onnx", *few, "--plot", tmp_path / "plot.png")
    assert found.returncode == 2 and "--plot needs matplotlib" in found.stderr


@pytest.mark.parametrize("command", ["clients.reader", "clients.bench"])
def test_help_teaches(command: str) -> None:
    found = run(command, "--help")
    assert found.returncode == 0 and "examples:" in found.stdout


def test_a_file_that_needs_tensorflow_says_so(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"")
    found = run("clients.reader", tmp_path / "model.keras", "x.png")
    assert found.returncode == 2 and "tensorflow" in found.stderr
