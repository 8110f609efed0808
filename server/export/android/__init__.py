"""What an Android app needs: the model whose input is bytes, its labels, golden vectors, and Kotlin sources.

No app can be built without Android's own tools. What needs none of them, the preparation and the check of its vectors, is
compiled and run by the project's tests; DigitReader.kt says at its top that it is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from core.data import Examples
from core.data.vectors import Vector, written
from core.disk import placed
from core.predict import about, floats, load
from core.seeds import rng

HERE = Path(__file__).parent
MODEL = "model.int8.tflite"  # of the run: the one that takes bytes
SOURCES = ("Preparation.kt", "CheckVectors.kt", "DigitReader.kt")
FILES = ("model.tflite", "labels.txt", "vectors.txt", *SOURCES, "README.md")  # all that the folder holds
VECTORS = 30
THRESHOLD = 0.9  # where the file states none


def save(exports: Path, test: Examples, seed: int, folder: Path) -> list[Path]:
    """Write everything into a folder, from a run's (or a version's) exports; the same bytes each time. Returns the files.

    test: whose images, enlarged, become vectors; seed: which ones. Raises ValueError if the folder holds anything else, or there
    is no checked model that takes bytes.
    """
    model = exports / MODEL
    if not model.exists():
        raise ValueError(f"{exports} holds no {MODEL}: an app reads with that one")
    check(folder)
    folder.mkdir(parents=True, exist_ok=True)
    metadata = about(model)
    for name, octets in _contents(model, metadata, vectors(model, test, seed)).items():
        with placed(folder / name) as file:
            file.write(octets)
    return [folder / name for name in FILES]


def check(folder: Path) -> None:
    """Raises ValueError if a folder holds anything else than what is written into it."""
    if folder.exists() and (others := sorted({one.name for one in folder.iterdir()} - {*FILES})):
        raise ValueError(f"{folder} holds other files ({', '.join(others[:3])}): choose an empty folder")


def vectors(model: Path, test: Examples, seed: int) -> list[Vector]:
    """Pictures of several sizes, what the preparation makes of each, and what the model says of that."""
    golden = []
    predict = load(model)
    for number in range(VECTORS):
        draw = rng(seed, "android", number)
        image = test.x[draw.integers(len(test))]
        large = cv2.resize(
            image, None, fx=draw.uniform(0.8, 3), fy=draw.uniform(0.8, 3), interpolation=cv2.INTER_LINEAR
        )
        (top, bottom), (left, right) = draw.integers(0, 12, (2, 2))
        plain = Vector.of(np.pad(large, ((top, bottom), (left, right))))
        answer = predict(floats(plain.prepared[None]))[0]
        golden.append(Vector(plain.picture, plain.prepared, tuple(map(float, answer))))
    return golden


def _contents(model: Path, metadata: Mapping[str, str], golden: list[Vector]) -> dict[str, bytes]:
    """Each file's bytes, by name."""
    threshold = metadata.get("confidence.threshold", str(THRESHOLD))
    labels = metadata["labels"].split(",")
    values = {"@THRESHOLD@": threshold, "@RUN@": metadata.get("origin.run", "a run"),
              "@VERSION@": metadata.get("origin.version", "–"),
              "@WEIGHTS@": metadata.get("origin.weights_sha256", "")[:16], "@VECTORS@": str(len(golden))}  # fmt: skip
    texts = {name: _filled((HERE / name).read_text(), values) for name in (*SOURCES, "README.md")}
    texts |= {"labels.txt": "".join(f"{label}\n" for label in labels), "vectors.txt": written(golden)}
    return {"model.tflite": model.read_bytes(), **{name: text.encode() for name, text in texts.items()}}


def _filled(text: str, values: Mapping[str, str]) -> str:
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text
