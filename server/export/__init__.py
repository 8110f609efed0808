"""The global model goes out: written in every format, checked against Keras on every test image, then published.

An unchecked file never bears its final name. One that fails is left as `<file>.refused`, and export.json says why.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.config.scenario import Scenario
from core.data import Data, Examples
from core.disk import removed, replaced, size
from core.models import of
from core.predict import Predictor, compiled, floats, load
from core.seeds import rng
from server import run_folder
from server.export import check, keras, onnx, savedmodel, tflite
from server.export.check import ParityTest, Score
from server.export.outgoing import Outgoing
from server.record import ExportedFile, Exports, plain

__all__ = ["EXPORTERS", "STANDARD", "Exporter", "export", "verify"]


@dataclass(frozen=True)
class Exporter:
    """A format: its name on the command line, how it is written, and by which rule it is judged."""

    target: str
    save: Callable[[Outgoing, Path], None]
    rounded: bool = False  # weights or activations are: judged by its accuracy, else by its probabilities


EXPORTERS = {  # by the file, or folder, that they make
    "model.keras": Exporter("keras", keras.save),
    "model.tflite": Exporter("tflite", tflite.save),
    "model.fp16.tflite": Exporter("tflite-fp16", tflite.save_float16, rounded=True),
    "model.int8.tflite": Exporter("tflite-int8", tflite.save_int8, rounded=True),
    "model.int4.tflite": Exporter("tflite-int4", tflite.save_int4, rounded=True),
    "model.onnx": Exporter("onnx", onnx.save),
    "model.int8.onnx": Exporter("onnx-int8", onnx.save_int8, rounded=True),
    "model.savedmodel": Exporter("savedmodel", savedmodel.save),
}
STANDARD = ("model.keras", "model.tflite", "model.int8.tflite", "model.onnx")  # what every run leaves


def representative(train: Examples, seed: int) -> np.ndarray:
    """Training images by which ranges are measured, drawn by address. Classes take turns, whatever the order of their files: images
    of one class alone do not tell how wide ranges are. Of each class those that have both blank paper and full ink come first."""
    order = rng(seed, "calibration").permutation(len(train))
    full = (train.x.min((1, 2)) == 0) & (train.x.max((1, 2)) == 255)
    return train.x[train.in_turns(order[np.argsort(~full[order], kind="stable")])[: tflite.CALIBRATION]]


def export(
    weights: Sequence[np.ndarray], scenario: Scenario, data: Data, folder: Path, files: Collection[str] = STANDARD,
    origin: Mapping[str, str] | None = None,
) -> Exports:  # fmt: skip
    """Write these files and export.json into this folder; returns what export.json says (see `verify`).

    weights: f32, of the scenario's model; origin: where they come from, which the files say: run, version. Files of an earlier
    export are replaced, or removed if now refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    origin = {"scenario": scenario.name, "seed": str(scenario.seed), **(origin or {})}
    images = representative(Examples.join([data.train, data.earlier]), scenario.seed)
    model = Outgoing(of(scenario), list(weights), images, data.spec.labels, scenario.model, origin)
    reference, validation = compiled(model.keras), data.validation
    if len(validation):
        reliable = check.reliable(check.ask(reference, floats(validation.x)), validation.y)
        model = replace(model, reliable=reliable, validation=validation)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as name:
        fresh = Path(name)
        wanted = [file for file in EXPORTERS if file in files]
        failed = {file: why for file in wanted if (why := _save(file, model, fresh))}
        report = _report(fresh, reference, data.test, failed)
        (fresh / run_folder.EXPORTS).write_text(json.dumps(plain(report), indent=1) + "\n")
        for file in wanted:
            _publish(fresh / file, folder, refused=file in report.refused)
        os.replace(fresh / run_folder.EXPORTS, folder / run_folder.EXPORTS)
    return report


def verify(folder: Path, data: Data) -> Exports:
    """Check an export again, against its own model.keras; changes no file.

    `check.score` and `check.latencies` say what is measured. Raises FileNotFoundError if there is no model.keras, ValueError if it
    cannot be read.
    """
    reference = folder / "model.keras"
    if not reference.is_file():
        raise FileNotFoundError(f"there is no {reference.name} in {folder}")
    try:
        model = load(reference)
    except Exception as error:  # Keras may fail in any way on a damaged file
        raise ValueError(f"{reference} cannot be read: {_why(error)}") from error
    return _report(folder, model, data.test, {})


def _save(file: str, model: Outgoing, folder: Path) -> str | None:
    """Write one file; why it could not be written, if so."""
    try:
        EXPORTERS[file].save(model, folder / file)
    except Exception as error:  # a converter may fail in any way, and that should not cost the other formats
        return _why(error)
    return None


def _report(folder: Path, reference: Predictor, test: Examples, failed: dict[str, str]) -> Exports:
    """What `verify` returns, for the files that are in this folder."""
    parity, refused = ParityTest.of(reference, test), dict(failed)
    scores: dict[str, Score] = {}
    contenders: dict[str, Predictor] = {"tf.function": reference}
    for file, exporter in EXPORTERS.items():
        if file in failed or not (folder / file).exists():
            continue
        try:
            contenders[file] = load(folder / file)
            marks = check.score(contenders[file], parity)
            why = check.objection(marks, parity, exporter.rounded)
        except Exception as error:  # every runtime has its own errors for a file that it cannot read
            why = _why(error)
        if why:
            refused[file] = why
            contenders.pop(file, None)
        else:
            scores[file] = marks
    times = check.latencies(contenders, parity.images)
    base = times.pop("tf.function")
    files = {
        file: ExportedFile(
            bytes=size(folder / file), accuracy=scores[file].accuracy, difference=scores[file].difference,
            agreement=scores[file].agreement, latency_ms=time.latency_ms, latency_p95_ms=time.latency_p95_ms,
            speedup=round(base.latency_ms / time.latency_ms, 2),
        )
        for file, time in times.items()
    }  # fmt: skip
    return Exports(len(test), {"tf.function": base}, files, refused)


def _publish(path: Path, folder: Path, refused: bool) -> None:
    """Give a checked file (or folder) its name, and take away what an earlier export called so."""
    good, bad = folder / path.name, folder / f"{path.name}.refused"
    if path.exists():
        replaced(path, bad if refused else good)
    removed(good if refused else bad)


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
