"""What an admitted device can do to the others, done on real nodes: `python -m tests.drill_hostile`.

A federation of five nodes on loopback: three are honest, two hostile with keys that were admitted (tests/hostile). In a dozen
rounds they send extra records, giant counts and words, escape codes, NaN, wrong shapes, a hundred megabytes, headers that lie,
weights turned round, answers to earlier rounds; claim to be client `inf`, and another; announce an answer that they never upload;
answer twice. The run must end well, every round within its time limit, each attack named, the weights those of the honest rest.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flwr.app import Error, Message

from core.config.scenario import Scenario
from core.processes import end
from fl import keys, roster
from scenarios.backends.local import LocalGrid
from scenarios.deployment import flwr_cli, processes
from scenarios.environment import prepare
from scenarios.presets import SCENARIOS
from tests.fakes import federate
from tests.hostile.sitecustomize import ATTACKS

CODE = Path(__file__).parents[1]
HONEST, LIAR, THIEF = 3, 3, 4  # nodes 0, 1, 2; then the hostile ones' clients
TIMEOUT = 40  # seconds that the server waits for a round's answers
SLACK = 10  # seconds of a round beside that: its own work, and a look at who is there
ARRIVE = 75  # seconds more in the first round, in which it waits for nodes that do not say well who they are
SETTINGS = (
    "clients=5", "cohort=5", "train=1500", "test=500", "validation=100", f"rounds={len(ATTACKS)}", f"round_timeout={TIMEOUT}",
)  # fmt: skip


def main() -> int:
    """The command."""
    prepare()
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        base, home = Path(folder), Path(folder) / "federation"
        try:
            _up(home)
            run, words = _run(home, base / "run")
        finally:
            end(lambda: processes._processes(home, ("liar", "thief")), processes.GOES)
            processes.down(home)
        return 0 if _judged(run, words, base / "rest") else 1


def _up(home: Path) -> None:
    """Three honest nodes, and two hostile ones, each with a key admitted for its own client."""
    with socket.socket() as probe:
        probe.bind((flwr_cli.HOST, 0))
        port = probe.getsockname()[1]
    data = CODE / "core" / "data" / "mnist.npz"
    processes.up(home, HONEST, port, (), data, ("litert",))
    for name, client in (("liar", LIAR), ("thief", THIEF)):
        there = home / name
        flwr_cli.admit(home, keys.node(there), name, client)
        command = processes.supernode(home, there, client, port, data, "litert")
        hostile = {
            "PYTHONPATH": str(CODE / "tests" / "hostile"),
            "HOSTILE": name,
            "CLIENTS_HOME": str(there / "memory"),
        }
        processes.start(home, name, command, CODE, hostile)
    last = time.monotonic() + 60
    while len(flwr_cli.online(home) or ()) < HONEST + 2 and time.monotonic() < last:
        time.sleep(0.5)


def _run(home: Path, folder: Path) -> tuple[Path, str]:
    changes = [word for setting in SETTINGS for word in ("--set", setting)]
    command = [
        sys.executable,
        "-m",
        "scenarios.deploy",
        "--home",
        str(home),
        "run",
        "pi",
        *changes,
        "--out",
        str(folder),
    ]
    done = subprocess.run(command, cwd=CODE, capture_output=True, text=True, timeout=1800)
    status = subprocess.run([*command[:5], "status"], cwd=CODE, capture_output=True, text=True)
    print(
        f"──── the run's own words\n{done.stderr.strip()[-1500:]}\n{done.stdout}\n──── status\n{status.stdout}",
        flush=True,
    )
    _check("the run ends well", done.returncode == 0)
    return folder, done.stdout + done.stderr + status.stdout


class Rest(LocalGrid):
    """The same federation in which whoever did not count in a round simply fails in it."""

    def __init__(self, scenario: Scenario, history: list[dict[str, Any]], folder: Path) -> None:
        super().__init__(roster.nodes(scenario), {"memory": str(folder / "clients")})
        self.counted = {(client, row["round"]) for row in history for client in row["clients"]}

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        ask = self.unsent[0] if self.unsent else None
        replies = super().pull_messages(message_ids)
        if ask is None or ask.metadata.message_type != "train":
            return replies
        who = tuple(int(ask.content.config_records["config"][key]) for key in ("client", "round"))  # type: ignore[arg-type]
        return replies if who in self.counted else [Message(Error(code=0, reason="hostile"), reply_to=ask)]


def _rest(folder: Path, history: list[dict[str, Any]]) -> str:
    """The digest of what the honest rest learns, in simulation."""
    scenario: Scenario = SCENARIOS["pi"][0].with_(*(setting.partition("=")[::2] for setting in SETTINGS))  # type: ignore[misc]
    logging.getLogger("flwr").setLevel(logging.ERROR)
    return federate(scenario, folder, grid=Rest(scenario, history, folder)).weights_sha256


def _judged(run: Path, words: str, base: Path) -> bool:
    report = json.loads((run / "report.json").read_text())
    history, events = report["history"], "\n".join(report["events"])
    well = [_check(f"the run ends well: {len(history)} rounds", len(history) == len(ATTACKS))]
    for row, (what, _, named) in zip(history, ATTACKS, strict=True):
        why, spent = row["failed"].get(str(LIAR), ""), row["seconds"]["train"]
        limit = TIMEOUT + SLACK + (ARRIVE if row["round"] == 1 else 0)
        well.append(
            _check(
                f"round {row['round']}, {what}: {why!r}; {spent:.1f} s", bool(re.search(named, why)) and spent <= limit
            )
        )
        counted = set(row["clients"])
        well.append(
            ({0, 1, 2} <= counted and LIAR not in counted) or _check(f"round {row['round']}: {counted} counted", False)
        )
    well.append(_check("who answers twice counts once", sum(THIEF in row["clients"] for row in history) > 0))
    late = history[0]["failed"].get(str(THIEF), "")
    well.append(_check(f"an answer announced and never uploaded: {late!r}", "no answer within" in late))
    for claim in (
        "does not say which client it plays: .*client = inf",
        "says it plays client 0, but was admitted for client 4",
    ):
        well.append(_check(f"named: {claim}", bool(re.search(claim, events))))
    texts = [words, *((run / name).read_text() for name in ("report.json", "rounds.jsonl", "report.html"))]
    well.append(
        _check("no escape code reaches terminal, status or report", not any("\x1b" in t or "u001b" in t for t in texts))
    )
    wanted = _rest(base, history)
    same = report["weights_sha256"] == wanted
    well.append(
        _check(f"the weights are those of the honest rest: {report['weights_sha256'][:16]}… {wanted[:16]}…", same)
    )
    return all(well)


def _check(what: str, well: bool) -> bool:
    print(f"{'ok ' if well else 'BAD'}   {what}", flush=True)
    return well


if __name__ == "__main__":
    sys.exit(main())
