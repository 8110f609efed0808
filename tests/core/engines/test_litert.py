"""The engine without TensorFlow does what TensorFlow's does, a step at a time, and needs nothing of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.config.scenario import Local, Model, Scenario
from core.data import Examples, read
from core.engines import litert, step, step_file
from core.plan import Contrast, Learned, Lesson, Plan, Pull, Rehearsal, draw
from tests import models as model
from tests.fakes import same
from tests.marks import slow_but

Arrays = list[np.ndarray]
BATCH = 16


KINDS = slow_but(("cnn", "mlp"), model.KINDS)


class Files(dict[str, bytes]):
    """The step of each kind of model as a file, made when it is asked for: making one takes seconds."""

    def __missing__(self, kind: str) -> bytes:
        self[kind] = step_file.build(model.spec(kind), BATCH, contrasts=True)
        return self[kind]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return Files()


@pytest.fixture(scope="module")
def digits() -> Examples:
    return read("mnist")[0].take(np.arange(150))


def started(kind: str) -> Arrays:
    return [w + np.float32(0.05) * (w.ndim == 1) for w in model.initial(3, kind)]


@pytest.fixture(scope="module")
def planned(digits: Examples) -> Callable[..., Plan]:
    """A plan of so many steps."""

    def plan(steps: int, kind: str = "cnn", **changes: object) -> Plan:
        scenario = Scenario("engine", model=Model(kind), local=Local(epochs=steps * BATCH / 150, batch=BATCH))
        lesson = Lesson(0, started(kind), digits, np.zeros((150, 0), np.float32), 0, 1, 0.05, scenario)
        return replace(draw(lesson, Pull.none(started(kind)), Rehearsal.none()), **changes)  # type: ignore[arg-type]

    return plan


def rich(kind: str) -> dict[str, object]:
    """Everything that a plan can ask for at once."""
    generator, n, start = np.random.default_rng(0), BATCH, started(kind)
    return {
        "hard": generator.random(n, np.float32), "soft": generator.random((n, 10), np.float32),
        "scale": generator.random(10, np.float32), "shift": generator.normal(0, 2, (n, 10)).astype(np.float32),
        "logits": generator.normal(0, 3, (n, 10)).astype(np.float32),
        "dropout_mask": (2 * (generator.random((1, BATCH, model.spec(kind).hidden)) < 0.5)).astype(np.float32),
        "pull": Pull([0.1 * np.abs(w) for w in start], start), "momentum": 0.9, "path": True, "clip": 0.5,
        "guard": np.arange(8, dtype=np.int32)[None], "reference": [-np.abs(w) for w in start],
        "contrast": Contrast(generator.normal(0, 0.1, (n, model.spec(kind).features)).astype(np.float32), 0.5),
    }  # fmt: skip


def close(ours: Arrays, theirs: Arrays) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == np.float32 and mine == pytest.approx(other, abs=1e-6)


def assert_alike(ours: Learned, theirs: Learned) -> None:
    close(ours.weights, theirs.weights)
    close(ours.path, theirs.path)
    assert ours.sums.loss == pytest.approx(theirs.sums.loss, rel=1e-5)
    assert (ours.sums.correct, ours.sums.examples) == (theirs.sums.correct, theirs.sums.examples)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("full", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_step_is_tensorflows(files: dict[str, bytes], planned: Callable[..., Plan], kind: str, full: bool) -> None:
    plan = planned(1, kind, **(rich(kind) if full else {}))
    start = started(kind)
    ours, theirs = (
        litert.LiteRTEngine(model.spec(kind), files[kind]).train(start, plan),
        model.tensorflow(kind).train(start, plan),
    )
    assert_alike(ours, theirs)
    assert max(np.abs(new - old).max() for new, old in zip(ours.weights, start, strict=True)) > 1e-4
    assert same(start, started(kind))  # it is given weights to read


def test_a_file_that_knows_no_contrast_is_refused_where_there_is_one(planned: Callable[..., Plan]) -> None:
    plain = litert.LiteRTEngine(model.spec("mlp"), step_file.build(model.spec("mlp"), BATCH))
    with pytest.raises(ValueError, match="knows no contrast"):
        plain.train(started("mlp"), planned(1, "mlp", **rich("mlp")))


@pytest.mark.slow
def test_what_is_guarded_bends_a_step(files: dict[str, bytes], planned: Callable[..., Plan]) -> None:
    """One image, learned as a 3 and guarded as each other digit: some of these steps would raise the guarded loss."""
    plan, start, engine = planned(1), started("cnn"), litert.LiteRTEngine(model.spec("cnn"), files["cnn"])
    plan = replace(plan, images=np.repeat(plan.images[:1], 16, 0), labels=np.full(16, 3, np.int32))
    twice = {name: np.concatenate([getattr(plan, name)] * 2) for name in ("images", "hard", "shift", "soft", "logits")}
    free, acted = engine.train(start, plan).weights, 0
    for other in range(10):
        labels = np.repeat(np.array([3, other], np.int32), 16)
        turned = replace(plan, **twice, labels=labels, guard=np.arange(16, 32, dtype=np.int32)[None])
        bent = engine.train(start, turned)
        assert_alike(bent, model.tensorflow().train(start, turned))
        acted += not same(bent.weights, free)
    assert acted


def test_a_batch_may_be_shorter_than_the_files(files: dict[str, bytes], planned: Callable[..., Plan]) -> None:
    plan, start = planned(1), started("cnn")
    short = replace(plan, order=plan.order[:, :10])
    assert_alike(
        litert.LiteRTEngine(model.spec("cnn"), files["cnn"]).train(start, short), model.tensorflow().train(start, short)
    )
    longer = replace(plan, order=np.zeros((1, 17), np.int32))
    with pytest.raises(ValueError, match="17 examples a step are more than the 16"):
        litert.LiteRTEngine(model.spec("cnn"), files["cnn"]).train(start, longer)


def test_a_rate_of_zero_and_no_step_change_nothing(files: dict[str, bytes], planned: Callable[..., Plan]) -> None:
    engine, start = litert.LiteRTEngine(model.spec("cnn"), files["cnn"]), started("cnn")
    assert same(engine.train(start, planned(3, rate=np.zeros(3, np.float32), momentum=0.9)).weights, start)
    none = replace(planned(1), order=np.zeros((0, BATCH), np.int32))
    assert same(engine.train(start, none).weights, start)


@pytest.mark.parametrize("kind", KINDS)
def test_it_looks_with_the_same_eyes(files: dict[str, bytes], digits: Examples, kind: str) -> None:
    engine, weights = litert.LiteRTEngine(model.spec(kind), files[kind]), started(kind)
    for look in ("logits", "features"):
        ours, theirs = (getattr(one, look)(weights, digits.x) for one in (engine, model.tensorflow(kind)))
        assert ours == pytest.approx(theirs, abs=1e-5) and ours.shape == theirs.shape
        assert getattr(engine, look)(weights, digits.x[:0]).shape == (0, ours.shape[1])
    slopes = (one.gradient(weights, digits.x[:40], digits.y[:40]) for one in (engine, model.tensorflow(kind)))
    for mine, other in zip(*slopes, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-6)
    ours, theirs = (one.fisher(weights, digits.x[:5]) for one in (engine, model.tensorflow(kind)))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-8)


def test_a_file_that_is_not_the_one_asked_for_is_refused(files: dict[str, bytes]) -> None:
    args = model.spec("cnn"), files["cnn"], step.digest(files["cnn"])
    assert litert.engine(*args) is litert.engine(*args)
    with pytest.raises(ValueError, match="has SHA-256"):
        litert.engine(model.spec("mlp"), files["mlp"], step.digest(files["cnn"]))


ALONE = """
import sys
sys.modules["tensorflow"] = None  # importing it fails
import numpy as np
from clients.learner import learn
from clients.sources.simulated import shard
from core.engines import get, step
from core.models import of
from core.config.scenario import Scenario
from fl.messages import Task
scenario, file = Scenario.of(sys.argv[1]), open(sys.argv[2], "rb").read()
start = [w for _, w in sorted(np.load(sys.argv[3]).items())]
engine = get("litert", of(scenario), file, step.digest(file))
done, _ = learn(shard(scenario.json(), 0), Task(scenario, 2, 0, 0.05, start), {}, engine)
print(done.sums.examples, len(done.arrays))
"""


def test_a_client_learns_where_there_is_no_tensorflow(files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "step.tflite").write_bytes(files["cnn"])
    np.savez(tmp_path / "start.npz", **{f"w{i}": w for i, w in enumerate(started("cnn"))})
    scenario = Scenario("alone", train=300, validation=50, clients=2, cohort=2, local=Local(batch=BATCH), rounds=2)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, scenario.json(), str(tmp_path / "step.tflite"), str(tmp_path / "start.npz")],
        cwd=Path(__file__).parents[3], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 0 and done.stdout.split()[1] == "8"
