"""How a federation is: its nodes, which clients they play, when they were last seen; what runs, and how far it is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from core.safe_json import read_object
from fl import keys
from scenarios.deployment import flwr_cli, processes
from server import run_folder
from server.record import RoundRecord, load_rounds

SCHEMA = 1  # of the JSON
EVERY = 10.0  # seconds between two looks, each of which asks Flower's command line, a process a question


@dataclass(frozen=True)
class Node:
    """A node that was admitted."""

    name: str
    status: str  # online, offline, registered (it never came)
    away: float | None  # seconds since it was last heard of, if it is offline
    client: int | None  # in the newest run
    round: int | None = None  # the last one that counts its reply
    replies: int = 0  # rounds of the newest run that do
    failures: int = 0  # rounds that asked for one and got none
    examples: int | None = None  # that it learned from in that round
    memory: int | None = None  # bytes that it keeps for its methods
    battery: float | None = None  # 0 … 1


@dataclass(frozen=True)
class Run:
    """The newest run."""

    folder: str
    number: str  # by which Flower calls it
    state: str  # as Flower calls it, or "stopped"; empty: this SuperLink does not know it
    rounds: int  # that it has in all
    round: int = 0  # the last that is over
    seconds: float | None = None  # that it took
    accuracy: float | None = None  # after it, on test images
    failures: tuple[str, ...] = ()  # who was left out, a sentence each


@dataclass(frozen=True)
class Status:
    """A federation, now."""

    home: str
    up: bool  # does its SuperLink run?
    port: int
    nodes: tuple[Node, ...] = ()
    run: Run | None = None
    certificates: Mapping[str, int] | None = None  # days that each is good for
    trusted: bool = True  # is server.crt signed by an authority in ca.crt?

    @property
    def warnings(self) -> Iterator[str]:
        """What should be done soon."""
        deploy = flwr_cli.deploy(Path(self.home))
        for name, days in (self.certificates or {}).items():
            if days < keys.SOON:
                yield keys.expires(name, days, deploy)
        if not self.trusted:
            yield f"server.crt is signed by no authority in ca.crt, so no node believes it: {deploy} renew"


def look(home: Path) -> Status:
    """How it is now. Raises ValueError if a file or Flower's answer makes no sense."""
    port, days, trusted = flwr_cli.port(home), keys.days(home), keys.is_trusted(home)
    if "superlink" not in processes.running(home):
        return Status(str(home), False, port, certificates=days, trusted=trusted)
    number, folder = (flwr_cli.runs(home) or [("", home)])[-1]
    begun = (folder / run_folder.SCENARIO).exists()
    history = load_rounds(folder) if begun else []
    nodes = _nodes(home, folder if begun else None, history)
    run = _run(home, folder, number, history) if begun else None
    return Status(str(home), True, port, nodes, run, days, trusted)


def _nodes(home: Path, folder: Path | None, history: Sequence[RoundRecord]) -> tuple[Node, ...]:
    names, plays = flwr_cli.names(home), _clients(folder)
    admitted = {
        name: client for name, client in flwr_cli.clients(home).items() if client >= 0
    }  # while a node is away, too
    nodes = [
        _node(one, names, plays.get(one["node-id"], admitted.get(names.get(one["node-id"], ""))), history)
        for one in flwr_cli.nodes(home)
    ]
    return tuple(sorted(nodes, key=lambda node: node.name))


def _node(
    reply: Mapping[str, Any], names: Mapping[str, str], client: int | None, history: Sequence[RoundRecord]
) -> Node:
    name, away = names.get(reply["node-id"], reply["node-id"]), None
    if reply["status"] == "offline":
        away = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(reply["offline-at"])).total_seconds())
    rows = [row for row in history if client in row.clients]
    # One that has never been here has failed in nothing: whoever played its client before did.
    failures = sum(client in row.failed for row in history) if reply["status"] != "registered" else 0
    if client is None or not rows:
        return Node(name, reply["status"], away, client, failures=failures)
    last = rows[-1]
    numbers = last.clients_examples.get(client), last.memory.get(client), last.battery.get(client)
    return Node(name, reply["status"], away, client, last.round, len(rows), failures, *numbers)


def _clients(folder: Path | None) -> dict[str, int]:
    """{node's number: client} in the newest run."""
    file = folder / run_folder.NODES if folder else None
    return read_object(file) if file and file.exists() else {}


def _run(home: Path, folder: Path, number: str, history: Sequence[RoundRecord]) -> Run:
    rounds = int(read_object(folder / run_folder.SCENARIO, "rounds")["rounds"])
    state, _ = flwr_cli.state(home, number)
    if state == "finished:completed" and not (folder / run_folder.REPORT).exists():
        state = "stopped"  # its ServerApp ended as it was asked to, which Flower calls completed
    state = state.replace("finished:completed", "finished")
    failures = tuple(f"round {row.round}: client {who}: {why}" for row in history for who, why in row.failed.items())
    if not history:
        return Run(str(folder), number, state, rounds)
    last = history[-1]
    seconds = last.seconds.train + last.seconds.evaluate
    return Run(str(folder), number, state, rounds, last.round, seconds, last.accuracy, failures)


# ── shown ──


def show(home: Path, watch: bool = False, plain: bool = False) -> int:
    """Print it. watch: again and again, until Ctrl-C; plain: as a line of JSON. Returns 0, or 1 if the SuperLink is down."""
    screen = Console(highlight=False, markup=False)
    if watch and not plain:
        with Live(console=screen, screen=screen.is_terminal, auto_refresh=False) as live:
            while True:
                live.update(Group(*_seen(home)), refresh=True)
                time.sleep(EVERY)
    while True:
        try:
            now = look(home)
        except ValueError as error:
            if not watch:
                raise
            print(json.dumps({"schema": SCHEMA, "home": str(home), "error": str(error)}), flush=True)
            time.sleep(EVERY)
            continue
        if plain:
            print(json.dumps({"schema": SCHEMA} | asdict(now)), flush=True)
        else:
            for part in drawn(now):
                screen.print(part, soft_wrap=isinstance(part, Text))  # a command in it stays one to copy
        if not watch:
            return 0 if now.up else 1
        time.sleep(EVERY)


def _seen(home: Path) -> list[Table | Text]:
    """How it is now, or why that cannot be said this time: whoever watches goes on watching."""
    try:
        return drawn(look(home))
    except ValueError as error:
        return [Text(f"{datetime.now():%H:%M:%S}: {error}", overflow="fold")]


def drawn(now: Status) -> list[Table | Text]:
    """For a terminal of 80 columns."""
    lines = [Text(f"WARNING: {words}", style="bold") for words in now.warnings]
    if not now.up:
        return [Text(processes.is_down(Path(now.home)), overflow="fold"), *lines]
    where = f"SuperLink on {flwr_cli.HOST}:{now.port}, logs in {now.home}/*.log; {datetime.now():%H:%M:%S}"
    run = [Text(_run_line(now.run), overflow="fold")] if now.run else []
    return [_table(now.nodes), Text(where, overflow="fold"), *run, *lines]


def _table(nodes: Sequence[Node]) -> Table:
    table = Table(title="nodes", title_justify="left")
    for name in ("node", "client", "last seen", "round", "examples", "memory", "battery"):
        table.add_column(name, justify="left" if name in ("node", "last seen") else "right", no_wrap=name != "node")
    for node in nodes:
        table.add_row(
            Text(node.name), _or_dash(node.client), _last_seen(node), _or_dash(node.round), _or_dash(node.examples, "{:,.0f}"),
            "–" if node.memory is None else f"{node.memory / 1000:,.0f} kB", _or_dash(node.battery, "{:.0%}"),
        )  # fmt: skip
    return table


def _or_dash(value: float | None, how: str = "{}") -> str:
    return "–" if value is None else how.format(value)


def _last_seen(node: Node) -> str:
    """When the SuperLink last heard of a node."""
    if node.away is None:
        return "now" if node.status == "online" else "never"
    ago = int(node.away)
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if ago >= seconds:
            return f"{ago // seconds} {unit} ago"
    return f"{ago} s ago"


def _run_line(run: Run) -> str:
    """The last run in a line, and what went wrong in it."""
    words = f"last run: round {run.round} of {run.rounds}, {run.state or 'unknown to this SuperLink'}, in {run.folder}"
    words += f"; {run.seconds:.1f} s a round" if run.seconds is not None else ""
    words += f"; accuracy {100 * run.accuracy:.2f} %" if run.accuracy is not None else ""
    return "\n".join([words, *(f"  {line}" for line in run.failures[-5:])])
