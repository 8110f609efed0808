"""Real nodes say which client they play; nothing that they say can end a run or take another's place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from flwr.app import Error, Message, MetricRecord, RecordDict

from fl import wire
from server.fleet import Fleet
from server.flower import Wanted
from tests.fakes import identify

Says = Callable[[], RecordDict | None]


class Nodes:
    """A grid of nodes that answer `who`, each as it is told."""

    def __init__(self, says: dict[int, Says]) -> None:
        identify()
        self.says, self.asked = says, 0

    def get_node_ids(self) -> list[int]:
        return list(self.says)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        replies = []
        for ask in messages:
            self.asked += 1
            ask.metadata.__dict__["_message_id"] = str(self.asked)
            told = self.says[ask.metadata.dst_node_id]()
            content = {"content": told} if told is not None else {"error": Error(0, "broken")}
            replies.append(Message(**content, reply_to=ask))  # type: ignore[arg-type, call-overload]
        return replies


def plays(client: int) -> Says:
    return lambda: wire.introduction(client)


def test_each_client_is_seated_at_the_node_that_plays_it_and_nodes_are_asked_once(tmp_path: Path) -> None:
    grid, fleet = Nodes({70: plays(1), 50: plays(0)}), Fleet(tmp_path, patience=0)
    assert fleet(grid, [0, 1]) == {0: 50, 1: 70} == fleet(grid, [0, 1])  # type: ignore[arg-type]
    assert grid.asked == 2


def test_a_node_that_comes_back_as_another_client_is_asked_again(tmp_path: Path) -> None:
    grid, fleet = Nodes({50: plays(0)}), Fleet(tmp_path, patience=0)
    assert fleet(grid, [0, 1]) == {0: 50}  # type: ignore[arg-type]
    grid.says = {}
    assert fleet(grid, [0, 1]) == {}  # type: ignore[arg-type]
    grid.says = {50: plays(1)}
    assert fleet(grid, [0, 1]) == {1: 50}  # type: ignore[arg-type]


NONSENSE: dict[str, Says] = {
    "nothing": RecordDict,
    "an error": lambda: None,
    "a negative number": plays(-5),
    "no number": lambda: RecordDict({wire.METRICS: MetricRecord({"client": [1, 2]})}),
    "another's": plays(0),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_what_a_node_says_of_itself_ends_no_run_and_takes_nobodys_place(what: str, tmp_path: Path) -> None:
    grid = Nodes({50: plays(0), 60: NONSENSE[what], 70: plays(2)})
    assert Fleet(tmp_path, patience=0)(grid, [0, 1, 2]) == {0: 50, 2: 70}  # type: ignore[arg-type]


def test_a_client_that_never_comes_is_waited_for_once(tmp_path: Path) -> None:
    grid, fleet = Nodes({50: plays(0)}), Fleet(tmp_path, patience=0.5)
    spent = []
    for _ in range(3):
        start = time.monotonic()
        assert fleet(grid, [0, 1]) == {0: 50}  # type: ignore[arg-type]
        spent.append(time.monotonic() - start)
    assert spent[0] >= 0.5 and max(spent[1:]) < 0.4


def test_whoever_asks_to_stop_is_heard_while_it_waits(tmp_path: Path) -> None:
    watch = Wanted(tmp_path)
    (tmp_path / "stop").touch()
    start = time.monotonic()
    Fleet(tmp_path, watch.stopped, patience=30)(Nodes({}), [0])  # type: ignore[arg-type]
    assert time.monotonic() - start < 5


def test_a_run_keeps_its_name(tmp_path: Path) -> None:
    assert Fleet(tmp_path).run == Fleet(tmp_path).run and len(Fleet(tmp_path).run) == 32
