"""What goes out is what was learned: every format against Keras, on every test image; anything else is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core import data
from core.arrays import Arrays, digest
from core.config.scenario import Local, Model, Scenario
from core.data import Data, Examples
from core.disk import copied, size
from core.models import MODELS
from core.predict import Predictor, about, compiled, floats, load, quantized
from server import export as exports
from server import versions
from server.export import EXPORTERS, STANDARD, check, onnx, tf2onnx, tflite
from server.export.check import ParityTest, Score
from server.export.outgoing import Outgoing
from server.report import card
from tests import models as model

SCENARIO = Scenario("export", train=12_000, test=1000, local=Local(epochs=2, rate=0.05, momentum=0.9))
ORIGIN = {"run": "runs/export-0", "version": "3"}
OPTIONS = Model(dropout=0.5, l2=0.001)  # neither should reach an export
EXACT = [file for file in EXPORTERS if not EXPORTERS[file].rounded]


@pytest.fixture(scope="module")
def digits() -> Data:
    return data.load(SCENARIO)


@pytest.fixture(scope="module")
def weights(digits: Data) -> Arrays:
    return model.trained(SCENARIO, digits.train)


@pytest.fixture(scope="module")
def folder(weights: Arrays, digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("export")
    exports.export(weights, replace(SCENARIO, model=OPTIONS), digits, path, EXPORTERS, ORIGIN)
    return path


@pytest.fixture(scope="module")
def parity(weights: Arrays, digits: Data) -> ParityTest:
    return ParityTest.of(compiled(model.keras_model(weights)), digits.test)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that do not ask how fast a file is."""
    monkeypatch.setattr(check, "ROUNDS", 1)


def leaving(weights: Arrays, digits: Data, options: Model | None = None) -> Outgoing:
    """A model with these weights on its way out."""
    origin = {"scenario": SCENARIO.name, "seed": "0", **ORIGIN}
    images = exports.representative(digits.train, SCENARIO.seed)
    return Outgoing(model.spec(), weights, images, digits.spec.labels, options or Model(), origin)


@pytest.mark.parametrize("kind", MODELS)
def test_every_kind_of_model_leaves_as_int4(kind: str, digits: Data, tmp_path: Path) -> None:
    """The arrays of a large one lie behind the file's tables, and must not be lost when something is added to these."""
    options = Model(kind=kind)
    outgoing = Outgoing(model.spec(kind), model.initial(3, kind), digits.train.x, digits.spec.labels, options)
    tflite.save_int4(outgoing, tmp_path / "model.tflite")
    x = floats(digits.test.x[:20])
    keras = compiled(model.keras_model(outgoing.weights, options))(x)
    assert np.abs(load(tmp_path / "model.tflite")(x) - keras).max() < 0.1


def copy(folder: Path, to: Path) -> None:
    """Put an export that is right into another folder."""
    for file in STANDARD:
        copied(folder / file, to / file)


def spoiled(weights: Arrays, array: int = 7, index: tuple[int, ...] = (3,), by: float = 30.0) -> Arrays:
    """The same weights but for one number: as it stands, every digit looks like a 3."""
    wrong = [w.copy() for w in weights]
    wrong[array][index] += by
    return wrong


def test_a_run_exports_every_format_and_says_so(folder: Path) -> None:
    report = json.loads((folder / "export.json").read_text())
    assert report["refused"] == {} and set(report["files"]) == set(EXPORTERS) and report["images"] == 1000
    assert {path.name for path in folder.iterdir()} == {*EXPORTERS, "export.json"}  # nothing temporary stays
    for file, row in report["files"].items():
        assert row["bytes"] == size(folder / file)
        assert 0 < row["latency_ms"] <= row["latency_p95_ms"]
    assert report["files"]["model.int8.tflite"]["bytes"] <= 260_000


@pytest.mark.parametrize("file", EXPORTERS)
def test_every_format_answers_as_keras(file: str, folder: Path, parity: ParityTest) -> None:
    found = check.score(load(folder / file), parity)
    assert parity.accuracy > 0.93
    assert found.accuracy == pytest.approx(parity.accuracy, abs=0.003)
    assert found.agreement >= 0.99
    assert file not in EXACT or found.difference < 1e-5


@pytest.mark.parametrize("file", EXPORTERS)
def test_answers_do_not_depend_on_the_company(file: str, folder: Path, parity: ParityTest) -> None:
    predict = load(folder / file)
    many = predict(parity.images[:33])
    assert many.dtype == np.float32 and many.shape == (33, 10)
    np.testing.assert_allclose(many.sum(1), 1, atol=0.02)
    for part in (slice(0, 1), slice(1, 4), slice(4, 33)):
        np.testing.assert_allclose(predict(parity.images[part]), many[part], atol=1e-6)


@pytest.mark.slow
def test_the_same_weights_give_the_same_bytes(folder: Path, weights: Arrays, digits: Data, tmp_path: Path) -> None:
    whole = replace(leaving(weights, digits, OPTIONS), validation=digits.validation)
    probabilities = check.ask(compiled(whole.keras), floats(digits.validation.x))
    whole = replace(whole, reliable=check.reliable(probabilities, digits.validation.y))
    for file, exporter in EXPORTERS.items():
        exporter.save(whole, tmp_path / file)
        if file != "model.savedmodel":  # TensorFlow gives each an identifier of its own
            assert (tmp_path / file).read_bytes() == (folder / file).read_bytes(), file


def test_keras_file_is_the_canonical_model(folder: Path, weights: Arrays) -> None:
    from tensorflow import keras as tk

    loaded = tk.models.load_model(folder / "model.keras")
    assert not loaded.compiled and loaded.layers[-1].name == "logits"
    for one, other in zip(loaded.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_int8_takes_raw_bytes(folder: Path, digits: Data) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(folder / "model.int8.tflite"), num_threads=1)
    serve = interpreter.get_signature_runner("serve")
    into = serve.get_input_details()["image"]
    assert into["dtype"] == np.uint8 and into["quantization"] == (np.float32(1 / 255), 0)
    predict, images = load(folder / "model.int8.tflite"), digits.test.x[:5]
    answers = serve(image=images[..., None])["probabilities"]
    np.testing.assert_array_equal(answers, predict(floats(images)))


def test_every_byte_survives_the_way_to_floats_and_back() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    np.testing.assert_array_equal(quantized(floats(every))[..., 0], every)
    np.testing.assert_array_equal(quantized(np.array([-0.1, 1.1], np.float32)), [0, 255])


def test_calibration_sees_paper_and_ink_whatever_the_images() -> None:
    grey = np.full((400, 28, 28), 100, np.uint8)
    grey[350, 0, :2] = 0, 255
    first = exports.representative(Examples(grey, np.arange(400) % 2), 0)
    assert len(first) == 300 and any(
        np.array_equal(image, grey[350]) for image in first[:2]
    )  # the full one, in the first turn
    sample = tflite.calibration(grey[:3])
    assert sample.shape == (3, 28, 28, 1) and sample.min() == 0 and sample.max() == 1


def test_calibration_sees_all_classes_however_training_images_are_sorted(
    tiny: Scenario, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pale = np.where(
        (digits.train.y == 3)[:, None, None], digits.train.x, digits.train.x // 2
    )  # ink is full in one class only
    sorted_train = Examples(pale, digits.train.y).take(np.argsort(digits.train.y, kind="stable"))
    given = list[np.ndarray]()
    monkeypatch.setitem(
        EXPORTERS, "model.onnx", exports.Exporter("onnx", lambda outgoing, path: given.append(outgoing.images))
    )
    exports.export(model.initial(0), tiny, replace(digits, train=sorted_train), tmp_path, ["model.onnx"])
    label = {image.tobytes(): y for image, y in zip(sorted_train.x, sorted_train.y, strict=True)}
    first = np.bincount([label[image.tobytes()] for image in given[0][:100]], minlength=10)
    assert first.min() >= 9


def test_onnx_says_how_it_is_used(folder: Path) -> None:
    import onnx as lib

    proto = lib.load(folder / "model.onnx")
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", onnx.OPSET)]
    for ends, name, shape in (
        (proto.graph.input, "image", ["n", 28, 28, 1]),
        (proto.graph.output, "probabilities", ["n", 10]),
    ):
        assert [end.name for end in ends] == [name]
        assert [d.dim_param or d.dim_value for d in ends[0].type.tensor_type.shape.dim] == shape
    properties = {prop.key: prop.value for prop in proto.metadata_props}
    assert properties["labels"].split(",") == list("0123456789")
    assert {"input.layout", "input.range", "input.polarity"} <= set(properties)
    assert "Transpose" not in {node.op_type for node in proto.graph.node} and len(proto.graph.node) <= 16


@pytest.mark.parametrize("file", EXPORTERS)
def test_a_wrong_weight_is_noticed(
    file: str, weights: Arrays, digits: Data, parity: ParityTest, tmp_path: Path
) -> None:
    slightly = spoiled(weights, array=0, index=(1, 1, 0, 5), by=0.05)  # one of 225,034
    wrong = slightly if file in EXACT else spoiled(weights)
    EXPORTERS[file].save(leaving(wrong, digits), tmp_path / file)
    assert check.objection(check.score(load(tmp_path / file), parity), parity, EXPORTERS[file].rounded)


@pytest.mark.parametrize("quantized", [False, True])
def test_what_is_no_number_is_refused(quantized: bool, parity: ParityTest) -> None:
    nothing = np.full_like(parity.truth, np.nan)
    found = check.score(lambda images: nothing[: len(images)], parity)
    assert check.objection(found, parity, quantized)
    diverged = replace(parity, truth=nothing)  # an int8 file may well agree with a model that is broken
    assert check.objection(check.score(lambda images: parity.truth[: len(images)], diverged), diverged, quantized)


def test_limits_themselves_may_go_out(parity: ParityTest) -> None:
    exact = replace(parity, labels=parity.truth.argmax(1))
    for fall, refused in ((0.003, False), (0.004, True)):
        score = Score(1 - fall, 0.5, 1 - fall)
        assert bool(check.objection(score, exact, quantized=True)) is refused


@pytest.mark.usefixtures("hasty")
def test_verify_finds_files_damaged_on_disk(folder: Path, digits: Data, tmp_path: Path) -> None:
    copy(folder, tmp_path)
    damaged = ["model.tflite", "model.int8.tflite", "model.onnx"]
    for file in damaged:
        content = bytearray((tmp_path / file).read_bytes())
        middle = slice(len(content) // 4, 3 * len(content) // 4)  # inside the dense kernel
        content[middle] = content[middle][::-1]
        (tmp_path / file).write_bytes(content)
    found = exports.verify(tmp_path, digits)
    assert list(found.refused) == damaged and list(found.files) == ["model.keras"]
    for file in damaged:
        (tmp_path / file).write_bytes((folder / file).read_bytes()[:1000])
    assert list(exports.verify(tmp_path, digits).refused) == damaged  # these cannot even be read


def test_verify_needs_the_canonical_model(digits: Data, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.keras"):
        exports.verify(tmp_path, digits)
    (tmp_path / "model.keras").write_bytes(b"PK damaged")
    with pytest.raises(ValueError, match=r"model\.keras cannot be read: "):
        exports.verify(tmp_path, digits)


@pytest.mark.slow
@pytest.mark.usefixtures("hasty")
def test_a_refused_export_stays_in_and_the_others_go_out(
    folder: Path, weights: Arrays, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(whole: Outgoing, path: Path) -> None:
        onnx.save(leaving(spoiled(weights), digits), path)

    def broken(whole: Outgoing, path: Path) -> None:
        raise RuntimeError("the converter gave up")

    copy(folder, tmp_path)  # an earlier export
    monkeypatch.setitem(EXPORTERS, "model.onnx", replace(EXPORTERS["model.onnx"], save=wrong))
    monkeypatch.setitem(EXPORTERS, "model.tflite", replace(EXPORTERS["model.tflite"], save=broken))
    found = exports.export(weights, replace(SCENARIO, model=OPTIONS), digits, tmp_path)
    assert "differ" in found.refused["model.onnx"] and "gave up" in found.refused["model.tflite"]
    names = {"export.json", "model.keras", "model.int8.tflite", "model.onnx.refused"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert versions.exported(tmp_path) == found

    monkeypatch.undo()
    assert exports.export(weights, replace(SCENARIO, model=OPTIONS), digits, tmp_path).refused == {}
    assert {path.name for path in tmp_path.iterdir()} == {*STANDARD, "export.json"}


def test_int8_is_three_times_as_fast_as_tensorflow(folder: Path, parity: ParityTest) -> None:
    both = {"tf": load(folder / "model.keras"), "int8": load(folder / "model.int8.tflite")}

    def ratio() -> float:
        times = check.latencies(both, parity.images)
        return times["tf"].latency_ms / times["int8"].latency_ms

    assert any(ratio() >= 3 for _ in range(3))  # once is enough: others may use this machine


def test_latencies_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "CALLS", 1)
    calls: list[str] = []

    def one(name: str) -> Predictor:
        def predict(image: np.ndarray) -> np.ndarray:
            calls.append(f"{name}{len(image)}")
            return image

        return predict

    times = check.latencies({"a": one("a"), "b": one("b")}, np.zeros((3, 28, 28, 1), np.float32))
    timed = calls[2 * check.WARM :]
    assert timed == ["a1", "b1"] * check.ROUNDS and set(times) == {"a", "b"}


def test_importing_loads_nothing_heavy() -> None:
    heavy = "{'tensorflow', 'onnx', 'onnxruntime', 'tf2onnx', 'ai_edge_litert'}"
    code = f"import sys, server.export; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_answers_of_the_wrong_shape_are_an_error() -> None:
    parity = ParityTest(np.zeros((2, 28, 28, 1), np.float32), np.zeros(2, np.int64), np.zeros((2, 10), np.float32))
    with pytest.raises(ValueError, match=r"\[2, 10\], not \[2, 3\]"):
        check.score(lambda images: np.zeros((len(images), 3), np.float32), parity)


# ── what a file says of itself, and the ways to ONNX ──


@pytest.mark.parametrize("file", EXPORTERS)
def test_every_file_says_what_goes_in_and_where_it_comes_from(file: str, folder: Path, weights: Arrays) -> None:
    metadata = about(folder / file)
    assert metadata["labels"].split(",") == list("0123456789") and "28 x 28" in metadata["input.layout"]
    assert {"input.range", "input.polarity", "output"} <= set(metadata)
    assert (metadata["origin.run"], metadata["origin.version"]) == ("runs/export-0", "3")
    assert metadata["origin.weights_sha256"] == digest(weights)


def test_a_file_that_says_nothing_or_is_of_no_kind(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes((folder / "model.tflite").read_bytes()[:5000])
    with pytest.raises(ValueError, match="damaged"):
        about(tmp_path / "model.tflite")
    with pytest.raises(ValueError, match=r"model\.pb.*\.tflite, \.onnx"):
        load(tmp_path / "model.pb")
    (tmp_path / "model.savedmodel").mkdir()
    with pytest.raises(ValueError, match="no numbered version"):
        load(tmp_path / "model.savedmodel")


@pytest.mark.parametrize("file", [name for name in EXPORTERS if name.endswith(".tflite")])
def test_labels_lie_in_a_tflite_file_as_android_looks_for_them(file: str, folder: Path) -> None:
    with zipfile.ZipFile(folder / file) as archive:
        assert archive.read("labels.txt").decode().splitlines() == list("0123456789")


def test_sizes_are_those_of_the_format(folder: Path) -> None:
    whole = size(folder / "model.tflite")
    ratios = {
        name: whole / size(folder / name) for name in ("model.fp16.tflite", "model.int8.tflite", "model.int4.tflite")
    }
    assert ratios["model.fp16.tflite"] > 1.9 and ratios["model.int8.tflite"] > 3.8 and ratios["model.int4.tflite"] > 6.5
    assert whole / size(folder / "model.int8.onnx") > 3.8


@pytest.mark.slow
def test_the_savedmodel_is_what_tensorflow_serving_loads(folder: Path) -> None:
    output = subprocess.run(
        [Path(sys.executable).with_name("saved_model_cli"), "show", "--dir", folder / "model.savedmodel" / "3",
         "--tag_set", "serve", "--signature_def", "serving_default"], capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "inputs['image']" in output and "shape: (-1, 28, 28, 1)" in output and "outputs['probabilities']" in output


@pytest.mark.parametrize("kind", model.KINDS)
def test_both_ways_to_onnx_agree(kind: str, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer without a writer sends the model through tf2onnx."""
    leaving = Outgoing(model.spec(kind), model.initial(1, kind), digits.train.x, digits.spec.labels, Model(kind=kind))
    onnx.save(leaving, tmp_path / "own.onnx")
    general = []
    monkeypatch.setattr(onnx, "WRITERS", {})
    monkeypatch.setattr(tf2onnx, "converted", lambda *given, real=tf2onnx.converted: general.append(1) or real(*given))
    onnx.save(leaving, tmp_path / "general.onnx")
    one, other = (load(tmp_path / name)(floats(digits.test.x[:200])) for name in ("own.onnx", "general.onnx"))
    assert general == [1] and np.abs(one - other).max() < 1e-5
    assert np.abs(one - compiled(leaving.keras)(floats(digits.test.x[:200]))).max() < 1e-5


@pytest.mark.slow
def test_the_cards_python_runs_as_it_stands(folder: Path, digits: Data, parity: ParityTest) -> None:
    for name, code in card.PYTHON.items():
        given = code.format(rows=28, columns=28)
        assert len(given.splitlines()) == 6
        output = subprocess.run(
            [sys.executable, "-c", "import numpy; digits = numpy.load('digits.npy')\n" + given],
            cwd=_with_digits(folder, digits.test.x[:5]), capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert re.findall(r"\d", output) == [str(i) for i in parity.truth[:5].argmax(1)], name


def _with_digits(folder: Path, images: np.ndarray) -> Path:
    np.save(folder / "digits.npy", images)
    return folder


@pytest.mark.parametrize("file", [file for file in EXPORTERS if file != "model.keras"])
def test_some_images_are_read_with_the_confidence_that_a_file_asks_for(file: str, folder: Path, digits: Data) -> None:
    """And as many of them rightly as it says: int8's greatest probability is 255/256, which a threshold of Keras' may exceed."""
    metadata = about(folder / file)
    probabilities = check.ask(load(folder / file), floats(digits.validation.x))
    sure = probabilities.max(1) >= float(metadata["confidence.threshold"])
    right = int((probabilities.argmax(1) == digits.validation.y)[sure].sum())
    stated = [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", metadata["confidence.meaning"])]
    assert sure.any() and [sure.sum(), right] == pytest.approx(stated, abs=2)  # one or two lie on the threshold itself
