"""Whatever model or data set is specified works everywhere: engines, methods, exports; a third of each is made here."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clients.learner import learn
from clients.sources.simulated import Shard
from core import data
from core.arrays import Arrays
from core.config.part import Part
from core.config.scenario import Local, Model, Scenario
from core.data import DATASETS, DatasetSpec, Examples, dataset, fashion, idx, load, settled
from core.engines import Engine, default, get, step, step_file
from core.models import MODELS, ModelSpec, build, of
from core.models.layers import Conv, Dense, Flatten, Pool
from core.plan import Lesson, Pull, Rehearsal, draw
from fl.messages import Task
from server.export import EXPORTERS, export
from server.record import load as load_report
from server.report import figures, page
from tests.fakes import federate
from tests.tools import needed

BATCH = 8


def third(image: tuple[int, int], classes: int) -> ModelSpec:
    """Wider kernels, another pool, a convolution without one, three dense layers"""
    layers = (
        Conv("first", 4, 5), Pool("pool", 3), Conv("second", 6), Flatten(),
        Dense("wide", 40), Dense("hidden", 30), Dense("logits", classes, relu=False),
    )  # fmt: skip
    return ModelSpec("third", image, classes, layers)


@pytest.fixture
def scenario(monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """One with that model, registered by one line."""
    monkeypatch.setitem(MODELS, "third", third)
    return Scenario(
        "third", model=Model("third"), train=800, test=200, validation=100, local=Local(batch=BATCH, epochs=0.2)
    )


def engines(scenario: Scenario) -> tuple[Engine, Engine]:
    file = step_file.build(of(scenario), scenario.local.batch)
    return default(scenario), get("litert", of(scenario), file, step.digest(file))


def close(ours: Arrays, theirs: Arrays, within: float = 1e-6) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, abs=within)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lenet", "logistic", "mlp100", "third"])
def test_a_further_model_takes_the_same_first_step_on_both_engines(scenario: Scenario, kind: str) -> None:
    scenario = replace(scenario, model=Model(kind))
    start, train = of(scenario).initial(1), load(scenario).train.take(np.arange(40))
    lesson = Lesson(0, start, train, np.zeros((40, 0), np.float32), 0, 1, 0.05, scenario)
    plan = draw(lesson, Pull.none(start), Rehearsal.none())
    one = replace(plan, order=plan.order[:1], rate=plan.rate[:1])
    stock, light = engines(scenario)
    close(light.train(start, one).weights, stock.train(start, one).weights)
    for look in ("logits", "features"):
        close([getattr(light, look)(start, train.x)], [getattr(stock, look)(start, train.x)], 1e-5)
    assert stock.features(start, train.x).shape == (40, of(scenario).features)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*MODELS, "third"])
def test_the_fisher_is_the_same_on_both_engines(scenario: Scenario, kind: str) -> None:
    """A page is not full, and one is; of each example its own gradient is squared, not the page's mean."""
    mine = replace(scenario, model=Model(kind))
    start, train = of(mine).initial(1), load(mine).train.take(np.arange(step.FISHER_PAGE + 7))
    found = [engine.fisher(start, train.x) for engine in engines(mine)]
    for stock, light in zip(*found, strict=True):
        np.testing.assert_allclose(light, stock, rtol=1e-3, atol=1e-7)  # `approx` takes seconds for so many
    single = [engines(mine)[0].fisher(start, train.x[i : i + 1]) for i in range(5)]
    few = engines(mine)[1].fisher(start, train.x[:5])
    for own, *each in zip(few, *single, strict=True):
        np.testing.assert_allclose(own, np.mean(each, 0), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("method", ["ewc", "acil"])
def test_a_third_model_learns_by_methods_that_look_inside_it(scenario: Scenario, method: str, tmp_path: Path) -> None:
    staged = replace(
        scenario, clients=2, cohort=2, rounds=2, stream=Part("classes", {"per_task": 5}), methods=(Part(method),),
        partition=Part("iid"),
    )  # fmt: skip
    report = federate(staged, tmp_path)
    assert report.events == () and report.continual and len(report.continual.matrix) == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lenet", "logistic", "mlp100", "third"])
def test_a_further_model_leaves_in_every_format(scenario: Scenario, kind: str, tmp_path: Path) -> None:
    scenario = replace(scenario, model=Model(kind))
    mine, weights = load(scenario), of(scenario).initial(1)
    exports = export(weights, scenario, mine, tmp_path, EXPORTERS)
    # Four bits may cost a small model more than is let through: that is measured, and no lack of the format.
    assert set(exports.refused) <= {"model.int4.tflite"}
    assert set(exports.files) | set(exports.refused) == set(EXPORTERS)


def test_what_a_method_cannot_have_is_refused_by_name() -> None:
    from scenarios.check import check

    scenario = Scenario(
        "heads", model=Model("mlp"), methods=(Part("acil"),), train=500, validation=100, clients=2, cohort=2
    )
    check(replace(scenario, methods=(Part("ewc"),)))
    narrow = lambda image, classes: ModelSpec(  # noqa: E731
        "narrow", image, classes, (Flatten(), Dense("few", 12), Dense("logits", classes, relu=False))
    )
    MODELS["narrow"] = narrow
    try:
        with pytest.raises(ValueError, match=r"methods = acil cannot be had with model\.kind = narrow"):
            check(replace(scenario, model=Model("narrow")))
    finally:
        del MODELS["narrow"]
    for method in ("acil", "slda"):
        with pytest.raises(ValueError, match=rf"methods = {method} cannot be had with model\.kind = logistic"):
            check(replace(scenario, model=Model("logistic"), methods=(Part(method),)))
    with pytest.raises(ValueError, match=r"unknown model\.kind 'nope'; choose from cnn, lenet, logistic, mlp, mlp100"):
        check(replace(scenario, model=Model("nope"), methods=()))


@pytest.mark.parametrize(
    "kind, weights", [("lenet", 44_426), ("logistic", 7_850), ("mlp", 638_810), ("mlp100", 89_610)]
)
def test_models_of_papers_have_as_many_weights_as_there(kind: str, weights: int) -> None:
    assert sum(np.prod(shape) for shape in build(kind, DATASETS["mnist"].spec).shapes) == weights


def test_a_model_that_leaves_nothing_of_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves nothing of an image of 28 × 28"):
        ModelSpec("deep", (28, 28), 10, (Conv("c", 2), Pool("p", 30), Flatten(), Dense("logits", 10, relu=False)))
    with pytest.raises(ValueError, match="should end in a dense layer of 10 logits"):
        ModelSpec("open", (28, 28), 10, (Flatten(), Dense("hidden", 5)))


# ── data sets of other classes ──


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 26 classes that can be told apart: a bar at one of 13 heights, short or long."""
    draw, path = np.random.default_rng(0), tmp_path_factory.mktemp("letters") / "letters.npz"

    def images(count: int) -> tuple[np.ndarray, np.ndarray]:
        y = np.arange(count) % 26
        x = draw.integers(0, 40, (count, 28, 28)).astype(np.uint8)
        for i, label in enumerate(y):
            x[i, 2 * (label // 2) : 2 * (label // 2) + 2, : 10 + 14 * (label % 2)] = 255
        return x, y.astype(np.uint8)

    (x, y), (a, b) = images(780), images(260)
    np.savez(path, x_train=x, y_train=y, x_test=a, y_test=b)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cnn", "mlp"])
def test_twenty_six_classes_go_from_the_file_to_the_report_and_the_exports(
    letters: Path, kind: str, tmp_path: Path
) -> None:
    scenario = settled(
        Scenario(
            "letters",
            data=str(letters),
            validation=50,
            clients=3,
            cohort=3,
            rounds=4,
            model=Model(kind),
            partition=Part("iid"),
            stream=Part("classes", {"per_task": 13}),
            methods=(Part("derpp", {"images": 60, "kilobytes": 0.0}),),
            noise=0.02,
            local=Local(epochs=4, momentum=0.9),
        )
    )
    assert scenario.classes == 26 and of(scenario).classes == 26
    report = federate(scenario, tmp_path)
    assert report == load_report(tmp_path) and report.events == ()
    assert len(report.confusion) == 26 and len(report.history[-1].classes_accuracy) == 26
    assert all(len(shard.labels) == 26 for shard in report.shards) and report.accuracy and report.accuracy > 0.2
    found = load(scenario)
    exports = export(list(of(scenario).initial(0)), scenario, found, tmp_path / "out", EXPORTERS)
    assert set(exports.files) | set(exports.refused) == set(EXPORTERS) and "model.onnx" in exports.files
    drawn = figures.draw(report, tmp_path / "out", np.zeros((3, 10, 28, 28), np.uint8))
    assert {"confusion.png", "classes.png", "labels.png", "matrix.png"} <= {path.name for path in drawn}
    assert "<h1>" in page.write(report, tmp_path / "out").read_text()


def test_a_device_agrees_with_the_server_about_the_classes(letters: Path) -> None:
    """The number travels in the scenario, whatever labels the device itself has met."""
    scenario = replace(Scenario("device", clients=1, cohort=1), classes=26, data=str(letters))
    few = Examples(np.zeros((12, 28, 28), np.uint8), np.arange(12) % 3)
    start = of(scenario).initial(0)
    update, _ = learn(
        Shard(0, few, np.zeros(0, np.float32), {}), Task(scenario, 1, 0, 0.1, start), {}, default(scenario)
    )
    assert [w.shape for w in update.arrays] == [w.shape for w in start] and start[-1].shape == (26,)


def test_labels_beyond_the_classes_that_were_agreed_are_refused(letters: Path) -> None:
    with pytest.raises(ValueError, match=r"letters\.npz: labels should be 0 … 4, not up to 25"):
        load(Scenario("five", data=str(letters), classes=5, validation=10))


# ── IDX files ──


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four small IDX files, two of them packed, that pass for the published ones of Fashion-MNIST."""
    draw, folder = np.random.default_rng(1), tmp_path / "fashion"
    folder.mkdir()
    arrays = {"x_train": draw.integers(0, 256, (300, 28, 28)), "y_train": np.arange(300) % 10,
              "x_test": draw.integers(0, 256, (60, 28, 28)), "y_test": np.arange(60) % 10}  # fmt: skip
    for name, array in arrays.items():
        octets = b"".join(idx.parts(array))
        packed = name.startswith("x")
        (folder / (idx.FILES[name] + ".gz" * packed)).write_bytes(gzip.compress(octets) if packed else octets)
    digests = {name: hashlib.md5(b"".join(idx.parts(array))).hexdigest() for name, array in arrays.items()}
    for name, digest in digests.items():
        monkeypatch.setitem(fashion.MD5, name, digest)
    return folder


def test_fashion_is_known_by_its_name_and_its_digests(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion, "HOME", published)
    found = load(Scenario("clothes", data="fashion", validation=50))
    assert len(found.train) == 250 and found.spec.labels[9] == "Ankle boot" and found.notes == ()
    assert load(Scenario("clothes", data=str(published), validation=50)).spec == found.spec  # the folder, too
    tasks = data.dataset(Scenario("clothes", data="fashion"))
    assert tasks.labels[0] == "T-shirt/top"


def test_a_changed_file_is_not_called_fashion(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion, "HOME", published)
    file = published / idx.FILES["y_test"]
    file.write_bytes(file.read_bytes()[:-1] + b"\x03")
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte is damaged: it has MD5"):
        load(Scenario("clothes", data="fashion", validation=50))
    own = load(settled(Scenario("clothes", data=str(published), validation=50)))
    assert own.spec.labels[0] == "0" and "its IDX files are not those of" in own.notes[0]


def test_missing_files_are_one_sentence_that_says_where_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion, "HOME", tmp_path)
    with pytest.raises(ValueError, match="install Debian's dataset-fashion-mnist, or name the folder"):
        load(Scenario("clothes", data="fashion"))


@pytest.mark.parametrize(
    "octets, words",
    [
        (b"", "does not begin as an IDX file"),
        (bytes([0, 0, 8, 1]), "does not begin"),
        (bytes([0, 0, 13, 1, 0, 0, 0, 1, 5]), "does not begin"),
        (bytes([0, 0, 8, 1, 255, 255, 255, 255]) + bytes(50), "cannot"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 60]) + bytes(59), "cannot|not as long"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 60]) + bytes(61), "not as long"),
    ],
)
def test_a_lying_idx_file_is_refused_before_anything_is_allocated(published: Path, octets: bytes, words: str) -> None:
    for packed in (False, True):
        for file in published.glob(idx.FILES["y_test"] + "*"):
            file.unlink()
        name = idx.FILES["y_test"] + ".gz" * packed
        (published / name).write_bytes(gzip.compress(octets) if packed else octets)
        with pytest.raises(ValueError, match=rf"{name} in 'fashion' cannot be read: .*({words})"):
            idx.read(published)


def test_every_registered_data_set_describes_itself() -> None:
    for name, known in DATASETS.items():
        spec = dataset(Scenario("x", data=name))
        assert spec == known.spec and len(spec.labels) == spec.classes and build("cnn", spec).classes == spec.classes


def test_debian_s_files_are_fashion_mnist_as_it_was_published() -> None:
    needed(str(fashion.HOME))
    found = fashion.read()
    assert len(found.train) == 60_000 and len(found.test) == 10_000 and found.notes == ()
    assert np.bincount(found.test.y).tolist() == [1000] * 10 and found.spec.names[9] == "Ankle boot"


def test_a_pool_of_one_number_is_the_number(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    def fourth(image: tuple[int, int], classes: int) -> ModelSpec:
        return ModelSpec("fourth", image, classes, (
            Conv("one", 2, 5), Pool("p", 1), Conv("two", 2, 3), Pool("q", 1), Flatten(), Dense("logits", classes, relu=False),
        ))  # fmt: skip

    monkeypatch.setitem(MODELS, "fourth", fourth)
    stock, light = engines(replace(scenario, model=Model("fourth")))
    start, images = of(replace(scenario, model=Model("fourth"))).initial(1), load(scenario).train.x[:20]
    close([light.logits(start, images)], [stock.logits(start, images)], 1e-5)


@pytest.mark.parametrize("name", ["shirt, blue", "two\nlines"])
def test_a_name_of_a_class_that_no_list_can_hold_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="as a name of a class should have no comma and be one line"):
        DatasetSpec("clothes", 2, ("sock", name))
