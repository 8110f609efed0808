"""The global model goes out: written in every format, checked against Keras on every test image, then published.

An unchecked file never bears its final name. One that fails is left as `<file>.refused`, and export.json says why.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.config.scenario import Scenario
from core.data import Data, Examples
from core.models import of
from server import run_folder
from server.export import check, keras, onnx, tflite
from server.export.check import ParityTest, Predictor, Score
from server.export.keras import Outgoing
from server.record import ExportedFile, Exports, plain

__all__ = ["EXPORTERS", "Exporter", "Predictor", "export", "verify"]


@dataclass(frozen=True)
class Exporter:
    """A format: how it is written, how it is read, and by which rule it is judged."""

    save: Callable[[Outgoing, Path], None]
    load: Callable[[Path], Predictor]
    quantized: bool = False  # judged by its accuracy, else by its probabilities


EXPORTERS = {  # by the file they make
    "model.keras": Exporter(keras.save, keras.load),
    "model.tflite": Exporter(tflite.save, tflite.load),
    "model.int8.tflite": Exporter(tflite.save_int8, tflite.load, quantized=True),
    "model.onnx": Exporter(onnx.save, onnx.load),
}


def export(weights: Sequence[np.ndarray], scenario: Scenario, data: Data, folder: Path) -> Exports:
    """Write model.* and export.json into this folder; returns what export.json says (see `verify`).

    weights: f32, of the scenario's model. Files of an earlier export are replaced, or removed if now refused.
    """
    from core.models.keras import keras_model

    folder.mkdir(parents=True, exist_ok=True)
    whole = keras_model(of(scenario), list(weights), scenario.model)
    leaving = Outgoing(whole, data.train.x, data.spec.labels)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as name:
        fresh = Path(name)
        failed = {file: why for file in EXPORTERS if (why := _save(file, leaving, fresh))}
        report = _report(fresh, keras.predictor(whole), data.test, failed)
        (fresh / run_folder.EXPORTS).write_text(json.dumps(plain(report), indent=1) + "\n")
        for file in EXPORTERS:
            _publish(fresh / file, folder, refused=file in report.refused)
        os.replace(fresh / run_folder.EXPORTS, folder / run_folder.EXPORTS)
    return report


def verify(folder: Path, data: Data) -> Exports:
    """Check an export again, against its own model.keras; changes no file.

    `check.score` and `check.latencies` say what is measured. Raises FileNotFoundError if there is no model.keras.
    """
    reference = folder / "model.keras"
    if not reference.is_file():
        raise FileNotFoundError(f"there is no {reference.name} in {folder}")
    return _report(folder, keras.load(reference), data.test, {})


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
            contenders[file] = exporter.load(folder / file)
            found = check.score(contenders[file], parity)
            why = check.objection(found, parity, exporter.quantized)
        except Exception as error:  # every runtime has its own errors for a file that it cannot read
            why = _why(error)
        if why:
            refused[file] = why
            contenders.pop(file, None)
        else:
            scores[file] = found
    times = check.latencies(contenders, parity.images)
    base = times.pop("tf.function")
    files = {
        file: ExportedFile(
            bytes=(folder / file).stat().st_size, accuracy=scores[file].accuracy, difference=scores[file].difference,
            agreement=scores[file].agreement, latency_ms=time.latency_ms, latency_p95_ms=time.latency_p95_ms,
            speedup=round(base.latency_ms / time.latency_ms, 2),
        )
        for file, time in times.items()
    }  # fmt: skip
    return Exports(len(test), {"tf.function": base}, files, refused)


def _publish(path: Path, folder: Path, refused: bool) -> None:
    """Give a checked file its name, and take away what an earlier export called so."""
    good, bad = folder / path.name, folder / f"{path.name}.refused"
    if path.exists():
        os.replace(path, bad if refused else good)
    (good if refused else bad).unlink(missing_ok=True)


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
