"""What a model costs on a device: meters are read right, an estimate says that it is one, the table names what is missed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clients.bench import __main__ as command
from clients.bench import energy, tables
from clients.bench.energy import Energy, Pmic, Rapl, Stretch
from clients.bench.measure import Measured, peak
from clients.bench.plot import plot
from clients.bench.sheet import sheet
from clients.reader.photograph import decoded
from clients.reader.segment import LONGEST, find
from core.config.scenario import Scenario
from core.data import Data, load
from server.export import onnx, tflite
from server.export.outgoing import Outgoing
from tests import models as model

OLD = "VDD_CORE_V=0.8750V\nVDD_CORE_A=2.0A\n"
NEW = (
    "  VDD_CORE_A current(7)=2.00000000A\n 3V3_SYS_A current(1)=0.10000000A\n"
    " VDD_CORE_V volt(15)=0.87500000V\n 3V3_SYS_V volt(9)=3.30000000V\n  EXT5V_V volt(24)=5.1V\n"
)


@pytest.mark.parametrize("text, watts", [(OLD, 1.75), (NEW, 1.75 + 0.33), ("", 0.0), ("error=1 error_msg=...", 0.0)])
def test_rails_are_summed_where_both_volts_and_amperes_are_told(text: str, watts: float) -> None:
    assert energy.rails(text) == pytest.approx(watts)


def counter(folder: Path, microjoules: int) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "energy_uj").write_text(str(microjoules))
    (folder / "max_energy_range_uj").write_text("1000000")
    return folder


def test_a_counter_of_joules_may_run_over(tmp_path: Path) -> None:
    zones = counter(tmp_path / "a", 900_000), counter(tmp_path / "b", 100)
    with Rapl(zones).measured() as found:
        counter(zones[0], 400_000)
        counter(zones[1], 200_100)
    assert found.joules == pytest.approx(0.5 + 0.2) and found.seconds > 0


def test_a_pi_s_power_chip_is_asked_by_its_own_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "RAPL", tmp_path / "none")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert energy.meter() is None
    script = tmp_path / "vcgencmd"
    script.write_text(f"#!/bin/sh\nprintf '{OLD}'\n")
    script.chmod(0o755)
    found = energy.meter()
    assert isinstance(found, Pmic)
    with found.measured() as stretch:
        pass
    assert stretch.watts == pytest.approx(1.75)


def test_a_pi_is_not_looked_at_before_the_work_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading of the idle board among those of its work would make the work cheaper."""
    begun: list[bool] = []
    monkeypatch.setattr(energy, "_pmic", lambda: OLD if begun else "")
    with Pmic().measured() as stretch:
        begun.append(True)
    assert stretch.watts == pytest.approx(1.75)


def test_a_processor_s_counters_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = counter(tmp_path / "intel-rapl:0", 5)
    counter(tmp_path / "intel-rapl:0:0", 5)  # a part of it, which would be counted twice
    (tmp_path / "intel-rapl:1").mkdir()  # not readable
    (counter(tmp_path / "intel-rapl:2", 5) / "name").write_text("psys\n")  # the platform, the processor in it
    monkeypatch.setattr(energy, "RAPL", tmp_path)
    found = energy.meter()
    assert isinstance(found, Rapl) and found.zones == (zone,)


def test_milliwatts_follow_from_millijoules_and_the_rate() -> None:
    """2 W idle, 5 W for 2 s in which 1,000 inferences are made: 6 J above idle, 6 mJ each; at 10 a second 60 mW."""
    cost = energy.of(Stretch(2.0, 10.0), Stretch(1.0, 2.0), 1000, Rapl(()))
    assert cost.marginal == pytest.approx(6.0) and cost.added(10) == pytest.approx(60.0)
    assert cost.whole(10) == pytest.approx(2060.0) and cost.measured
    guess = energy.estimate(0.002, watts=1.5, idle=2.0)
    assert guess.marginal == pytest.approx(3.0) and not guess.measured and "not measured" in guess.source


def row(**changed: object) -> Measured:
    plain = Measured(
        "model.tflite", np.array([1, 2]), 0.995, (0.1, 0.2, 0.3), (9.0, 10.0, 11.0), 12, 9000.0, 900_000, 800_000, 90_000_000,
        Energy(0.1, 2.7, False, "guessed"),
    )  # fmt: skip
    return replace(plain, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "missed",
    [
        {"accuracy": 0.9899},
        {"bytes": 2_000_001},
        {"whole": (9.0, 50.1, 60.0)},
        {"energy": Energy(50.1, 2.7, False, "guessed")},
    ],
)
def test_a_missed_target_is_marked_and_a_met_one_is_not(missed: dict[str, object]) -> None:
    def marks(one: Measured) -> int:
        return sum(str(cell).endswith("✗") for column in tables.targets([one], 1.0).columns for cell in column.cells)

    assert marks(row()) == 0 and marks(row(**missed)) == 1


def test_a_run_that_was_tested_on_another_number_of_images_is_named(tmp_path: Path) -> None:
    models = [tmp_path / "run" / name for name in ("model.onnx", "model.tflite")]
    models[0].parent.mkdir()
    found = command._tested_otherwise
    assert not list(found(models, 10_000))  # no report
    report = models[0].parent / "report.json"
    report.write_text('{"settings": {"test": 2000}}')
    words = f"{report.parent} was tested on 2,000 test images, its files are measured here on 10,000"
    assert list(found(models, 10_000)) == [words] and not list(found(models, 2000))
    for other in ('{"settings": {"test": 0}}', "[]", "{", '{"settings": 3}'):
        report.write_text(other)
        assert not list(found(models, 10_000))


def test_the_plot_says_whose_targets_are_dotted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    monkeypatch.setattr("matplotlib.figure.Figure.legend", lambda self, title, **_: titles.append(title))
    plot([row()], tmp_path / "plot.png", 2_000_000, 0.99)
    assert titles == ["dotted: this project's targets, at least 99 % and at most 2,000 kB"]


def test_a_model_of_fewer_classes_than_the_data_has_is_not_tested_on_it(
    files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (60, 28, 28), np.uint8), np.arange(60) % 12
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    few = ["--images", "20", "--calls", "5", "--passes", "1"]
    assert command.main([str(files / "model.onnx"), "--data", str(tmp_path / "own.npz"), *few]) == 1
    output = capfd.readouterr()
    assert "it tells 10 classes apart, the test images have 12" in " ".join(output.err.split()) and output.out == ""


def test_the_sheet_holds_twelve_digits_that_can_be_found(digits: Data) -> None:
    picture, _ = decoded(sheet(digits.test.x), LONGEST)
    assert len(find(picture)) == 12


@pytest.fixture(scope="module")
def digits() -> Data:
    return load(Scenario("bench", train=600, test=200, validation=100))


@pytest.fixture(scope="module")
def files(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    leaving = Outgoing(model.spec(), model.initial(0), digits.train.x, digits.spec.labels)
    path: Path = tmp_path_factory.mktemp("bench")
    tflite.save_int8(leaving, path / "model.int8.tflite")
    onnx.save(leaving, path / "model.onnx")
    return path


@pytest.mark.slow
def test_models_are_measured_each_in_a_process_of_its_own(files: Path, capfd: pytest.CaptureFixture[str]) -> None:
    few = ["--images", "200", "--calls", "40", "--passes", "1"]
    assert command.main([str(files), *few, "--json", "--plot", str(files / "plot.svg")]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [r["file"] for r in rows] == ["model.onnx", "model.int8.tflite"] and (
        files / "plot.svg"
    ).stat().st_size > 1000
    for r in rows:
        assert 0 < r["ms"]["p50"] <= r["ms"]["p95"] <= r["ms"]["p99"] < r["photograph_ms"]["p99"]
        assert 20e6 < r["peak_bytes"] < min(300e6, peak())  # this process has TensorFlow in it
        assert r["whole_mw"] == pytest.approx(1000 * 2.7 + r["marginal_mw"]) or r["energy"] == "measured"
    assert rows[0]["agrees"] == 1.0 and rows[1]["bytes"] == (files / "model.int8.tflite").stat().st_size


def test_a_damaged_model_is_named_and_the_others_are_measured(
    files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"nothing")
    few = ["--images", "20", "--calls", "5", "--passes", "1"]
    assert command.main([str(bad), str(files / "model.onnx"), *few]) == 1
    output = capfd.readouterr()
    assert "bad.onnx" in output.err and "onnx" in output.out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nowhere.tflite"], "no such file"),
        (["."], "holds no exported model"),
        (["README.md"], "should end in one of .tflite"),
        (["m.onnx", "--calls", "0"], "--calls 0 should be 1 or more"),
        (["m.onnx", "--rate", "-1"], "--rate -1 should be 0 or more"),
        (["m.onnx", "--rate", "nan"], "--rate nan should be 0 or more"),
        (["m.onnx", "--watts", "inf"], "--watts inf should be 0 or more"),
        (["m.onnx", "--plot", "no/such/place.png"], "there is no folder no/such"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2 and words in capsys.readouterr().err


def test_a_damaged_photograph_is_named(
    digits: Data, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = sheet(digits.test.x)
    for name, octets in (("cut.jpg", whole[:30]), ("text.jpg", b"hello"), ("empty.png", b"")):
        (tmp_path / name).write_bytes(octets)
        with pytest.raises(SystemExit) as ended:
            command.main([str(files / "model.onnx"), "--photograph", str(tmp_path / name)])
        assert ended.value.code == 2 and str(tmp_path / name) in capsys.readouterr().err


def test_a_figure_of_no_kind_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_measured", lambda *_: pytest.fail("it measures"))
    with pytest.raises(SystemExit):
        command.main([str(tmp_path), "--plot", "figure.jpgg"])
    assert "--plot figure.jpgg should end in .png, .svg, .pdf" in capsys.readouterr().err
