"""Real nodes say which client they play; nothing that they say can end a run or take another's place."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from unittest import mock

import pytest
from flwr.app import ConfigRecord, Error, Message, MetricRecord, RecordDict

from fl import wire
from scenarios.flower import StopFile
from server.fleet import TRIES, Fleet
from tests.fakes import Clock, identify

Answer = Callable[[], RecordDict | None]


class Nodes:
    """A grid of nodes that answer `who`, each as it is told."""

    def __init__(self, answers: dict[int, Answer]) -> None:
        identify()
        self.answers, self.asked = answers, 0
        self.replies: dict[str, Message] = {}

    def get_node_ids(self) -> list[int]:
        return list(self.answers)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        keys = []
        for ask in messages:
            self.asked += 1
            keys.append(str(self.asked))
            ask.metadata.__dict__["_message_id"] = keys[-1]
            answer = self.answers[ask.metadata.dst_node_id]()
            content = {"content": answer} if answer is not None else {"error": Error(0, "broken")}
            self.replies[keys[-1]] = Message(**content, reply_to=ask)  # type: ignore[arg-type, call-overload]
        return keys

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self.replies[key] for key in message_ids]


def plays(client: int) -> Answer:
    return lambda: wire.introduction(client)


def sends(**numbers: object) -> Answer:
    return lambda: RecordDict({wire.METRICS: MetricRecord(numbers)})  # type: ignore[arg-type]


def test_each_client_is_seated_at_the_node_that_plays_it_and_nodes_are_asked_once(tmp_path: Path) -> None:
    grid, fleet = Nodes({70: plays(1), 50: plays(0)}), Fleet(tmp_path, wait=0)
    assert fleet(grid, [0, 1]) == {0: 50, 1: 70} == fleet(grid, [0, 1])  # type: ignore[arg-type]
    assert grid.asked == 2


def test_a_node_that_comes_back_as_another_client_is_asked_again(tmp_path: Path) -> None:
    grid, fleet = Nodes({50: plays(0)}), Fleet(tmp_path, wait=0)
    assert fleet(grid, [0, 1]) == {0: 50}  # type: ignore[arg-type]
    grid.answers = {}
    assert fleet(grid, [0, 1]) == {}  # type: ignore[arg-type]
    grid.answers = {50: plays(1)}
    assert fleet(grid, [0, 1]) == {1: 50}  # type: ignore[arg-type]


NONSENSE: dict[str, Answer] = {
    "nothing": RecordDict,
    "an error": lambda: None,
    "a negative number": plays(-5),
    "no number": lambda: RecordDict({wire.METRICS: MetricRecord({"client": [1, 2]})}),
    "another's": plays(0),
    "infinity": sends(client=math.inf),
    "not a number": sends(client=math.nan),
    "a giant": plays(10**18),
    "a record more": lambda: RecordDict({**wire.introduction(1), "more": ConfigRecord({"file": b"x"})}),
    "a number more": sends(client=1, other=2),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_what_a_node_says_of_itself_ends_no_run_and_takes_nobodys_place(what: str, tmp_path: Path) -> None:
    grid = Nodes({50: plays(0), 60: NONSENSE[what], 70: plays(2)})
    assert Fleet(tmp_path, wait=0)(grid, [0, 1, 2]) == {0: 50, 2: 70}  # type: ignore[arg-type]


def bound(folder: Path, **clients: int) -> Path:
    """A federation's list of nodes, each admitted for a client: n50=0 is node 50 for client 0."""
    nodes = {name[1:]: {"name": f"name of {name[1:]}", "client": client} for name, client in clients.items()}
    file = folder / "nodes of the federation.json"
    file.write_text(
        json.dumps(
            nodes | {"90": "admitted before nodes were bound to clients", "91": {"name": "x", "client": -1}, "y": {}}
        )
    )
    return file


def test_a_key_plays_the_client_that_it_was_admitted_for_whatever_it_says(tmp_path: Path) -> None:
    """60 claims 50's client, 70 says nothing, 80 nonsense, 90 and 95 were admitted for no client."""
    grid = Nodes({50: plays(0), 60: plays(0), 70: lambda: None, 80: sends(client=math.inf), 90: plays(4), 95: plays(5)})
    fleet = Fleet(tmp_path, wait=0, admitted=bound(tmp_path, n50=0, n60=1, n70=2, n80=3))
    assert fleet(grid, range(6)) == {0: 50, 2: 70}  # type: ignore[arg-type]
    notes = "\n".join(fleet.notes())
    assert "name of 60 says it plays client 0, but was admitted for client 1" in notes
    assert "name of 80 does not say" in notes and "node 90 was admitted for no client" in notes and "node 95" in notes
    fleet(grid, range(6))  # type: ignore[arg-type]
    assert fleet.notes() == []  # said once


def test_a_node_that_is_silent_on_purpose_holds_up_no_more_than_a_few_rounds(tmp_path: Path) -> None:
    grid, fleet = Nodes({50: plays(0), 60: lambda: None}), Fleet(tmp_path, wait=0)
    for _ in range(9):
        assert fleet(grid, [0]) == {0: 50}  # type: ignore[arg-type]
    assert grid.asked == 1 + TRIES


def test_whom_a_key_is_admitted_for_may_change_while_a_run_lasts(tmp_path: Path) -> None:
    fleet, grid = Fleet(tmp_path, wait=0, admitted=bound(tmp_path, n50=0)), Nodes({50: lambda: None})
    assert fleet(grid, [0, 1]) == {0: 50}  # type: ignore[arg-type]
    bound(tmp_path, n50=1)
    assert fleet(grid, [0, 1]) == {1: 50}  # type: ignore[arg-type]


def test_a_list_of_nodes_that_cannot_be_read_seats_nobody_and_ends_nothing(tmp_path: Path) -> None:
    for text in ("{", "[]", "null", '{"x": {"client": 0}}', "[" * 100_000):
        (tmp_path / "nodes").write_text(text)
        assert Fleet(tmp_path, wait=0, admitted=tmp_path / "nodes")(Nodes({50: plays(0)}), [0]) == {}  # type: ignore[arg-type]


def test_words_of_a_node_reach_no_terminal_as_escape_codes(tmp_path: Path) -> None:
    odd = lambda: RecordDict({wire.METRICS: MetricRecord({"\x1b[2J\x07": 1})})  # noqa: E731
    fleet = Fleet(tmp_path, wait=0)
    fleet(Nodes({50: odd}), [0])  # type: ignore[arg-type]
    assert fleet.notes() and all(note.isprintable() for note in fleet.notes())


def test_a_client_that_never_comes_is_waited_for_once(tmp_path: Path) -> None:
    grid, fleet, clock, spent = Nodes({50: plays(0)}), Fleet(tmp_path, wait=0.5), Clock(), []
    with mock.patch("server.fleet.time", clock):
        for _ in range(3):
            start = clock.now
            assert fleet(grid, [0, 1]) == {0: 50}  # type: ignore[arg-type]
            spent.append(clock.now - start)
    assert spent[0] >= 0.5 and max(spent[1:]) < 0.4


def test_whoever_asks_to_stop_is_heard_while_it_waits(tmp_path: Path) -> None:
    watch = StopFile(tmp_path)
    (tmp_path / "stop").touch()
    start = time.monotonic()
    Fleet(tmp_path, watch.stopped, wait=30)(Nodes({}), [0])  # type: ignore[arg-type]
    assert time.monotonic() - start < 5


def test_a_run_keeps_its_name(tmp_path: Path) -> None:
    assert Fleet(tmp_path).run == Fleet(tmp_path).run and len(Fleet(tmp_path).run) == 32
