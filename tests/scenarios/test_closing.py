"""The closing table: what a person asks first, and of which model each line speaks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from core.config.scenario import Scenario
from scenarios.closing import closing, files
from scenarios.terminal import Terminal
from server.record import BestRound, ExportedFile, Exports, Report, RoundRecord, Shard, Version

REPORT = Report(
    Scenario("noniid", seed=3, clients=4, cohort=2), 0.9876, 0.0432, "c0ffee" * 11,
    (RoundRecord(1), RoundRecord(2, seen=12345)), (Shard(0, accuracy=0.5), Shard(1, accuracy=1.0)),
    events=tuple(f"event {i}" for i in range(7)), baselines={"centralized": 0.99}, seconds={"training": 61.0},
    folder="runs/noniid-3",
    exports=Exports(
        files={"model.onnx": ExportedFile(901_000, 0.98, 0.0, 1.0, latency_ms=0.1)}, refused={"model.tflite": "it is wrong"}
    ),
)  # fmt: skip


def closing_rows(report: Report, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What is said of each name; lines without a name belong to the one above."""
    Console(width=200).print(closing(report))
    found: dict[str, str] = {}
    name = ""
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("│"):
            first, text = (cell.strip() for cell in line.strip("│").split("│"))
            name = first or name
            found[name] = f"{found.get(name, '')} {text}".strip()
    return found


def test_the_closing_table_says_what_a_person_asks_first(capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=120).print(closing(REPORT))
    output = capsys.readouterr().out
    for words in (
        "98.76 %", "loss 0.0432", "centralized baseline", "99.00 %", "-0.24 points", "mean 75.00 %, worst 50.00 %",
        "12,345 gradient examples", "model.onnx", "901 kB", "model.tflite REFUSED", "it is wrong", "event 4",
        "and 2 more", "runs/noniid-3", "c0ffee",
    ):  # fmt: skip
        assert words in output
    assert "event 5" not in output


BEST = {"federated": BestRound(0.989, 1, 0.04, 0.03), "centralized": BestRound(0.993, 2, 0.04, 0.02)}


def test_a_current_version_of_the_run_before_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Its round is one of that run, and this one has rounds with the same numbers."""
    stages = (Version(2, round=4, accuracy=0.3), Version(3, round=2, accuracy=0.5))
    report = replace(REPORT, settings=replace(REPORT.settings, past=2), stages=stages)
    assert closing_rows(replace(report, current=3), capsys)["current"] == "version 3: 50.00 % after round 2"
    old = closing_rows(replace(report, current=2), capsys)["current"]
    assert old == "version 2: 30.00 % after round 4 of the run before this one"


def test_what_clients_say_is_text_and_no_markup(capfd: pytest.CaptureFixture[str]) -> None:
    """A reason `[/]` would end the table in an error, and others would colour it or make links."""
    Terminal().print(closing(replace(REPORT, events=("client 3: [/]", "client 4: [link=file:///x]here[/link]"))))
    out = capfd.readouterr().out
    assert "client 3: [/]" in out and "[link=file:///x]here[/link]" in out


def test_last_weights_are_compared_with_last_and_best_with_best(capsys: pytest.CaptureFixture[str]) -> None:
    rows = closing_rows(replace(REPORT, best=BEST), capsys)
    assert "98.76 % at the end" in rows["test accuracy"] and "98.90 % at its best round" in rows["test accuracy"]
    central = rows["centralized baseline"]
    assert "99.00 %   (-0.24 points) at the end" in central
    assert "99.30 %   (-0.40 points) at its best round by validation loss, 2" in central


def test_without_validation_images_nothing_is_compared_by_best(capsys: pytest.CaptureFixture[str]) -> None:
    rows = closing_rows(replace(REPORT, best={"federated": None, "centralized": None}), capsys)
    assert "best round" not in " ".join(rows.values())


def test_what_diverged_stands_above_all_and_is_said_beside_the_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    why = "the centralized baseline diverged: its validation loss rose"
    rows = closing_rows(replace(REPORT, diverged={"centralized": why}, events=(why,)), capsys)
    assert next(iter(rows)) == "DIVERGED" and rows["DIVERGED"] == why
    assert "it diverged" in rows["centralized baseline"] and "note" not in rows


def test_a_run_whose_loss_is_no_number_still_ends_with_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert "loss not finite" in closing_rows(replace(REPORT, loss=None), capsys)["test accuracy"]


STAGES = (Version(1, 1, 0.97), Version(2, 2, 0.9876))


def test_after_a_gate_refused_each_row_says_of_which_version_it_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    rows = closing_rows(replace(REPORT, stages=STAGES, current=1), capsys)
    assert "version 2, which is not current" in rows["test accuracy"] and "version 2" in rows["weights"]
    assert rows["current"] == "version 1: 97.00 % after round 1"
    assert rows["model.onnx"].startswith("version 1: ") and rows["model.tflite REFUSED"].startswith("version 1: ")


def test_a_version_that_is_current_is_not_called_refused(capsys: pytest.CaptureFixture[str]) -> None:
    rows = closing_rows(replace(REPORT, stages=STAGES, current=2), capsys)
    assert "version 2)" in rows["test accuracy"] and "not current" not in " ".join(rows.values())


def test_where_no_version_passed_it_says_why_there_are_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    rows = closing_rows(replace(REPORT, stages=STAGES, exports=Exports()), capsys)
    assert "none passed the gate" in rows["current"] and "model.onnx" not in rows


def test_a_run_that_taught_some_digits_says_that_it_is_tested_on_all(capsys: pytest.CaptureFixture[str]) -> None:
    some = replace(REPORT, settings=replace(REPORT.settings, digits=(6, 7, 8)))
    assert "on all ten digits, of which this run taught 6, 7 and 8" in closing_rows(some, capsys)["test accuracy"]
    assert "taught" not in closing_rows(REPORT, capsys)["test accuracy"]


def test_a_clients_own_model_is_compared_on_its_own_digits(capsys: pytest.CaptureFixture[str]) -> None:
    shards = (Shard(0, 10, accuracy=0.5, tested=100), Shard(2, 10, accuracy=1.0, tested=100))
    report = replace(REPORT, shards=shards, local_own_accuracies=(0.7, 0.1, 0.9))
    assert (
        "alone 80.00 %; joining clearly helps 1 of 2 clients and harms 1"
        in closing_rows(report, capsys)["on clients' own digits"]
    )
    few = replace(report, shards=tuple(replace(shard, tested=10) for shard in shards))  # one image more is chance
    assert "joining clearly helps 0 of 2 clients and harms 0" in closing_rows(few, capsys)["on clients' own digits"]
    personal = replace(report, shards=tuple(replace(shard, personal_accuracy=0.9) for shard in shards))
    assert "the global model clearly helps 1 of 2" in closing_rows(personal, capsys)["on clients' own digits"]
    rows = closing_rows(replace(REPORT, baselines={"local": 0.6}), capsys)
    assert "on all ten digits" in rows["local baseline"]


def test_parts_of_the_time_add_up_and_baselines_are_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = {"training": 60.0, "evaluation": 10.0, "baselines": 1.0, "export": 4.0, "total": 80.0}
    times = "start and data 5 s, training 60 s, evaluation 10 s, waiting for baselines 1 s, export 4 s, total 80 s"
    assert closing_rows(replace(REPORT, seconds=seconds), capsys)["time"] == times
    alone = replace(REPORT, seconds=seconds | {"baselines": 0.0}, baselines={})
    assert "baselines" not in closing_rows(alone, capsys)["time"]
    assert closing_rows(REPORT, capsys)["time"] == "training 61 s"  # of an interrupted run nobody knows the total


def test_the_table_of_exports_says_of_what(capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=120).print(files(Exports(), "version 3, the current one"))
    assert "exports of version 3, the current one" in capsys.readouterr().out
