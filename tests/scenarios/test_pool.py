"""Workers in processes: every message has one reply, and neither a dead worker nor a poisonous message costs another."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from core.config.scenario import Scenario
from core.engines import default
from core.models import of
from fl import wire
from scenarios.backends import pool, processes, worker
from scenarios.backends.grid import identify
from scenarios.backends.worker import Answer
from tests.fakes import same


class Threads:
    """A pool without processes: everything is done at once, here; some calls lose their worker."""

    lost, files = (ConnectionError,), None

    def __init__(self, count: int, dies: Any = lambda ask: False) -> None:
        self.numbers, self.dies, self.replaced, self.shared = list(range(count)), dies, 0, 0

    def workers(self) -> list[int]:
        return self.numbers

    def submit(self, worker: int, function: Any, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.dies(arguments[0]):
            future.set_exception(ConnectionError())
        else:
            future.set_result(Answer(arguments[0].parts, None))
        return future

    def end(self, worker: int) -> None: ...

    def replace(self, worker: int) -> None:
        self.replaced += 1

    def share(self, array: np.ndarray) -> np.ndarray:
        self.shared += 1
        return array

    def let_go(self, block: Any) -> None: ...


def asks(count: int) -> list[Message]:
    identify()
    weights = wire.record([np.ones(3, np.float32)])
    contents = [RecordDict({"n": ConfigRecord({"n": i}), wire.ARRAYS: weights}) for i in range(count)]
    return [Message(content, dst_node_id=1, message_type="train") for content in contents]


def answered(grid: pool.PoolGrid, messages: list[Message]) -> list[Message]:
    keys = list(grid.push_messages(messages))
    replies: list[Message] = []
    while len(replies) < len(keys):
        replies += grid.pull_messages(keys)
    assert sorted(keys) == sorted(reply.metadata.reply_to_message_id for reply in replies)
    assert grid.pull_messages(keys) == []
    return replies


def test_all_are_answered_and_the_weights_are_shared_once_a_round() -> None:
    threads = Threads(2)
    grid = pool.PoolGrid(threads, 3, {})
    assert len(answered(grid, asks(7))) == 7 and threads.shared == 1
    assert len(answered(grid, asks(2))) == 2 and threads.shared == 2 and threads.replaced == 0


def test_a_worker_that_is_lost_is_replaced_and_what_it_had_is_asked_again() -> None:
    deaths = iter([True, True])
    threads = Threads(2, lambda ask: ask.parts["n"][1]["n"] == 3 and next(deaths, False))
    replies = answered(pool.PoolGrid(threads, 1, {}), asks(6))
    assert threads.replaced == 2 and not any(reply.has_error() for reply in replies)


def test_a_message_that_ends_every_worker_fails_alone() -> None:
    threads = Threads(2, lambda ask: ask.parts["n"][1]["n"] == 3)
    replies = answered(pool.PoolGrid(threads, 1, {}), asks(6))
    (failed,) = [reply for reply in replies if reply.has_error()]
    assert f"{pool.TRIES} workers" in failed.error.reason and threads.replaced == pool.TRIES


class Slow(Threads):
    """A pool whose workers answer nothing until they are ended, and then are lost."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.given: dict[int, list[Future[Any]]] = {number: [] for number in self.numbers}

    def submit(self, worker: int, function: Any, *arguments: Any) -> Future[Any]:
        self.given[worker].append(Future())
        return self.given[worker][-1]

    def end(self, worker: int) -> None:
        for future in self.given[worker]:
            if not future.done():
                future.set_exception(ConnectionError())


def test_messages_of_a_round_that_is_over_are_given_to_nobody_and_who_has_one_is_ended() -> None:
    """Else the next round waits behind them, and a client may take up an old round after a newer one."""
    slow = Slow(2)
    grid = pool.PoolGrid(slow, 1, {})
    old = list(grid.push_messages(asks(7)))
    assert grid.pull_messages(old) == [] and sum(map(len, slow.given.values())) == 4
    new = set(grid.push_messages(asks(2)))
    for _ in range(3):
        assert grid.pull_messages(new) == []
    assert slow.replaced == 2 and sum(map(len, slow.given.values())) == 4 + 2
    (first, *_), (second, *_) = (given[-1:] for given in slow.given.values())
    for future in (first, second):
        future.set_result(Answer(worker.parts(RecordDict()), None))
    assert {reply.metadata.reply_to_message_id for reply in grid.pull_messages(new)} == new


def test_the_last_messages_go_to_whoever_is_free() -> None:
    """A worker that is slower than the others shall not have the round's last one before it while they have nothing to do."""
    slow = Slow(2)
    grid = pool.PoolGrid(slow, 1, {})
    keys = list(grid.push_messages(asks(6)))
    grid.pull_messages(keys)
    assert [len(slow.given[worker]) for worker in (0, 1)] == [2, 2]
    for given in ([2, 2], [3, 2], [4, 2]):  # after each answer of the first; the second has answered nothing yet
        next(future for future in slow.given[0] if not future.done()).set_result(Answer({}, None))
        assert len(grid.pull_messages(keys)) == 1
        assert [len(slow.given[worker]) for worker in (0, 1)] == given


def test_who_is_late_is_replaced_once_before_a_model_is_judged(tiny: Scenario) -> None:
    """The same workers do both: to judge behind a message that nobody waits for would take as long as that hangs."""
    slow = Slow(2)
    grid = pool.PoolGrid(slow, 1, {})
    assert grid.pull_messages(list(grid.push_messages(asks(7)))) == []
    judge = pool.PoolJudge(slow, of(tiny), grid, seconds=0.01)
    with pytest.raises(RuntimeError, match="hung"):
        judge.logits(of(tiny).initial(1), np.zeros((600, 28, 28), np.uint8))
    assert slow.replaced == 2 + 2 * pool.TRIES and not any(grid._in_flight.values())
    new = set(grid.push_messages(asks(2)))
    assert grid.pull_messages(new) == [] and slow.replaced == 2 + 2 * pool.TRIES


def test_a_worker_that_hangs_while_it_judges_is_ended(tiny: Scenario) -> None:
    slow = Slow(2)
    judge = pool.PoolJudge(slow, of(tiny), seconds=0.01)
    with pytest.raises(RuntimeError, match=f"hung, in each of {pool.TRIES} attempts"):
        judge.logits(of(tiny).initial(1), np.zeros((600, 28, 28), np.uint8))
    assert slow.replaced == 2 * pool.TRIES and all(one.done() for given in slow.given.values() for one in given)


def test_a_shared_file_that_is_gone_costs_a_client_and_not_the_run(tmp_path: Path) -> None:
    """Somebody may clear away temporary files."""
    shared = worker.Shared("arrays", 10**9, [("0", ("float32", (3,), "numpy.ndarray"), 12)])
    answered = worker.answer(worker.Ask("train", 1, {}, {}, [shared]), tmp_path / "gone.npy")
    assert isinstance(answered, str) and "gone.npy" in answered

    class Filed(Threads):
        def submit(self, number: int, function: Any, *arguments: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result(Answer({}, tmp_path / "gone"))
            return future

    (reply,) = answered_once(pool.PoolGrid(Filed(1), 1, {}))
    assert reply.has_error() and reply.error.reason.startswith("FileNotFoundError")


def answered_once(grid: pool.PoolGrid) -> list[Message]:
    return grid.pull_messages(list(grid.push_messages(asks(1))))


def test_an_answer_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        worker._filed({"a": ("arrays", {"0": ("float32", (3,), "numpy.ndarray", None)})}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_records_survive_as_plain_values() -> None:
    content = RecordDict(
        {
            "a": ArrayRecord({"0": Array(np.arange(6, dtype=np.float32).reshape(2, 3)), "1": Array(np.full((), 4.0))}),
            "m": MetricRecord({"x": 1, "y": [0.5, 2.0]}),
            "c": ConfigRecord({"s": "ü", "b": b"\0\1", "l": ["a", "b"]}),
        }
    )  # fmt: skip
    back = worker.records(worker.parts(content))
    assert back == content and same(wire.arrays(back["a"]), wire.arrays(content["a"]))


def test_an_answer_in_a_file_comes_back_and_leaves_nothing(tmp_path: Path) -> None:
    content = RecordDict({"a": wire.record([np.arange(5, dtype=np.float32), np.ones((2, 3), np.float32)])})
    content["b"], content["n"] = wire.record([np.zeros(0, np.float32)]), ConfigRecord({"n": 3})
    filed = worker._filed(worker.parts(content), tmp_path)
    assert filed.octets and filed.octets.parent == tmp_path and len(pickle.dumps(filed)) < 1000
    assert worker.received(filed) == content and not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"CLIENTS_HOME": str(tmp_path_factory.mktemp("clients"))}


@pytest.fixture(scope="module")
def workers(home: dict[str, str], tiny: Scenario) -> Iterator[processes.Processes]:
    found = processes.Processes(2, home, tiny)
    yield found
    found.close()


def test_a_pool_judges_as_one_engine_does(workers: processes.Processes, tiny: Scenario) -> None:
    model = of(tiny)
    weights = model.initial(1)
    images = np.random.default_rng(0).integers(0, 256, (1203, 28, 28)).astype(np.uint8)
    judge = pool.PoolJudge(workers, model)
    assert np.array_equal(judge.logits(weights, images), default(tiny).logits(weights, images))
    assert judge.logits(weights, images[:0]).shape == (0, 10)


def test_a_killed_process_is_replaced(workers: processes.Processes, tiny: Scenario) -> None:
    model, images = of(tiny), np.zeros((600, 28, 28), np.uint8)
    judge = pool.PoolJudge(workers, model)
    before = judge.logits(model.initial(1), images)
    pids = [workers.submit(number, os.getpid).result() for number in workers.workers()]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert np.array_equal(judge.logits(model.initial(1), images), before)
    assert not set(pids) & {workers.submit(number, os.getpid).result() for number in workers.workers()}


def test_a_process_that_is_stopped_is_ended_all_the_same(workers: processes.Processes) -> None:
    pid = workers.submit(1, os.getpid).result()
    os.kill(pid, signal.SIGSTOP)
    hangs = workers.submit(1, os.getpid)
    workers.end(1)
    assert isinstance(hangs.exception(), workers.lost)
    workers.replace(1)
    assert workers.submit(1, os.getpid).result() != pid


def test_workers_leave_nothing_behind(home: dict[str, str], tiny: Scenario) -> None:
    one = processes.Processes(1, home, tiny)
    pid, block = one.submit(0, os.getpid).result(), one.share(np.zeros(3))
    one.close()
    assert not block.exists() and not Path(f"/proc/{pid}").exists()
