"""The kinds of files that the project reads: how a sound one is made, how it is spoiled, who reads it and what is valid then."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from clients import memory
from clients.bench.sheet import sheet
from clients.pi import settings
from clients.reader import pen, photograph, segment
from clients.sources import image_folder
from core import data, predict
from core.config.scenario import Scenario
from core.data import vectors
from core.data.prepare import prepared
from core.data.vectors import Vector
from core.metrics import Measures
from scenarios import compare
from scenarios.presets import SCENARIOS
from server import checkpoint, record, versions
from server.checkpoint import RunState
from server.record import Continual, Report, RoundRecord, Shard, Version
from server.report.figures import groups, results
from tests.fuzz import mutate

WEIGHTS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(4, np.float32)]
SHARED = {"acil/gram": np.eye(3)}
CLIENT = 7


@dataclass(frozen=True)
class Kind:
    """One kind of file."""

    make: Callable[[Path], Path]  # a sound one with its company, in a new folder; returns the file that is then spoiled
    change: mutate.Change
    read: Callable[[Path], bool]  # as the project does; says whether another was taken instead
    named: bool = True  # a refusal names the file
    paths: bool = True  # its reader opens it itself, so a pipe or a folder may be there


def _checkpoint(folder: Path) -> Path:
    for number in (2, 3):
        history = (RoundRecord(number, accuracy=0.5, tasks={0: 0}),)
        checkpoint.save(folder, RunState(number, WEIGHTS, {"m_t/0": WEIGHTS[1]}, SHARED, history, ("a word",)))
    return folder / "checkpoints" / "round-00003.npz"


def _read_checkpoint(file: Path) -> bool:
    state, damaged = checkpoint.newest(file.parents[1], WEIGHTS)
    assert state is not None and state.round == 3 - len(damaged)
    assert [w.dtype for w in state.arrays] == [np.float32] * 2
    assert all(np.array_equal(w, sound) for w, sound in zip(state.arrays, WEIGHTS, strict=True))
    assert all(isinstance(one, RoundRecord) for one in state.history) and all(
        isinstance(one, str) for one in state.events
    )
    return bool(damaged)


def _slots(round: int) -> dict[str, dict[int, dict[str, np.ndarray]]]:
    return {"ewc": {0: {"fisher0": WEIGHTS[0]}, 1: {"fisher0": -WEIGHTS[0]}}, "replay": {0: {"y": np.arange(round)}}}


def _memory(folder: Path) -> Path:
    for round in (2, 3):
        memory.save(memory.home(folder, CLIENT), round, _slots(round))
    return memory.home(folder, CLIENT) / "round-0003.npz"


def _read_memory(file: Path) -> bool:
    found = memory.before(file.parent, 4)
    round = len(found["replay"][0]["y"])
    assert repr(found) == repr(_slots(round)) and round in (2, 3)
    return round == 2


def _version(folder: Path) -> Path:
    about = Version(1, 3, 0.5, {"0, 1": 0.5}, ("accuracy is too low",))
    return versions.keep(folder, about, WEIGHTS, SHARED)


def _read_version(file: Path) -> bool:
    found, shared = versions.weights(file.parent), versions.shared(file.parent)
    assert repr(found) == repr(WEIGHTS) and repr(shared) == repr(SHARED)
    return False


def _read_facts(file: Path) -> bool:
    found = versions.about(file.parent)
    return not (isinstance(found.version, int) and list(map(str, found.objections)) == list(found.objections))


def _digits(count: int) -> np.ndarray:
    images = np.zeros((count, 28, 28), np.uint8)
    for number in range(count):
        images[number, 5 : 10 + number % 12, 10:18] = 255
    return images


def _npz(folder: Path) -> Path:
    folder.mkdir(parents=True)
    x, y = _digits(12), np.arange(12, dtype=np.uint8) % 10
    np.savez_compressed(folder / "own.npz", x_train=x, y_train=y, x_test=x[:6], y_test=y[:6])
    return folder / "own.npz"


def _read_data(path: Path) -> bool:
    for part in data.read(str(path)):
        assert part.x.dtype == np.uint8 and part.x.shape == (len(part), 28, 28) and len(part)
        assert part.y.dtype == np.int64 and part.y.min() >= 0 and part.y.max() < 10
    return False


def _pictures(folder: Path, transparent: bool = False) -> Path:
    (folder / "3").mkdir(parents=True)
    for number, image in enumerate(_digits(12)):
        whole = cv2.merge([image, image, image, image]) if transparent else image
        assert cv2.imwrite(str(folder / "3" / f"{number:02d}.png"), whole)
    return folder / "3" / "04.png"


def _read_device(file: Path) -> bool:
    """A device's folder goes on without the picture."""
    folder, book = file.parents[1], file.parents[2] / "device-book.json"
    book.unlink(missing_ok=True)
    shard, tests = image_folder.own(SCENARIO, CLIENT, folder, book, 1)
    assert shard.train.x.dtype == tests.x.dtype == np.uint8 and shard.train.x.shape[1:] == (28, 28)
    assert len(shard.train) + len(tests) >= 11
    return len(shard.train) + len(tests) == 11


def _book(folder: Path) -> Path:
    picture = _pictures(folder / "digits")
    image_folder.own(SCENARIO, CLIENT, picture.parents[1], folder / "experiences.json", 1)
    return folder / "experiences.json"


def _read_book(file: Path) -> bool:
    shard, _ = image_folder.own(SCENARIO, CLIENT, file.parent / "digits", file, 2)
    assert shard.stream is not None and len(shard.train) and sum(map(len, shard.stream.parts)) == len(shard.train)
    return False


SCENARIO = Scenario("device", clients=10, cohort=1)


def _scenario(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "scenario.json").write_text(SCENARIOS["class_incremental"][0].json())
    return folder / "scenario.json"


def _read_scenario(file: Path) -> bool:
    found = Scenario.of(file.read_text())
    assert Scenario.of(found.json()) == found
    return False


def _report(folder: Path) -> Path:
    folder.mkdir(parents=True)
    measures = Measures(0.8, 0.85, 0.1, -0.1, 0.0)
    report = Report(
        Scenario("x"), 0.9, history=(RoundRecord(1, seen=100, accuracy=0.9),), shards=(Shard(0, accuracy=0.5),),
        continual=Continual(("0", "1"), (0, 1), (1, 2), ((0.9, 0.0), (0.8, 0.8)), measures, memory_bytes=1000),
        baselines={"centralized": 0.95}, seconds={"total": 9.5},
    )  # fmt: skip
    record.save(folder, report)
    return folder / "report.json"


def _read_report(file: Path) -> bool:
    results.rows(groups.grouped([compare.finished(file.parent)]))
    return False


def _node(folder: Path) -> Path:
    folder.mkdir(parents=True)
    facts = {"name": "kitchen", "server": "127.0.0.1:9092", "client": 3, "data": "/digits", "port": 9094}
    (folder / "node.json").write_text(json.dumps(facts))
    return folder / "node.json"


def _read_node(file: Path) -> bool:
    found = settings.read(file.parent)
    assert found.name and found.client >= 0 and 0 < found.port < 65_536 and isinstance(found.data, str)
    return not settings.command(found, file.parent)


def _photograph(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "sheet.jpg").write_bytes(sheet(_digits(12)))
    return folder / "sheet.jpg"


def _read_photograph(file: Path) -> bool:
    picture, times = photograph.photograph(file, segment.LONGEST)
    assert picture.dtype == np.uint8 and picture.ndim == 2 and picture.size and times in (1, 2, 4, 8)
    for one in segment.find(picture):
        assert prepared(pen.thickened(one.ink)).shape == (28, 28)
    return False


def _model(folder: Path) -> Path:
    """A TFLite file's frame: no operations, but what it says of itself."""
    folder.mkdir(parents=True)
    model, entry, buffer = schema.ModelT(), schema.MetadataT(), schema.BufferT()
    buffer.data = np.frombuffer(predict.packed({"labels": "0,1", "origin.run": "x"}), np.uint8)
    entry.name, entry.buffer = predict.ABOUT, 1
    model.buffers, model.metadata = [schema.BufferT(), buffer], [entry]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (folder / "model.tflite").write_bytes(bytes(builder.Output()))
    return folder / "model.tflite"


def _read_about(file: Path) -> bool:
    found = predict.about(file)
    return not all(isinstance(word, str) for pair in found.items() for word in pair)


def _vectors(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "vectors.txt").write_text(vectors.written(map(Vector.of, _digits(3))))
    return folder / "vectors.txt"


def _read_vectors(file: Path) -> bool:
    for one in vectors.read(file.read_text()):
        assert one.prepared.shape == (28, 28) and one.picture.dtype == np.uint8
    return False


KINDS = {
    "checkpoint": Kind(_checkpoint, mutate.npz, _read_checkpoint),
    "memory": Kind(_memory, mutate.npz, _read_memory),
    "version": Kind(lambda folder: _version(folder) / "weights.npz", mutate.npz, _read_version),
    "version.json": Kind(lambda folder: _version(folder) / "version.json", mutate.text, _read_facts),
    "data.npz": Kind(_npz, mutate.npz, _read_data),
    "picture": Kind(_pictures, mutate.png, lambda file: _read_data(file.parents[1])),
    "picture, transparent": Kind(lambda f: _pictures(f, True), mutate.png, lambda file: _read_data(file.parents[1])),
    "picture, device": Kind(_pictures, mutate.png, _read_device),
    "experiences.json": Kind(_book, mutate.text, _read_book),
    "scenario.json": Kind(_scenario, mutate.text, _read_scenario, named=False, paths=False),
    "report.json": Kind(_report, mutate.text, _read_report, named=False, paths=False),
    "photograph": Kind(_photograph, mutate.plain, _read_photograph),
    "model.tflite": Kind(_model, mutate.plain, _read_about, paths=False),
    "vectors.txt": Kind(_vectors, mutate.plain, _read_vectors, named=False, paths=False),
    "node.json": Kind(_node, mutate.text, _read_node),
}
