"""A whole run in one process: what it leaves, and that it goes on after any interruption as if there had been none."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from flwr.app import Message

from core.config.part import Part
from core.config.scenario import Model, Scenario
from core.methods import METHODS
from core.models import of
from fl.channel import Stopped
from fl.strategies import CUTTING, STRATEGIES
from scenarios.backends.local import LocalGrid
from server import evaluation, record, versions
from server.record import Report, RoundSeconds
from server.run_folder import rounds_lock
from tests.fakes import Onlooker, federate
from tests.marks import slow_but


@pytest.fixture(scope="module")
def four(tiny: Scenario) -> Scenario:
    """Four rounds, without looks."""
    return replace(tiny, train=400, test=100, validation=50, clients=4, cohort=3, rounds=4, looks=())


def timeless(report: Report) -> Report:
    """The report without how long it took and where it is."""
    history = tuple(replace(row, seconds=RoundSeconds()) for row in report.history)
    costs = replace(report.costs, clients_processor=0.0, server_processor=0.0)
    return replace(report, history=history, seconds={}, folder="", costs=costs)


def interrupted(scenario: Scenario, folder: Path, at: int) -> None:
    """Stop inside this round, after its first reply."""
    with pytest.raises(Stopped):
        federate(scenario, folder, Onlooker(at))


FEW = ("fedavg", "fedadam", "ditto", "scaffold")  # without state; with state on the server, on clients, on both
QUICK = slow_but(FEW, STRATEGIES)


@pytest.mark.parametrize("name", QUICK)
def test_two_rounds_and_two_more_are_four_to_the_last_bit(four: Scenario, name: str, tmp_path: Path) -> None:
    model = Model(norm="batch") if name == "fedbn" else four.model
    scenario = replace(four, strategy=Part(name), model=model)
    if name in CUTTING:
        scenario = replace(scenario, clients=8, cohort=7)
    whole = federate(scenario, tmp_path / "whole")
    interrupted(scenario, tmp_path / "parts", at=3)
    assert timeless(federate(scenario, tmp_path / "parts")) == timeless(whole)
    # Who has other digits than all others may be named as pointing away from them.
    assert len(whole.history) == 4 and all("points away" in event for event in whole.events)
    assert len({row.loss for row in whole.history}) == 4  # every round moved the weights


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_a_schedule_goes_on_where_it_was(four: Scenario, schedule: str, tmp_path: Path) -> None:
    scenario = replace(four, cohort=2, schedule=Part(schedule))
    whole = federate(scenario, tmp_path / "whole")
    interrupted(scenario, tmp_path / "parts", at=2)
    interrupted(scenario, tmp_path / "parts", at=4)
    assert timeless(federate(scenario, tmp_path / "parts")) == timeless(whole)


def test_a_run_interrupted_in_its_first_round_starts_anew(four: Scenario, tmp_path: Path) -> None:
    scenario = replace(four, cohort=2, rounds=2)
    interrupted(scenario, tmp_path / "parts", at=1)
    assert timeless(federate(scenario, tmp_path / "parts")) == timeless(federate(scenario, tmp_path / "whole"))


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [truncated, flipped])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(four: Scenario, damage: Any, tmp_path: Path) -> None:
    scenario = replace(four, cohort=2, strategy=Part("fedadam"))
    whole = federate(scenario, tmp_path / "whole")
    interrupted(scenario, tmp_path / "parts", at=4)
    newest = tmp_path / "parts" / "checkpoints" / "round-00003.npz"
    newest.write_bytes(damage(newest.read_bytes()))
    report = federate(scenario, tmp_path / "parts")
    assert report.events == ("checkpoint round-00003.npz was damaged and not used",)
    assert replace(timeless(report), events=()) == timeless(whole)


class Failing(LocalGrid):
    """A server that dies inside a round."""

    left = 3

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        self.left -= 1
        if not self.left:
            raise MemoryError
        return super().pull_messages(message_ids)


def test_a_run_that_went_on_from_another_and_lost_its_checkpoints_is_refused(tiny: Scenario, tmp_path: Path) -> None:
    """Older weights are there as a version, but what the server kept for methods is not."""
    after = replace(tiny, past=1)
    versions.keep(tmp_path, record.Version(1), of(after).initial(0), {})
    with pytest.raises(
        ValueError, match=r"no checkpoint of it can be read \(there is none\).*begin it anew with --from"
    ):
        federate(after, tmp_path)
    (tmp_path / "checkpoints" / "round-00000.npz").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"round-00000.npz"):
        federate(after, tmp_path)


def test_a_server_that_dies_inside_a_round_goes_on_from_the_one_before(four: Scenario, tmp_path: Path) -> None:
    scenario = replace(four, cohort=2, rounds=2)
    with pytest.raises(MemoryError):
        federate(scenario, tmp_path / "parts", grid=Failing(2, {"memory": str(tmp_path / "clients")}))
    whole = federate(scenario, tmp_path / "whole")
    assert timeless(federate(scenario, tmp_path / "parts")) == timeless(whole)


def test_a_finished_run_resumed_is_the_same_run(four: Scenario, tmp_path: Path) -> None:
    scenario = replace(four, cohort=2, rounds=2)
    assert timeless(federate(scenario, tmp_path)) == timeless(federate(scenario, tmp_path))


def test_a_run_leaves_its_facts(tiny: Scenario, tmp_path: Path) -> None:
    watch = Onlooker()
    report = federate(tiny, tmp_path, watch)
    assert record.load(tmp_path) == report
    rows = record.load_rounds(tmp_path)
    assert tuple(rows) == report.history == tuple(watch.rounds) and [row.round for row in rows] == [1, 2]
    top = json.loads((tmp_path / "report.json").read_text())
    assert (top["scenario"], top["seed"], top["rounds"], top["clients"]) == ("tiny", 0, 2, 4)
    assert report.accuracy == rows[-1].accuracy and report.events == ()
    assert [one.client for one in report.shards] == [0, 1, 2, 3]
    assert sum(one.examples for one in report.shards) == 500
    assert sum(one.rounds for one in report.shards) == 6
    assert sum(map(sum, report.confusion)) == 150
    assert rows[-1].seen == sum(row.examples for row in rows)
    assert report.settings == tiny
    assert {file.name for file in tmp_path.iterdir()} - {"clients"} == {
        "report.json",
        "rounds.jsonl",
        "checkpoints",
        "versions",
        "best.npz",
    }
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_a_worker_lost_on_the_way_is_named_in_the_report(tiny: Scenario, tmp_path: Path) -> None:
    mark = tmp_path / "run" / "clients" / "client-00002" / "round-0002.begun"
    mark.parent.mkdir(parents=True)
    mark.write_text("host:17")
    scenario = replace(tiny, cohort=4)
    report = federate(scenario, tmp_path / "run")
    assert [row.retried for row in report.history] == [{}, {2: "host:17"}]
    assert report.events == ("round 2: worker host:17 was lost while it played client 2, who was asked again",)
    assert report.weights_sha256 == federate(scenario, tmp_path / "other").weights_sha256


def test_a_plateau_stops_early_and_the_report_says_how_many_rounds(four: Scenario, tmp_path: Path) -> None:
    still = replace(four.local, rate=0.0)  # nothing gets better; the mean of one is itself to the last bit
    scenario = replace(four, cohort=1, rounds=9, local=still, schedule=Part("plateau", {"stop": 2}))
    assert len(federate(scenario, tmp_path).history) == 3


def test_a_run_that_stops_early_is_tested_on_all_test_images(
    four: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a stage with conditions a sample is looked at; what it ends with is read on all of them, as at any end."""
    monkeypatch.setattr(evaluation, "SAMPLE", 20)
    stream = Part("domains", {"conditions": "plain+invert"})
    still = replace(four.local, rate=0.0)
    scenario = replace(four, cohort=1, rounds=20, local=still, schedule=Part("plateau", {"stop": 2}), stream=stream)
    report = federate(scenario, tmp_path)
    assert len(report.history) == 3
    counts = [four.test * share for share in report.history[-1].tasks_accuracy]
    assert counts == pytest.approx(np.rint(counts)) and report.accuracy == pytest.approx(sum(counts) / (2 * four.test))
    assert sum(row[i] for i, row in enumerate(report.confusion)) == pytest.approx(counts[0])
    assert record.load_rounds(tmp_path)[-1] == report.history[-1]
    assert versions.about(versions.listed(tmp_path)[-1]).accuracy == report.accuracy
    assert report.events[-1] == "the schedule ended the run in stage 1 of 2; the later ones were not played"


def test_learning_learns(tiny: Scenario, tmp_path: Path) -> None:
    scenario = replace(tiny, rounds=6, cohort=4, looks=(), local=replace(tiny.local, epochs=3.0, rate=0.1))
    accuracy = federate(scenario, tmp_path).accuracy
    assert accuracy and accuracy > 0.5  # a guess is right one time in ten


LONG = slow_but(("replay",), METHODS)


@pytest.mark.parametrize("name", LONG)
def test_a_continual_run_interrupted_in_any_stage_goes_on_to_the_same_weights(
    tiny: Scenario, name: str, tmp_path: Path
) -> None:
    scenario = replace(
        tiny, train=300, rounds=4, clients=3, cohort=3, stream=Part("classes", {"per_task": 5}), methods=(Part(name),),
        order=1.0, probe=20, looks=(),
    )  # fmt: skip
    whole = federate(scenario, tmp_path / "whole")
    for at in (2, 3, 4):
        interrupted(scenario, tmp_path / "parts", at)
    parts = federate(scenario, tmp_path / "parts")
    assert timeless(parts) == timeless(whole)
    split = whole.continual and whole.continual.forgetting_split
    assert split and np.isfinite([split.temporal, split.spatial]).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["replay", "der", "derpp", "agem", "joint"])
def test_no_image_of_a_memory_is_ever_on_the_wire(tiny: Scenario, name: str, tmp_path: Path) -> None:
    """Every byte that clients send, against every image that they keep."""
    sent: list[bytes] = []

    class Tapped(LocalGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
            replies = super().pull_messages(message_ids)
            for reply in replies:
                sent.append(repr(reply.content).encode())
                for arrays in reply.content.array_records.values():
                    sent.extend(array.data for array in arrays.values())
            return replies

    scenario = replace(
        tiny, clients=2, cohort=2, rounds=2, stream=Part("classes", {"per_task": 5}), methods=(Part(name),)
    )
    home = tmp_path / "clients"
    report = federate(scenario, tmp_path, grid=Tapped(2, {"memory": str(home)}))
    files = [np.load(file) for file in home.glob("*/round-*.npz")]
    kept = [file[key] for file in files for key in file.files if key.endswith("/x")]
    images = [image.tobytes() for stack in kept for image in stack if image.any()]
    assert len(images) > 50 and report.continual and report.continual.memory_bytes > 0
    first, second = (row.bytes for row in report.history)
    assert second.received <= first.sent + first.received  # nothing but weights
    everything = b"".join(sent)
    assert not any(image in everything for image in images)


def test_two_processes_never_run_in_one_folder(tiny: Scenario, tmp_path: Path) -> None:
    with rounds_lock(tmp_path), pytest.raises(ValueError, match="in use"):
        federate(tiny, tmp_path)
    assert len(federate(replace(tiny, rounds=1), tmp_path).history) == 1


def test_what_was_odd_in_the_data_is_an_event_once_and_not_again_after_an_interruption(tmp_path: Path) -> None:
    for label in "357":
        (tmp_path / "digits" / label).mkdir(parents=True)
        for number in range(12):
            image = np.full((28, 28), 255, np.uint8)
            image[4:24, int(label) : int(label) + 2 + number] = 0
            assert cv2.imwrite(str(tmp_path / "digits" / label / f"{number:02d}.png"), image)
    (tmp_path / "digits" / "10").mkdir()
    scenario = Scenario(
        "own", data=str(tmp_path / "digits"), validation=0, clients=2, cohort=2, rounds=3, minimum=2, partition=Part("iid")
    )  # fmt: skip
    interrupted(scenario, tmp_path / "run", at=3)
    left, inverted = federate(scenario, tmp_path / "run").events
    assert (
        left == "left out of digits, for they are no label folders 0 … 9: 1 (10)" and "they were inverted" in inverted
    )
