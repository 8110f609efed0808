"""What `deploy status` tells, from what Flower and the run say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families as parsed
from rich.console import Console

from fl import keys
from scenarios.deployment import flwr_cli, metrics, processes, status

HISTORY = [
    {"round": 1, "clients": [0, 3], "clients_examples": {"0": 90, "3": 1200}, "memory": {"0": 0, "3": 157800},
     "battery": {"3": 0.8}, "failed": {}, "accuracy": 0.5},
    {"round": 2, "clients": [0], "clients_examples": {"0": 91}, "memory": {"0": 0}, "battery": {},
     "failed": {"3": "no answer within 5 s"}, "accuracy": 0.625},
]  # fmt: skip


def node(number: str, status: str) -> dict[str, Any]:
    gone = datetime.now(UTC) - timedelta(minutes=3, seconds=5)
    return {
        "node-id": number,
        "status": status,
        "offline-at": gone.strftime("%Y-%m-%d %H:%M:%SZ"),
    }  # as Flower writes it


@pytest.fixture
def federation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One whose newest run is in its second round of five."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "scenario.json").write_text(json.dumps({"rounds": 5}))
    (run / "rounds.jsonl").write_text("".join(json.dumps(facts) + "\n" for facts in HISTORY))
    (run / "nodes.json").write_text(json.dumps({"11": 0, "12": 3}))
    (tmp_path / "runs.jsonl").write_text(json.dumps({"number": "7", "folder": str(run)}) + "\n")
    (tmp_path / "nodes.json").write_text(json.dumps({"11": "node-0", "12": "kitchen"}))
    monkeypatch.setattr(processes, "running", lambda home: {"superlink": 1})
    monkeypatch.setattr(flwr_cli, "port", lambda home: 8000)
    nodes = [node("11", "online"), node("12", "offline"), node("13", "registered")]
    monkeypatch.setattr(flwr_cli, "nodes", lambda home: nodes)
    monkeypatch.setattr(flwr_cli, "state", lambda home, number: ("running", ""))
    keys.authority(tmp_path)
    keys.server(tmp_path, ["localhost"])
    return tmp_path


@pytest.fixture
def screen(federation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(status, "Console", lambda **_: Console(width=80))
    assert status.show(federation) == 0
    return capsys.readouterr().out


def row(screen: str, name: str) -> list[str]:
    return [cell.strip() for cell in next(line for line in screen.splitlines() if f" {name} " in line).split("│")[1:-1]]


def test_each_node_has_a_line_with_what_is_known_of_it(screen: str) -> None:
    assert row(screen, "node-0") == ["node-0", "0", "now", "2", "91", "0 kB", "–"]
    assert row(screen, "kitchen") == ["kitchen", "3", "3 min ago", "1", "1,200", "158 kB", "80%"]
    assert row(screen, "13") == ["13", "–", "never", "–", "–", "–", "–"]


def test_who_is_away_has_its_client_still(federation: Path) -> None:
    """The server lists only nodes that are there."""
    (federation / "run" / "nodes.json").write_text(json.dumps({"11": 0}))
    admitted = {"11": {"name": "node-0", "client": 0}, "12": {"name": "kitchen", "client": 3}}
    (federation / "nodes.json").write_text(json.dumps(admitted))
    kitchen = next(node for node in status.look(federation).nodes if node.name == "kitchen")
    assert (kitchen.client, kitchen.failures, kitchen.memory) == (3, 1, 157_800)


def test_who_has_never_been_here_has_failed_in_nothing(federation: Path) -> None:
    """Its client was another's before."""
    (federation / "run" / "nodes.json").write_text(json.dumps({"13": 3}))
    assert {node.name: node.failures for node in status.look(federation).nodes}["13"] == 0


@pytest.mark.parametrize("file, word", [("", "stopped"), ("report.json", "finished")])
def test_a_run_that_was_stopped_is_not_called_completed(
    federation: Path, monkeypatch: pytest.MonkeyPatch, file: str, word: str
) -> None:
    """Flower calls it so: its ServerApp ended without an error."""
    monkeypatch.setattr(flwr_cli, "state", lambda home, number: ("finished:completed", ""))
    (federation / "run" / (file or "other")).write_text("{}")
    found = status.look(federation).run
    assert found and found.state == word


def test_the_run_has_a_line_and_so_has_what_went_wrong(screen: str) -> None:
    words = " ".join(screen.split())
    assert "round 2 of 5, running, in " in words and "accuracy 62.50 %" in words
    assert "round 2: client 3: no answer within 5 s" in words


def test_the_same_as_json(federation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.show(federation, plain=True) == 0
    (line,) = capsys.readouterr().out.splitlines()
    now = json.loads(line)
    assert (now["schema"], now["up"], now["run"]["round"], now["run"]["rounds"]) == (1, True, 2, 5)
    kitchen = next(node for node in now["nodes"] if node["name"] == "kitchen")
    assert {"client": 3, "replies": 1, "failures": 1, "battery": 0.8}.items() <= kitchen.items()
    assert 180 <= kitchen["away"] < 240 and now["certificates"] == {"ca.crt": 1824, "server.crt": 1824}


def test_watched_it_goes_on_where_flower_does_not_answer_once(
    federation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([ValueError("flwr list: no answer"), None])

    def state(home: Path, number: str) -> tuple[str, str]:
        if answer := next(answers, KeyboardInterrupt()):
            raise answer
        return "running", ""

    monkeypatch.setattr(flwr_cli, "state", state)
    monkeypatch.setattr(status.time, "sleep", lambda seconds: None)
    with pytest.raises(KeyboardInterrupt):
        status.show(federation, watch=True, plain=True)
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["error"] == "flwr list: no answer" and second["run"]["state"] == "running"


def test_watched_it_is_looked_at_again(federation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        status.show(federation, watch=True)
    assert looks == [status.EVERY] * 3


@pytest.mark.parametrize("days, warning", [(29, "ends in 29 days"), (1, "ends in 1 day:"), (-1, "ended 1 day ago")])
def test_a_certificate_that_ends_soon_is_warned_of(
    federation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], days: int, warning: str
) -> None:
    monkeypatch.setattr(keys, "days_left", lambda certificate: days)
    status.show(federation)
    output = " ".join(capsys.readouterr().out.split())
    assert f"WARNING: ca.crt {warning}" in output and f"WARNING: server.crt {warning}" in output
    for command in (" renew --authority WARNING: server.crt", " renew"):
        assert f"scenarios.deploy --home {federation}{command}" in output


def test_prometheus_reads_it(federation: Path) -> None:
    registry = CollectorRegistry()
    registry.register(metrics.Federation(federation))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        text = httpx.get(f"http://127.0.0.1:{server.server_port}/metrics").text
    finally:
        server.shutdown()
        thread.join()
    got = {(one.name, *sorted(one.labels.values())): one.value for family in parsed(text) for one in family.samples}
    assert got["federation_up",] == 1 and got["federation_round",] == 2 and got["federation_rounds",] == 5
    assert got["federation_replies_total", "3", "kitchen"] == got["federation_failures_total", "3", "kitchen"] == 1
    assert got["federation_node_battery", "3", "kitchen"] == 0.8 and got["federation_accuracy",] == 0.625
    assert 180 <= got["federation_node_away_seconds", "3", "kitchen"] < 240
    assert got["federation_node_away_seconds", "0", "node-0"] == 0
    assert got["federation_certificate_days", "server.crt"] == 1824
    assert [got["federation_nodes", state] for state in metrics.STATES] == [1, 1, 1]


def test_a_superlink_that_is_down_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flwr_cli, "port", lambda home: 8000)
    assert status.show(tmp_path) == 1 and "is down; start it" in capsys.readouterr().out
