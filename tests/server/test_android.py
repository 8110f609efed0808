"""What an app gets: a test does here what the app would, and the Kotlin of it runs on a computer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from core.config.scenario import Scenario
from core.data import Data, load, vectors
from core.data.prepare import prepared
from core.data.vectors import Vector
from core.seeds import rng
from server.export import android, tflite
from server.export.check import Reliable
from server.export.outgoing import Outgoing
from tests import models as model
from tests.tools import KOTLIN, needed


@pytest.fixture(scope="module")
def digits() -> Data:
    return load(Scenario("android", train=600, test=200, validation=100))


@pytest.fixture(scope="module")
def exports(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a run leaves it: with the model that takes bytes."""
    path: Path = tmp_path_factory.mktemp("exports")
    origin = {"run": "noniid-0", "version": "3"}
    leaving = Outgoing(
        model.spec(),
        model.initial(0),
        digits.train.x,
        digits.spec.labels,
        origin=origin,
        reliable=Reliable(0.625, 2000, 1999),
    )
    tflite.save_int8(leaving, path / android.MODEL)
    return path


@pytest.fixture(scope="module")
def app(digits: Data, exports: Path) -> Path:
    android.save(exports, digits.test, 0, exports / "app")
    return exports / "app"


def test_the_app_s_way_gives_what_the_vectors_expect(app: Path) -> None:
    """Model, labels and vectors as an app reads them, without the project's own loader: bytes in, probabilities out."""
    interpreter = Interpreter(str(app / "model.tflite"))
    runner = interpreter.get_signature_runner("serve")
    assert (app / "labels.txt").read_text().split() == [str(i) for i in range(10)]
    golden = vectors.read((app / "vectors.txt").read_text())
    assert len(golden) == android.VECTORS and len({one.picture.shape for one in golden}) > 20
    for one in golden:
        pixels = prepared(one.picture)
        np.testing.assert_array_equal(pixels, one.prepared)
        probabilities = runner(image=pixels[None, ..., None])["probabilities"][0]
        np.testing.assert_allclose(probabilities, one.probabilities, atol=1e-6)
        assert sum(one.probabilities) == pytest.approx(1, abs=0.02)


def test_the_folder_says_which_model_it_is_and_what_was_not_tried(app: Path) -> None:
    assert {one.name for one in app.iterdir()} == {*android.FILES}
    assert (app / "model.tflite").read_bytes() == (app.parent / android.MODEL).read_bytes()
    readme, reader = (app / "README.md").read_text(), (app / "DigitReader.kt").read_text()
    assert "noniid-0, version 3" in readme and f"{android.VECTORS} pictures" in readme and "0.625000f" in reader
    assert reader.startswith("// NOT COMPILED HERE") and not any("@THR" in one.read_text() for one in app.glob("*.kt"))
    assert "@" not in readme


def test_the_same_bytes_each_time_and_nobody_s_files_are_replaced(
    app: Path, digits: Data, exports: Path, tmp_path: Path
) -> None:
    android.save(exports, digits.test, 0, tmp_path)
    for one in app.iterdir():
        assert one.read_bytes() == (tmp_path / one.name).read_bytes()
    android.save(exports, digits.test, 0, tmp_path)
    (tmp_path / "MainActivity.kt").write_text("mine")
    with pytest.raises(ValueError, match=r"MainActivity\.kt"):
        android.save(exports, digits.test, 0, tmp_path)
    with pytest.raises(ValueError, match=r"holds no model\.int8\.tflite"):
        android.save(tmp_path, digits.test, 0, tmp_path / "app")


@pytest.fixture(scope="module")
def jar(app: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources that need no Android, compiled."""
    path: Path = tmp_path_factory.mktemp("kotlin") / "check.jar"
    needed("java")
    sources = [app / "Preparation.kt", app / "CheckVectors.kt"]
    subprocess.run(["bash", needed(str(KOTLIN)), *sources, "-include-runtime", "-d", path], check=True)
    return path


def check(jar: Path, file: Path) -> subprocess.CompletedProcess[str]:
    command = ["java", "-cp", str(jar), "digits.CheckVectorsKt", str(file)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_kotlin_prepares_to_the_very_bytes(jar: Path, app: Path, tmp_path: Path) -> None:
    """The app's vectors, the project's own, and hundreds of random pictures; a changed byte is found, and named by its line."""
    random = tmp_path / "random.txt"
    random.write_text(vectors.written(Vector.of(picture(seed)) for seed in range(500)))
    for file in (app / "vectors.txt", Path(__file__).parents[1] / "core" / "preparation.txt", random):
        found = check(jar, file)
        assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.startswith("500 of 500")
    lines = random.read_text().splitlines()
    width, height, ink, made = lines[6].split(" ")
    lines[6] = " ".join([width, height, ink, f"{int(made[:2], 16) ^ 1:02x}{made[2:]}"])
    random.write_text("\n".join(lines) + "\n")
    found = check(jar, random)
    assert found.returncode == 1 and "499 of 500" in found.stdout and "wrong: line 7\n" in found.stdout


def picture(seed: int) -> np.ndarray:
    """Noise of a random size, a part of it empty."""
    draw = rng(seed, "kotlin")
    ink = draw.integers(0, 256, draw.integers(1, 90, 2), np.uint8)
    ink[: draw.integers(0, 4)] = 0
    return ink * np.uint8(draw.random() < 0.98)
