"""What `deploy status` tells, from what Flower and the run say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from scenarios.deployment import flwr_cli, processes, status

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
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    run = tmp_path / "run"
    run.mkdir()
    (run / "scenario.json").write_text(json.dumps({"rounds": 5}))
    (run / "rounds.jsonl").write_text("".join(json.dumps(facts) + "\n" for facts in HISTORY))
    (run / "nodes.json").write_text(json.dumps({"11": 0, "12": 3}))
    (tmp_path / "runs.jsonl").write_text(json.dumps({"number": "7", "folder": str(run)}) + "\n")
    (tmp_path / "nodes.json").write_text(json.dumps({"11": "node-0", "12": "kitchen"}))
    monkeypatch.setattr(processes, "running", lambda home: {"superlink": 1})
    monkeypatch.setattr(flwr_cli, "port", lambda home: 8000)
    told = [node("11", "online"), node("12", "offline"), node("13", "registered")]
    monkeypatch.setattr(flwr_cli, "nodes", lambda home: told)
    monkeypatch.setattr(flwr_cli, "state", lambda home, number: ("running", ""))
    monkeypatch.setattr(status, "Console", lambda **_: Console(width=80))
    assert status.show(tmp_path) == 0
    return capsys.readouterr().out


def row(seen: str, name: str) -> list[str]:
    return [cell.strip() for cell in next(line for line in seen.splitlines() if f" {name} " in line).split("│")[1:-1]]


def test_each_node_has_a_line_with_what_is_known_of_it(seen: str) -> None:
    assert row(seen, "node-0") == ["node-0", "0", "now", "2", "91", "0 kB", "–"]
    assert row(seen, "kitchen") == ["kitchen", "3", "3 min ago", "1", "1,200", "158 kB", "80%"]
    assert row(seen, "13") == ["13", "–", "never", "–", "–", "–", "–"]


def test_the_run_has_a_line_and_so_has_what_went_wrong(seen: str) -> None:
    words = " ".join(seen.split())
    assert "round 2 of 5, running, in " in words and "accuracy 62.50%" in words
    assert "round 2: client 3: no answer within 5 s" in words


def test_a_superlink_that_is_down_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.show(tmp_path) == 1 and "is down; start it" in capsys.readouterr().out
