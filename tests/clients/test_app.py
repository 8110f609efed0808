"""Unpack, call, pack: a task's answer is what its client learns, and failures are told, not fatal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from clients import app, memory, work
from clients.learner import learn
from clients.sources.simulated import own_test, shard
from core.config.part import Part
from core.config.scenario import Scenario
from core.data import read
from core.engines import step, step_file
from core.scores import score
from fl import wire
from fl.checks import Limits
from fl.messages import Task
from fl.wire import Expected
from tests.fakes import identify, same
from tests.models import engine, initial, spec

START = initial(5)
WIDE = Limits(tasks=9)


def ask(scenario: Scenario, kind: str, client: int = 2, round: int = 1, **others: Any) -> Message:
    """A server's message to a client. others: of the task: a training step's file; run, before: on real nodes."""
    identify()
    task = Task(scenario, round, client, 0.1, START, **others)
    message = Message(wire.request(task, wire.record(START)), dst_node_id=1, message_type=kind)
    message.metadata.__dict__["_message_id"] = "1"  # a grid gives it
    return message


def play(message: Message, **node: str | int) -> RecordDict:
    return app.app(message, Context(0, 1, dict(node), RecordDict(), {})).content


def test_training_answers_what_the_client_learns(tiny: Scenario, home: Path) -> None:
    update = wire.update(play(ask(tiny, "train")), Expected(2, START))
    mine = shard(tiny.json(), 2)
    done, _ = learn(mine, Task(tiny, 1, 2, 0.1, START), {}, engine)
    assert same(list(update.arrays), done.arrays) and not same(done.arrays, START)
    assert update.sums == done.sums and update.examples == len(mine.train) and update.earlier == ""
    assert not home.exists() or not any(home.iterdir())  # fine-tuning remembers nothing


def test_fedprox_holds_the_weights(tiny: Scenario) -> None:
    free, zero, proximal = (
        wire.update(play(ask(replace(tiny, strategy=part), "train")), Expected(2, START)).arrays
        for part in (Part("fedavg"), Part("fedprox", {"mu": 0.0}), Part("fedprox", {"mu": 5.0}))
    )
    assert same(list(free), list(zero))
    moved = [sum(float(((w - s) ** 2).sum()) for w, s in zip(ws, START, strict=True)) for ws in (free, proximal)]
    assert 0 < moved[1] < moved[0]


def test_evaluation_judges_on_the_clients_own_images_and_says_what_it_holds(tiny: Scenario) -> None:
    update = wire.update(play(ask(tiny, "evaluate")), Expected(2, [], limits=Limits.of(tiny)))
    own, mine = own_test(tiny.json(), 2), shard(tiny.json(), 2)
    assert update.sums == score(engine.logits(START, own.x), own.y)
    assert list(update.labels) == np.bincount(mine.train.y, minlength=10).tolist()
    assert dict(zip(("rotate", "blur"), update.looks, strict=True)) == mine.looks


def test_a_round_begun_before_and_lost_is_told_once(tiny: Scenario, home: Path) -> None:
    lost = memory.begin(memory.home(home, 2), 1)
    assert lost == ""
    (home / "client-00002" / "round-0001.begun").write_text("elsewhere:17")
    first, second = (wire.update(play(ask(tiny, "train")), Expected(2, START)) for _ in "ab")
    assert first.earlier == "elsewhere:17" and second.earlier == ""
    assert same(list(first.arrays), list(second.arrays))


def test_a_node_brings_what_it_kept_of_the_run_before(tiny: Scenario, home: Path) -> None:
    """As a simulation does that goes on from another: the newest memory becomes that of round 0."""
    rehearsing = replace(tiny, methods=(Part("replay"),))
    for round in (1, 2):
        play(ask(rehearsing, "train", round=round, run="first"), client=2)
    after = replace(rehearsing, past=1)
    line = ("away", "first", "older")  # it took no part in the newest of them
    update = wire.update(
        play(ask(after, "train", run="second", before=line), client=2), Expected(2, START, limits=WIDE)
    )
    old = memory.before(memory.home(home, 2, "first"), 9)
    mine = shard(after.json(), 2)
    done, _ = learn(mine, Task(after, 1, 2, 0.1, START), old, engine)
    assert same(list(update.arrays), done.arrays) and update.rehearsed == done.rehearsed > 0
    assert not update.unprepared
    assert memory.before(memory.home(home, 2, "first"), 9).keys() == old.keys()  # the old run's stays


def test_a_node_that_kept_nothing_says_so(tiny: Scenario, home: Path) -> None:
    after = replace(tiny, methods=(Part("replay"),), past=1)
    for round in (1, 2):
        update = wire.update(
            play(ask(after, "train", round=round, run="second", before=("first",)), client=2), Expected(2, START)
        )
        assert update.unprepared
    fresh = wire.update(play(ask(replace(after, past=0), "train", run="third"), client=2), Expected(2, START))
    assert not fresh.unprepared  # no run before it
    nothing = wire.update(
        play(ask(replace(after, methods=tiny.methods), "train", run="fourth", before=("first",)), client=2),
        Expected(2, START),
    )
    assert not nothing.unprepared  # and no method that would miss it


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_whatever_a_client_raises_does_not_end_its_worker(
    tiny: Scenario, kind: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(work, "shard", fails)
    with pytest.raises(Exception, match=type(error).__name__) as caught:
        play(ask(tiny, kind))
    assert isinstance(caught.value, Exception)  # not SystemExit or KeyboardInterrupt


def test_two_clients_in_one_process_learn_as_each_does_alone(tiny: Scenario) -> None:
    scenario = replace(tiny, local=replace(tiny.local, momentum=0.9))
    a, b = (shard(scenario.json(), client) for client in (0, 1))
    first, second = (
        [learn(one, Task(scenario, 1, one.client, 0.05, START), {}, engine)[0].arrays for one in pair]
        for pair in ((a, b), (b, a))
    )
    assert same(first[0], second[1]) and same(first[1], second[0]) and not same(*first)


def test_a_real_node_plays_its_owners_client_and_no_other(tiny: Scenario) -> None:
    assert wire.who(play(ask(tiny, "query.who"), client=3)) == 3
    assert wire.update(play(ask(tiny, "train"), client=2), Expected(2, START)).client == 2
    with pytest.raises(RuntimeError, match="plays client 3, not 2"):
        play(ask(tiny, "train"), client=3)
    with pytest.raises(RuntimeError, match="unknown engine 'abacus'"):
        play(ask(tiny, "train"), client=2, engine="abacus")


@pytest.mark.slow
def test_a_node_without_tensorflow_needs_the_servers_step(tiny: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_installed", lambda module: False)
    with pytest.raises(RuntimeError, match="has sent no training step"):
        play(ask(tiny, "train"))
    file = step_file.build(spec(), tiny.local.batch)
    sent = ask(tiny, "train", step=file, digest=step.digest(file))
    assert wire.size(sent.content) - wire.size(ask(tiny, "train").content) == len(file)
    light = wire.update(play(sent), Expected(2, START))
    monkeypatch.setattr(work, "_installed", lambda module: True)
    stock = wire.update(play(ask(tiny, "train")), Expected(2, START))
    assert light.examples == stock.examples and light.sums.loss == pytest.approx(stock.sums.loss, rel=1e-2)
    assert not same(list(light.arrays), START)
    spoiled = ask(tiny, "train", step=file, digest=step.digest(file))
    spoiled.content["step"] = ConfigRecord({"file": file[:-1] + b"x", "sha256": step.digest(file)})
    monkeypatch.setattr(work, "_installed", lambda module: False)
    with pytest.raises(RuntimeError, match="SHA-256"):
        play(spoiled)


def test_a_node_learns_from_its_owners_folder(tiny: Scenario, tmp_path: Path) -> None:
    train, _ = read("mnist")
    for i in range(40):
        (tmp_path / "digits" / str(train.y[i])).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "digits" / str(train.y[i]) / f"{i}.png"), train.x[i])
    update = wire.update(play(ask(tiny, "train"), client=2, data=str(tmp_path / "digits")), Expected(2, START))
    judged = wire.update(play(ask(tiny, "evaluate"), client=2, data=str(tmp_path / "digits")), Expected(2, []))
    assert update.examples + judged.sums.examples == 40 and sum(judged.labels) == update.examples
