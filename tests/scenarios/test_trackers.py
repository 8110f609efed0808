"""Trackers see what the report has, once, whatever interrupts the run; and no tracker can end it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from core.config.scenario import Scenario
from core.curves import Point
from core.packages import pip_install
from core.stream import ends
from scenarios import needs, run, trackers
from scenarios.experiment.again import flags
from scenarios.experiment.options import Experiment, RunOptions
from scenarios.experiment.tracking import Tracking
from scenarios.presets import SCENARIOS
from scenarios.terminal import Terminal
from scenarios.trackers import values
from scenarios.trackers.base import Ending, Known, Opening
from server import checkpoint, stages
from server.checkpoint import RunState
from server.evaluation import Scores
from server.record import ExportedFile, Exports, Report, RoundRecord, Traffic

HOME = Path(__file__).parents[2]
SCENARIO = SCENARIOS["noniid"][0]
Points = dict[str, list[tuple[int, float]]]  # (step, value) of each name, in the order in which they were written


def rows(count: int) -> tuple[RoundRecord, ...]:
    """Rounds whose numbers are all different."""
    return tuple(
        RoundRecord(
            n, rate=0.1 / n, clients=(0, 1), failed={2: "no answer"}, examples=640, seen=640 * n, train_loss=2 / n,
            train_accuracy=0.3 + n / 100, accuracy=0.5 + n / 100, loss=1 / n, validation_loss=1.5 / n,
            validation_accuracy=0.4 + n / 100, drift={0: 0.1 * n, 1: 0.3 * n}, bytes=Traffic(1000 * n, 500 * n),
        )
        for n in range(1, count + 1)
    )  # fmt: skip


def begun(folder: Path, *names: str, done: int = 0) -> Tracking:
    """A run that begins, or goes on after so many rounds, with its trackers open."""
    folder.mkdir(parents=True, exist_ok=True)
    if done:
        checkpoint.save(folder, RunState(done, [np.zeros(1, np.float32)], history=rows(done)))
    tracking = Tracking(Experiment(SCENARIO, folder, RunOptions(track=names), Terminal(quiet=True), {}))
    tracking.open()
    return tracking


def play(tracking: Tracking, first: int, last: int) -> None:
    for row in rows(last)[first - 1 :]:
        tracking.ended(row)


def finish(tracking: Tracking, folder: Path, count: int) -> list[str]:
    """As the pipeline does, with a picture, a model and a baseline."""
    cv2.imwrite(str(folder / "accuracy.png"), np.full((4, 6, 3), 200, np.uint8))
    (folder / "model.tflite").write_bytes(b"a model")
    report = Report(
        SCENARIO, 0.9, 0.3, history=rows(count), baselines={"centralized": 0.95}, seconds={"total": 12.0},
        curves={"centralized": (Point(0.8, 1, 0.7, 0.6), Point(0.95, 2, 0.5, None))},
        exports=Exports(files={"model.tflite": ExportedFile(7, 0.89, 0.0, 1.0)}),
    )  # fmt: skip
    failures = tracking.finish(report)
    tracking.close()
    return failures


# ── what is recorded ──


@pytest.mark.parametrize("name", SCENARIOS)
def test_settings_have_the_names_and_values_that_set_takes(name: str) -> None:
    scenario = SCENARIOS[name][0]
    flat = values.settings(scenario)
    again = Scenario("x").with_(
        *((key, value if isinstance(value, str) else json.dumps(value)) for key, value in flat.items())
    )
    assert values.settings(again) == flat


def test_settings_name_what_is_as_usual_too() -> None:
    flat = values.settings(SCENARIO.with_(("augment", "rotate"), ("looks", "none"), ("partition.alpha", "0.05")))
    assert flat["partition"] == "dirichlet" and flat["partition.alpha"] == 0.05
    assert flat["augment"] == "rotate" and "augment.rotate.degrees" in flat and flat["looks"] == "none"
    assert flat["local.batch"] == 32 and flat["digits"] == "none"


def test_what_was_not_measured_is_left_out() -> None:
    found = values.scalars(SCENARIO, [RoundRecord(1, loss=float("nan"), failed={0: "no answer"})])
    assert found["clients/failed"] == 1 and found["clients/answered"] == 0
    assert not {"loss/test", "loss/train", "accuracy/test", "accuracy/train", "drift/mean"} & set(found)


def test_a_streams_last_round_has_the_reports_own_measures() -> None:
    scenario = SCENARIOS["class_incremental"][0]
    rng, closing = np.random.default_rng(0), ends(scenario)
    history = [
        RoundRecord(n, accuracy=0.5, tasks_accuracy=tuple(rng.random(5).tolist()))
        for n in range(1, scenario.rounds + 1)
    ]
    before = Scores(None, (0.1,) * 5, ())  # type: ignore[arg-type]
    report = stages.continual(scenario, history, before, {})
    found = values.scalars(scenario, history)
    assert report and found["accuracy/average"] == pytest.approx(report.measures.average_accuracy)
    assert found["forgetting/mean"] == pytest.approx(report.measures.forgetting)
    assert [found[name] for name in sorted(found) if name.startswith("task/")] == list(history[-1].tasks_accuracy)
    early = values.scalars(scenario, history[: closing[0]])  # only the first task was met
    assert early["accuracy/average"] == history[closing[0] - 1].tasks_accuracy[0] and "forgetting/mean" not in early


# ── TensorBoard ──


@dataclass
class Board:
    """What TensorBoard shows of a folder: what a later file declares void is gone."""

    scalars: Points
    images: dict[str, bytes]
    plugins: dict[str, bytes]


def board(folder: Path) -> Board:
    """Read by TensorFlow, which had no part in writing it."""
    import tensorflow as tf

    from core.engines.tensorflow import one_thread

    one_thread()
    found: list[tuple[int, str, float]] = []
    images, plugins = {}, {}
    for file in sorted(folder.glob("events.*")):
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            if event.session_log.status == tf.compat.v1.SessionLog.START:
                found = [one for one in found if one[0] < event.step]
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.append((event.step, value.tag, value.simple_value))
                elif value.HasField("image"):
                    png = images[value.tag] = value.image.encoded_image_string
                    shape = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).shape
                    assert (value.image.height, value.image.width) == shape[:2]
                else:
                    assert value.metadata.plugin_data.plugin_name == "hparams"
                    plugins[value.tag] = value.metadata.plugin_data.content
    points: Points = defaultdict(list)
    for step, name, value in found:
        points[name].append((step, value))
    return Board(points, images, plugins)


def close(one: list[tuple[int, float]], other: list[tuple[int, float | None]]) -> bool:
    """TensorBoard keeps 32 bits."""
    return [step for step, _ in one] == [step for step, _ in other] and np.allclose(
        [value for _, value in one], [value for _, value in other], rtol=1e-6
    )


def test_tensorboard_has_the_reports_numbers_and_pictures(tmp_path: Path) -> None:
    tracking = begun(tmp_path, "tensorboard")
    play(tracking, 1, 3)
    assert close(board(tmp_path / "tensorboard").scalars["accuracy/test"], [(n, 0.5 + n / 100) for n in (1, 2, 3)])
    assert finish(tracking, tmp_path, 3) == []
    found, history = board(tmp_path / "tensorboard"), rows(3)
    for name, attribute in {
        "accuracy/test": "accuracy", "loss/test": "loss", "accuracy/validation": "validation_accuracy",
        "loss/validation": "validation_loss", "loss/train": "train_loss", "rate": "rate", "examples/seen": "seen",
    }.items():  # fmt: skip
        assert close(found.scalars[name], [(row.round, getattr(row, attribute)) for row in history]), name
    assert close(found.scalars["drift/mean"], [(n, 0.2 * n) for n in (1, 2, 3)])
    assert close(found.scalars["clients/failed"], [(n, 1) for n in (1, 2, 3)])
    assert close(found.scalars["final/accuracy"], [(3, 0.9)]) and close(found.scalars["final/seconds_total"], [(3, 12)])
    assert found.images == {"figures/accuracy": (tmp_path / "accuracy.png").read_bytes()}
    assert b"partition.alpha" in found.plugins["_hparams_/session_start_info"]
    assert "_hparams_/session_end_info" in found.plugins
    central = board(tmp_path / "tensorboard" / "centralized").scalars
    assert close(central["accuracy/test"], [(1, 0.8), (2, 0.95)]) and close(central["loss/validation"], [(1, 0.6)])


def test_a_run_that_ends_twice_has_one_ending(tmp_path: Path) -> None:
    for _ in range(2):
        tracking = begun(tmp_path, "tensorboard", done=3)
        finish(tracking, tmp_path, 3)
    found = board(tmp_path / "tensorboard").scalars
    assert {len(points) for name, points in found.items() if name.startswith("final/")} == {1}
    assert [step for step, _ in found["accuracy/test"]] == [1, 2, 3]
    assert len(board(tmp_path / "tensorboard" / "centralized").scalars["accuracy/test"]) == 2


# ── MLflow ──


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of runs with its database, whose tables take seconds to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield tmp_path_factory.mktemp("runs")


def stored(runs: Path, folder: Path) -> tuple[Any, Any]:
    """MLflow's own client, and its run."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}")
    return client, client.get_run(json.loads((folder / "trackers.json").read_text())["mlflow"]["id"])


def metrics(client: Any, run: Any) -> Points:
    names = run.data.metrics
    return {name: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)] for name in names}


@pytest.mark.slow
def test_mlflow_has_settings_rounds_baselines_and_files(runs: Path) -> None:
    tracking = begun(runs / "noniid-0", "mlflow")
    play(tracking, 1, 3)
    assert stored(runs, runs / "noniid-0")[1].info.status == "RUNNING"
    assert finish(tracking, runs / "noniid-0", 3) == []
    client, run = stored(runs, runs / "noniid-0")
    assert client.get_experiment(run.info.experiment_id).name == "noniid"
    assert (run.info.run_name, run.info.status) == ("noniid-0", "FINISHED")
    assert run.data.params == {name: str(value) for name, value in values.settings(SCENARIO).items()}
    found = metrics(client, run)
    assert found["accuracy/test"] == [(row.round, row.accuracy) for row in rows(3)]
    assert found["loss/validation"] == [(row.round, row.validation_loss) for row in rows(3)]
    assert found["centralized/accuracy/test"] == [(1, 0.8), (2, 0.95)] and found["final/accuracy"] == [(3, 0.9)]
    artifacts = {one.path for folder in ("figures", "model") for one in client.list_artifacts(run.info.run_id, folder)}
    assert artifacts == {"figures/accuracy.png", "model/model.tflite"}
    assert (runs / "mlartifacts" / "noniid" / run.info.run_id / "artifacts" / "model" / "model.tflite").exists()


# ── a run that is interrupted ──


def steps(tracker: str, runs: Path, folder: Path) -> Points:
    return board(folder / "tensorboard").scalars if tracker == "tensorboard" else metrics(*stored(runs, folder))


def test_a_first_round_that_was_not_noted_comes_once(tmp_path: Path) -> None:
    for last in (1, 2):  # the first process is killed after round 1 and before its note
        tracking = begun(tmp_path, "tensorboard")
        note = (tmp_path / "trackers.json").read_text()
        play(tracking, 1, last)
        (tmp_path / "trackers.json").write_text(note)
    assert [step for step, _ in board(tmp_path / "tensorboard").scalars["rate"]] == [1, 2]


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow"])
def test_a_resumed_run_goes_on_and_no_round_comes_twice(runs: Path, tracker: str) -> None:
    folder = runs / f"{tracker}-resumed"
    tracking = begun(folder, tracker)
    play(tracking, 1, 2)
    tracking.close()
    if tracker == "mlflow":
        assert stored(runs, folder)[1].info.status == "KILLED"
    first = json.loads((folder / "trackers.json").read_text())
    tracking = begun(folder, tracker, done=2)
    play(tracking, 3, 3)  # and killed: it is not closed, and its last note was not written
    (folder / "trackers.json").write_text(json.dumps(first))
    tracking = begun(folder, tracker, done=2)
    play(tracking, 3, 4)
    finish(tracking, folder, 4)
    found = steps(tracker, runs, folder)
    assert [step for step, _ in found["accuracy/test"]] == [step for step, _ in found["rate"]] == [1, 2, 3, 4]
    finish(begun(folder, tracker, done=4), folder, 4)  # a finished run is resumed
    again = steps(tracker, runs, folder)
    assert {name: len(points) for name, points in again.items()} == {
        name: len(points) for name, points in found.items()
    }


def test_a_tracker_that_is_named_later_is_given_the_earlier_rounds(tmp_path: Path) -> None:
    tracking = begun(tmp_path, "tensorboard", done=2)
    play(tracking, 2, 3)  # round 2 again: its checkpoint was damaged
    tracking.close()
    found = board(tmp_path / "tensorboard").scalars
    assert close(found["loss/test"], [(n, 1 / n) for n in (1, 2, 3)])


# ── a tracker that fails ──


class Fails:
    """A tracker whose disk is full from round `at` on."""

    def __init__(self, at: int) -> None:
        self.known, self.at, self.rounds, self.closed = Known(), at, list[int](), list[bool]()

    def log(self, round: int, values: dict[str, float]) -> None:
        if round >= self.at:
            raise OSError(28, "No space left on device")
        self.rounds.append(round)

    def finish(self, ending: Ending) -> None:
        raise AssertionError("it was left out")

    def close(self, finished: bool) -> None:
        self.closed.append(finished)
        raise OSError(28, "No space left on device")


def test_a_tracker_that_fails_is_named_once_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Fails(2)

    def away(opening: Opening) -> Fails:
        raise ConnectionError("no answer\nfrom the server")

    monkeypatch.setitem(trackers.TRACKERS, "full", trackers.Entry(lambda opening: failing, (), ""))
    monkeypatch.setitem(trackers.TRACKERS, "away", trackers.Entry(away, (), ""))
    tracking = begun(tmp_path, "away", "full", "tensorboard")
    play(tracking, 1, 4)
    failures = finish(tracking, tmp_path, 4)
    assert failures == [
        "tracker away was left out: ConnectionError: no answer from the server",
        "tracker full was left out after round 2: OSError: [Errno 28] No space left on device",
    ]
    assert failing.closed == [False]  # what it has open is let go of, whatever that raises
    assert failing.rounds == [1] and json.loads((tmp_path / "trackers.json").read_text())["full"]["rounds"] == 1
    assert [step for step, _ in board(tmp_path / "tensorboard").scalars["rate"]] == [1, 2, 3, 4]
    failing.at = 9  # there is room again when the run is resumed: it is given what it lacks
    begun(tmp_path, "full", done=4)
    assert failing.rounds == [1, 1, 2, 3, 4]  # its opener says that it has nothing


def test_damaged_notes_are_named_and_stay(tmp_path: Path) -> None:
    (tmp_path / "trackers.json").write_text('{"tensorboard": {"rounds": "many"}}')
    tracking = begun(tmp_path, "tensorboard")
    play(tracking, 1, 1)
    (failure,) = tracking.failures
    assert "trackers.json" in failure and "'many'" in failure and not (tmp_path / "tensorboard").exists()


# ── none ──

NONE = """
import sys
from pathlib import Path
from scenarios.experiment.again import flags
from scenarios.experiment.options import Experiment, RunOptions
from scenarios.experiment.tracking import Tracking
from scenarios.presets import SCENARIOS
from scenarios.terminal import Terminal
from server.record import Report, RoundRecord
scenario = SCENARIOS["noniid"][0]
tracking = Tracking(Experiment(scenario, Path(sys.argv[1]), RunOptions(), Terminal(True), {}))
tracking.open(), tracking.ended(RoundRecord(1)), tracking.finish(Report(scenario)), tracking.close()
print(sorted({"mlflow", "tensorboardX", "wandb", "sqlalchemy", "matplotlib"} & set(sys.modules)))
"""


def test_a_run_without_trackers_imports_none_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", NONE, str(tmp_path)]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n" and not list(tmp_path.iterdir())


# ── wandb ──


class FakeWandb(types.ModuleType):
    """Stands for the package, which is large: writes down what it is asked."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.asked: dict[str, Any] = {}
        self.logged: list[dict[str, Any]] = []
        self.summary: dict[str, float] = {}
        self.artifacts: list[FakeArtifact] = []
        self.codes: list[int] = []
        self.steps: list[int] = []
        self.id = ""

    def init(self, **asked: Any) -> FakeWandb:
        self.asked, self.id = asked, asked["id"]
        return self

    def define_metric(self, name: str, step_metric: str = "") -> None:
        self.asked[name] = step_metric

    def log(self, what: dict[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        assert step is None or (step == what["round"] and commit)
        self.logged.append(what)
        self.steps += [step] if step else []

    def log_artifact(self, artifact: FakeArtifact) -> None:
        self.artifacts.append(artifact)

    def finish(self, exit_code: int) -> None:
        self.codes.append(exit_code)

    def Settings(self, **settings: Any) -> dict[str, Any]:  # noqa: N802
        return settings

    def Image(self, path: str) -> str:  # noqa: N802
        return f"picture {Path(path).name}"

    def Artifact(self, name: str, type: str) -> FakeArtifact:  # noqa: N802
        return FakeArtifact(name, type, [])


@dataclass
class FakeArtifact:
    """A wandb.Artifact."""

    name: str
    type: str
    files: list[str]

    def add_file(self, path: str) -> None:
        self.files.append(Path(path).name)


def test_wandb_is_offline_goes_on_under_its_id_and_gets_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")})
    folder = tmp_path / "noniid-0"
    tracking = begun(folder, "wandb")
    play(tracking, 1, 2)
    tracking.close()
    first = fake.asked
    assert (first["project"], first["name"], first["mode"], first["resume"]) == (
        "noniid",
        "noniid-0",
        "offline",
        "allow",
    )
    assert first["config"]["partition.alpha"] == 0.1 and first["dir"] == str(folder) and first["*"] == "round"
    os.environ["WANDB_MODE"] = "online"
    tracking = begun(folder, "wandb", done=2)
    play(tracking, 3, 3)
    assert finish(tracking, folder, 3) == []
    assert fake.asked["id"] == first["id"] and fake.asked["mode"] == "online" and fake.codes == [1, 0]
    assert [(row["round"], row["accuracy/test"]) for row in fake.logged if "accuracy/test" in row] == [
        (row.round, row.accuracy) for row in rows(3)
    ]
    assert fake.steps == [1, 2, 3]
    central = "centralized/accuracy/test"
    assert [(row["round"], row[central]) for row in fake.logged if central in row] == [(1, 0.8), (2, 0.95)]
    assert fake.logged[-1] == {"figures/accuracy": "picture accuracy.png"}
    assert fake.summary["final/accuracy"] == 0.9
    assert fake.artifacts == [FakeArtifact(f"{first['id']}-model", "model", ["model.tflite"])]


# ── the command line ──


def test_trackers_are_named_by_plus_or_one_after_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    options: list[RunOptions] = []
    monkeypatch.setattr("scenarios.run.run", lambda scenario, folder, wanted: options.append(wanted) or 0)
    words = ["--track", "tensorboard+mlflow", "--track", "tensorboard", "--out", str(tmp_path / "run"), "--quiet"]
    assert run.main(["noniid", *words]) == 0 and options[0].track == ("tensorboard", "mlflow")
    assert flags(options[0], "noniid") == " --track tensorboard+mlflow"
    assert flags(replace(options[0], backend="local"), "noniid").endswith(" --backend local --track tensorboard+mlflow")


@pytest.mark.parametrize(
    "name, words",
    [
        ("wandb", f"needs the package wandb, which is not installed: {pip_install('wandb')}"),
        (
            "tensorboard",
            f"needs the package tensorboardX, which is not installed: {needs.install('track')}",
        ),
        ("mlflow", f"needs the package mlflow, which is not installed: {needs.install('track')}"),
    ],
)
def test_a_missing_package_is_named_before_the_run_starts(
    name: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda package: None)
    with pytest.raises(SystemExit) as stop:
        run.main(["noniid", "--track", name, "--out", str(tmp_path / "run")])
    out, error = capsys.readouterr()
    assert stop.value.code == 2 and out == "" and error == f"python -m scenarios.run: --track {name} {words}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_whole_run_is_in_tensorboard_while_a_server_is_away(tiny: Scenario, tmp_path: Path) -> None:
    """The weights are those of a run without trackers."""
    seen = {}
    for name, words in {"plain": [], "seen": ["--track", "tensorboard+mlflow"]}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "scenario.json").write_text(tiny.json())
        away = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
        command = [sys.executable, "-m", "scenarios.run", "--resume", str(tmp_path / name), "--backend", "local"]
        subprocess.run([*command, "--json", *words], cwd=HOME, env=os.environ | away, check=True, capture_output=True)
        seen[name] = json.loads((tmp_path / name / "report.json").read_text())
    assert seen["plain"]["weights_sha256"] == seen["seen"]["weights_sha256"]
    # Of a model that has learned so little, the int8 file may be refused in both.
    assert all("int8" in event for event in seen["plain"]["events"])
    (event,) = [event for event in seen["seen"]["events"] if event not in seen["plain"]["events"]]
    assert event.startswith("tracker mlflow was left out: MlflowException:")
    assert "tracker mlflow was left out" in (tmp_path / "seen" / "report.html").read_text()
    found = board(tmp_path / "seen" / "tensorboard")
    history = seen["seen"]["history"]
    assert close(found.scalars["accuracy/test"], [(row["round"], row["accuracy"]) for row in history])
    assert close(found.scalars["loss/validation"], [(row["round"], row["validation_loss"]) for row in history])
    central = board(tmp_path / "seen" / "tensorboard" / "centralized").scalars["accuracy/test"]
    assert close(central, [(p["round"], p["accuracy"]) for p in seen["seen"]["curves"]["centralized"]])
    assert {path.stem for path in (tmp_path / "seen").glob("*.png")} == {
        tag.removeprefix("figures/") for tag in found.images
    }
