"""The grid in one process keeps what Flower's grids promise."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

import clients.app
from core.config.scenario import Scenario
from scenarios import backends
from scenarios.backends import local, pool, worker
from scenarios.backends.grid import serve
from scenarios.backends.local import LocalGrid
from server import record, run
from tests.fakes import Onlooker, federate, identify


def asks(count: int) -> list[Message]:
    identify()
    return [
        Message(RecordDict({"n": ConfigRecord({"n": i})}), dst_node_id=1, message_type="train") for i in range(count)
    ]


def echo(message: Message, context: Context) -> Message:
    if message.content["n"]["n"] == 1:
        raise RuntimeError("not me")
    return Message(message.content, reply_to=message)


@pytest.fixture
def grid(monkeypatch: pytest.MonkeyPatch) -> LocalGrid:
    monkeypatch.setattr(local, "client_app", echo)
    return LocalGrid(3)


def by_pulling(grid: LocalGrid) -> list[Message]:
    keys, replies = list(grid.push_messages(asks(3))), []
    while len(replies) < 3:
        replies += grid.pull_messages(keys)
    assert grid.pull_messages(keys) == []
    assert sorted(keys) == sorted(reply.metadata.reply_to_message_id for reply in replies)
    return replies


def by_sending(grid: LocalGrid) -> list[Message]:
    return grid.send_and_receive(asks(3))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), MemoryError()])
def test_what_the_machine_has_no_room_for_ends_the_run_and_costs_no_client(
    grid: LocalGrid, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the round would be kept without it, and the run would end with other weights when there is room again."""

    def full(message: Message, context: Context) -> Message:
        raise error

    monkeypatch.setattr(local, "client_app", full)
    with pytest.raises(type(error)):
        grid.send_and_receive(asks(1))

    def words(*arguments: object) -> None:
        raise error

    monkeypatch.setitem(
        clients.app.WORK, "train", words
    )  # in the real app, which tells a server the error's own words only
    monkeypatch.setattr(local, "client_app", clients.app.app)
    with pytest.raises(type(error)):
        grid.send_and_receive(asks(1))
    monkeypatch.setattr(worker, "app", full)
    with pytest.raises(type(error)):
        worker.answer(worker.Ask("train", 1, {}, {}))
    failed: Future[object] = Future()
    failed.set_exception(error)
    with pytest.raises(type(error)):
        pool._content(failed)


@pytest.mark.parametrize("way", [by_pulling, by_sending])
def test_every_message_has_one_reply_and_a_failure_is_an_error_of_its_own(
    grid: LocalGrid, way: Callable[[LocalGrid], list[Message]]
) -> None:
    replies = way(grid)
    assert [reply.has_error() for reply in replies] == [False, True, False]
    assert replies[2].content["n"]["n"] == 2 and "not me" in replies[1].error.reason
    assert grid.get_node_ids() == [1, 2, 3]


def test_the_local_backend_runs_a_whole_server(tiny: Scenario, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    home = {"CLIENTS_HOME": str(tmp_path / "clients")}
    with local.opened(tiny, 1, home) as backend:
        serve(run.build(tiny, tmp_path / "run", Onlooker()), backend.grid)
    assert record.load(tmp_path / "run").weights_sha256 == federate(tiny, tmp_path / "other").weights_sha256


def test_a_server_asked_to_stop_leaves_its_last_round_and_no_report(tiny: Scenario, tmp_path: Path) -> None:
    with local.opened(tiny, 1, {"CLIENTS_HOME": str(tmp_path / "clients")}) as backend:
        serve(run.build(tiny, tmp_path, Onlooker(at=2)), backend.grid)
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["round-00001.npz"]
    assert not (tmp_path / "report.json").exists()


@pytest.mark.parametrize("address", [None, "127.0.0.1:1"])
def test_a_run_joins_a_cluster_only_if_it_is_told_to(
    tiny: Scenario, monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    import ray

    asked: dict[str, object] = {}

    def init(**settings: object) -> None:
        asked.update(settings)
        raise ConnectionError

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConnectionError), backends.ray.opened(tiny, 3, {}):
        pass
    assert (asked.get("address"), asked.get("num_cpus")) == ((None, None) if address else ("local", 3))
