"""The report's words and numbers follow from the rounds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.config.scenario import Scenario
from core.scores import Sums
from server import record
from server.evaluation import Scores
from server.rounds import Round
from tests.fakes import START

ROUND = Round(
    number=4, rate=0.05, arrays=START, sums=Sums(300.0, 150, 200), clients=[0, 3], idle=[], tasks={0: 1, 3: 0},
    memory={0: 0, 3: 789}, bytes=(100, 200), failed={2: "no answer within 5 s"}, retried={3: "host:17"},
    examples={},
    battery={},
    drift={0: 0.1, 3: 0.2}, seconds=1.5, shared={}, updates={}, capped={}, odd={}, notes=[],
)  # fmt: skip


MARKS = Scores(Sums(20.0, 90, 100), [0.9], [0.9] * 10)


def fact(done: Round = ROUND, **changes: object) -> record.Facts:
    return record.fact(done, MARKS, Sums(8.0, 30, 40), 1000, 0.5) | changes


def test_a_rounds_facts_are_sums_divided_once() -> None:
    told = fact()
    assert (told["train_loss"], told["train_accuracy"]) == (1.5, 0.75)
    assert (told["loss"], told["accuracy"], told["validation_loss"], told["validation_accuracy"]) == (
        0.2,
        0.9,
        0.2,
        0.75,
    )
    assert (told["examples"], told["seen"]) == (200, 1200)
    assert told["drift"] == {"0": 0.1, "3": 0.2} and json.loads(json.dumps(told)) == told


def test_without_validation_images_nothing_is_said_of_them() -> None:
    told = record.fact(ROUND, MARKS, None, 0, 0.5)
    assert told["validation_loss"] is None and told["validation_accuracy"] is None


def test_events_name_round_client_and_reason() -> None:
    assert record.events(fact()) == [
        "round 4: client 2: no answer within 5 s; left out",
        "round 4: worker host:17 was lost while it played client 3, who was asked again",
    ]


def test_whose_count_was_not_believed_and_what_stands_out_is_named() -> None:
    odd = replace(
        ROUND, failed={}, retried={}, capped={3: 10**6}, odd={0: "its update points away"}, notes=["node x was refused"]
    )
    capped, away, note = record.events(fact(odd))
    assert "client 3 says 1,000,000 examples" in capped and "client 0: its update points away" in away
    assert note == "round 4: node x was refused"


def test_a_round_in_which_nothing_went_wrong_has_no_events() -> None:
    assert record.events(fact(failed={}, retried={})) == []


def test_when_nobody_answered_the_report_says_so() -> None:
    assert record.events(fact(clients=[], failed={}, retried={})) == [
        "round 4: nobody answered; the old weights were kept"
    ]


def test_what_the_server_could_not_do_is_not_blamed_on_a_client() -> None:
    (told,) = record.events(fact(failed={"-1": "the strategy could not aggregate 2 answers: why"}, retried={}))
    assert told.startswith("round 4: the server: the strategy could not") and "client" not in told
    assert "left out" not in told  # nobody was


def test_a_digest_tells_values_shapes_kinds_and_order_apart() -> None:
    w = [np.arange(6, dtype=np.float32), np.zeros(2, np.float32)]
    others = [
        [w[0].reshape(2, 3), w[1]], [w[0].astype(np.float64), w[1]], w[::-1], [w[0] + np.float32(1e-6), w[1]], w[:1]
    ]  # fmt: skip
    assert len({record.digest(one) for one in [w, *others]}) == 6
    assert record.digest(w) == record.digest([a.copy() for a in w])
    assert record.digest([np.asfortranarray(w[0].reshape(2, 3))]) == record.digest([w[0].reshape(2, 3)])


def test_a_run_counts_turns_and_adds_seconds(tmp_path: Path) -> None:
    history = [fact(), fact(round=5, clients=[0, 2], accuracy=0.95, loss=0.1)]
    told = record.run(Scenario("x", seed=7), history, START, ["something"], tmp_path)
    assert told["turns"] == {"0": 2, "2": 1, "3": 1} and told["rounds"] == 2 and told["seed"] == 7
    assert (told["accuracy"], told["loss"], told["events"]) == (0.95, 0.1, ["something"])
    assert told["seconds"] == {"training": 3.0, "evaluation": 1.0}
    assert Scenario.of(json.dumps(told["settings"])) == Scenario("x", seed=7)


def test_a_report_is_saved_whole_with_a_line_a_round(tmp_path: Path) -> None:
    told = record.run(Scenario("x"), [fact(), fact(round=5)], START, [], tmp_path)
    record.save(tmp_path, told)
    assert json.loads((tmp_path / "report.json").read_text()) == told
    lines = (tmp_path / "rounds.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in lines] == [4, 5]
    assert {file.name for file in tmp_path.iterdir()} == {"report.json", "rounds.jsonl"}


def test_saving_again_replaces(tmp_path: Path) -> None:
    for number in (1, 2):
        record.lines(tmp_path, [fact(round=n) for n in range(number)])
    assert len((tmp_path / "rounds.jsonl").read_text().splitlines()) == 2


def test_saved_json_is_json_even_after_a_run_that_diverged(tmp_path: Path) -> None:
    """NaN and Infinity are no JSON: browsers and jq refuse the file."""
    record.lines(tmp_path, [fact(loss=float("nan"), train_loss=float("inf"))])

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    json.loads((tmp_path / "rounds.jsonl").read_text(), parse_constant=refuse)


def trained(*points: tuple[float, float]) -> list[record.Facts]:
    return [{"round": i, "validation_loss": v, "loss": v, "accuracy": a} for i, (v, a) in enumerate(points, 1)]


GOOD, BAD = trained((0.3, 0.9), (0.1, 0.97)), trained((0.1, 0.978), (1.25, 0.83))


def test_run_and_baselines_that_diverged_are_named() -> None:
    facts = {"history": BAD, "curves": {"centralized": BAD, "joint": GOOD, "local": [{"round": 2, "accuracy": 0.5}]}}
    facts |= {"continual": {}, "settings": {"leave": []}}
    found = record.diverged(facts)
    assert set(found) == {"federated", "centralized"} and "round 1" in found["centralized"]
    assert found["federated"].startswith("this run diverged: ")
    assert found["centralized"].startswith("the centralized baseline diverged: ")
    assert record.diverged(facts | {"history": GOOD, "curves": {}}) == {}


@pytest.mark.parametrize("change", [{"continual": {"stages": [0, 1]}}, {"settings": {"leave": [[0, 12]]}}])
def test_forgetting_is_not_called_divergence_but_a_pooled_training_forgets_nothing(change: record.Facts) -> None:
    facts = {"history": BAD, "curves": {"centralized": BAD, "joint": BAD}, "continual": {}, "settings": {"leave": []}}
    assert set(record.diverged(facts | change)) == {"centralized"}
