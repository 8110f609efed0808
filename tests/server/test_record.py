"""A report's words and numbers follow from the rounds; what is written is what is read, and what is not ours is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.arrays import digest
from core.config.scenario import Scenario
from core.curves import Point
from core.metrics import Measures
from server import record
from server.record import (
    BestRound,
    Continual,
    ExportedFile,
    Exports,
    ForgettingSplit,
    Latency,
    Report,
    RoundRecord,
    RoundSeconds,
    Shard,
    Traffic,
    Version,
)  # fmt: skip

ROUND = RoundRecord(
    4, 0.05, (0, 3), tasks={0: 1, 3: 0}, memory={0: 0, 3: 789}, bytes=Traffic(100, 200), failed={2: "no answer within 5 s"},
    retried={3: "host:17"}, examples=200, seen=1200, accuracy=0.9, loss=0.2, tasks_accuracy=(0.9, 0.8),
    classes_accuracy=(0.5, None), drift={0: 0.1, 3: None}, forgetting_split=ForgettingSplit(0.1, 0.01, -0.2, 0.02),
    clients_accuracy={3: 0.75}, seconds=RoundSeconds(1.5, 0.5),
)  # fmt: skip
REPORT = Report(
    Scenario("x", seed=7, leave=((0, 2),)), 0.9, 0.2, "ab12", (ROUND, replace(ROUND, round=5)),
    (Shard(3, 120, (60, 60), {"rotate": 0.5}, 0.8, 20, 2),), ((5, 1), (0, 6)),
    Continual(("0", "1"), (0, 1), (4, 5), ((0.9, 0.1), (0.8, 0.7)), Measures(0.8, 0.85, 0.1, -0.1, 0.0), clients=({}, {3: 0.5})),
    ("something",), {"federated": BestRound(0.9, 4, 0.2, 0.3), "local": None}, {"centralized": 0.95},
    {"centralized": (Point(0.95, 1, 0.1, 0.1, 100.0),)}, diverged={"centralized": "it did"},
    stages=(Version(1, 4, 0.9, {"0": 0.9}, ("why",)),), current=1,
    exports=Exports(10, {"tf.function": Latency(1.0, 2.0)}, {"model.onnx": ExportedFile(9, 0.9, 0.0, 1.0)}, {"x": "y"}),
)  # fmt: skip


def test_a_report_that_is_written_is_read_again(tmp_path: Path) -> None:
    record.save(tmp_path, REPORT)
    assert record.load(tmp_path) == REPORT and record.load_rounds(tmp_path) == list(REPORT.history)
    top = json.loads((tmp_path / "report.json").read_text())
    assert (top["schema"], top["scenario"], top["seed"], top["rounds"], top["clients"]) == (3, "x", 7, 2, 20)
    assert {file.name for file in tmp_path.iterdir()} == {"report.json", "rounds.jsonl"}


def test_saving_again_replaces(tmp_path: Path) -> None:
    for number in (1, 2):
        record.save_rounds(tmp_path, [replace(ROUND, round=n) for n in range(number)])
    assert [row.round for row in record.load_rounds(tmp_path)] == [0, 1]


def test_saved_json_is_json_even_after_a_run_that_diverged(tmp_path: Path) -> None:
    """NaN and Infinity are no JSON: browsers and jq refuse the file. What is no finite number is read as not known."""
    record.save_rounds(tmp_path, [replace(ROUND, loss=float("nan"), train_loss=float("inf"))])

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    json.loads((tmp_path / "rounds.jsonl").read_text(), parse_constant=refuse)
    (row,) = record.load_rounds(tmp_path)
    assert row.loss is None and row.train_loss is None


@pytest.mark.parametrize(
    "change, words",
    [
        ({"schema": 1}, "has schema 1, made by another version"),
        ({"schema": None}, "has schema None"),
        ({"accuracy": "0.9"}, "accuracy = '0.9' should be a number"),
        ({"history": [{"rate": 0.1}]}, "lacks round"),
        ({"history": 5}, "history = 5"),
        ({"surprise": 1}, "surprise"),
        ({"settings": {"name": "x", "rounds": "three"}}, "rounds = 'three'"),
    ],
)
def test_what_is_no_report_of_ours_is_refused_in_words(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        record.parse(record.report_json(REPORT) | change)


def test_a_report_without_a_schema_is_an_older_programs() -> None:
    found = {key: value for key, value in record.report_json(REPORT).items() if key != "schema"}
    with pytest.raises(ValueError, match="has schema 1"):
        record.parse(found)


def test_settings_with_words_of_older_programs_are_read() -> None:
    found = record.report_json(REPORT)
    found["settings"]["patience"] = found["settings"].pop("round_timeout")
    assert record.parse(found).settings == REPORT.settings


def test_events_name_round_client_and_reason() -> None:
    assert record.events(ROUND) == [
        "round 4: client 2: no answer within 5 s; left out",
        "round 4: worker host:17 was lost while it played client 3, who was asked again",
    ]


def test_answers_whose_loss_makes_no_sense_are_one_event_and_a_smaller_rate_is_advised_where_all_do() -> None:
    senseless = "the answer's numbers make no sense: loss = {} should be between -1 and 1"
    failed = {
        0: senseless.format("2e+30"),
        1: "array 0 holds NaN or infinity",
        2: senseless.format("5"),
        4: senseless.format("9"),
    }
    row = RoundRecord(4, rate=50.0, failed=failed)
    assert record.events(row) == [
        f"round 4: client 0: {failed[0]}; left out, and for the like client 2, client 4",
        "round 4: client 1: array 0 holds NaN or infinity; left out",
        "round 4: no answer made sense; the old weights were kept; a smaller local.rate may help (it was 50)",
    ]
    assert "local.rate" not in " ".join(record.events(replace(row, clients=(3,))))  # whose answer made sense
    assert "local.rate" not in " ".join(record.events(replace(row, failed=failed | {5: "no answer within 5 s"})))


QUIET = replace(ROUND, failed={}, retried={})


def test_whose_count_was_not_believed_and_what_stands_out_is_named() -> None:
    row = replace(QUIET, capped={3: 10**6}, odd={0: "its update points away"}, notes=("node x was refused",))
    capped, away, note = record.events(row)
    assert "client 3 says 1,000,000 examples" in capped and "client 0: its update points away" in away
    assert note == "round 4: node x was refused"


def test_a_round_in_which_nothing_went_wrong_has_no_events() -> None:
    assert record.events(QUIET) == []


def test_when_nobody_answered_the_report_says_so() -> None:
    assert record.events(replace(QUIET, clients=())) == ["round 4: nobody answered; the old weights were kept"]


def test_what_the_server_could_not_do_is_not_blamed_on_a_client() -> None:
    (event,) = record.events(replace(QUIET, server_error="the strategy could not aggregate 2 replies: why"))
    assert event.startswith("round 4: the server: the strategy could not") and "client" not in event
    assert "left out" not in event  # nobody was


def test_a_digest_tells_values_shapes_kinds_and_order_apart() -> None:
    w = [np.arange(6, dtype=np.float32), np.zeros(2, np.float32)]
    others = [
        [w[0].reshape(2, 3), w[1]], [w[0].astype(np.float64), w[1]], w[::-1], [w[0] + np.float32(1e-6), w[1]], w[:1]
    ]  # fmt: skip
    assert len({digest(one) for one in [w, *others]}) == 6
    assert digest(w) == digest([a.copy() for a in w])
    assert digest([np.asfortranarray(w[0].reshape(2, 3))]) == digest([w[0].reshape(2, 3)])


def rows(*points: tuple[float, float]) -> tuple[RoundRecord, ...]:
    return tuple(RoundRecord(i, accuracy=a, loss=v, validation_loss=v) for i, (v, a) in enumerate(points, 1))


def curve(history: tuple[RoundRecord, ...]) -> tuple[Point, ...]:
    return tuple(row.point for row in history)


GOOD, BAD = rows((0.3, 0.9), (0.1, 0.97)), rows((0.1, 0.978), (1.25, 0.83))


def test_run_and_baselines_that_diverged_are_named() -> None:
    curves = {"centralized": curve(BAD), "joint": curve(GOOD), "local": (Point(0.5, 2),)}
    report = Report(Scenario("x"), history=BAD, curves=curves)
    found = record.divergences(report)
    assert set(found) == {"federated", "centralized"} and "round 1" in found["centralized"]
    assert found["federated"].startswith("this run diverged: ")
    assert found["centralized"].startswith("the centralized baseline diverged: ")
    assert record.divergences(replace(report, history=GOOD, curves={})) == {}


@pytest.mark.parametrize("change", [{"continual": REPORT.continual}, {"settings": Scenario("x", leave=((0, 12),))}])
def test_forgetting_is_not_called_divergence_but_a_pooled_training_forgets_nothing(change: dict[str, Any]) -> None:
    curves = {"centralized": curve(BAD), "joint": curve(BAD)}
    report = replace(Report(Scenario("x"), history=BAD, curves=curves), **change)
    assert set(record.divergences(report)) == {"centralized"}
