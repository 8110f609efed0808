"""How a federation is: its nodes, which clients they play, when they were last seen; what runs, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.safe_json import read_object
from scenarios.deployment import flwr_cli, processes
from server import run_folder
from server.record import RoundRecord, load_rounds


def show(home: Path) -> int:
    """Print it. Returns 0, or 1 if the SuperLink is down."""
    screen, alive = Console(highlight=False, markup=False), processes.running(home)
    if "superlink" not in alive:
        up = f"{flwr_cli.python()} -m scenarios.deploy{flwr_cli.option(home)} up"
        screen.print(f"the SuperLink of {home} is down; start it with: {up}", soft_wrap=True)
        return 1
    nodes, known = flwr_cli.nodes(home), flwr_cli.names(home)
    folder, number = _run(home)
    history = load_rounds(folder) if folder else []
    screen.print(_nodes(nodes, known, _clients(folder), history))
    screen.print(f"SuperLink on {flwr_cli.HOST}:{flwr_cli.port(home)}, logs in {home}/*.log", soft_wrap=True)
    if folder:
        screen.print(_how(home, folder, number, history), soft_wrap=True)
    return 0


def _nodes(
    nodes: list[dict[str, Any]], known: Mapping[str, str], plays: Mapping[str, int], history: Sequence[RoundRecord]
) -> Table:
    table = Table(title="nodes", title_justify="left")
    for name in ("node", "client", "last seen", "round", "examples", "memory", "battery"):
        table.add_column(name, justify="left" if name in ("node", "last seen") else "right", no_wrap=name != "node")
    for one in sorted(nodes, key=lambda one: known.get(one["node-id"], one["node-id"])):
        client = plays.get(one["node-id"])
        last = next((row for row in reversed(history) if client in row.clients), None)
        numbers = _numbers(last, client)
        table.add_row(
            Text(known.get(one["node-id"], one["node-id"])), "–" if client is None else str(client), 
            _seen(one), str(last.round) if last else "–",
            "–" if numbers[0] is None else f"{numbers[0]:,.0f}", "–" if numbers[1] is None else f"{numbers[1] / 1000:,.0f} kB",
            "–" if numbers[2] is None else f"{numbers[2]:.0%}",
        )  # fmt: skip
    return table


def _seen(one: Mapping[str, Any]) -> str:
    """When the SuperLink last heard of a node."""
    if one["status"] != "offline":
        return "now" if one["status"] == "online" else "never"
    ago = max(0, int((datetime.now(UTC) - datetime.fromisoformat(one["offline-at"])).total_seconds()))
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if ago >= seconds:
            return f"{ago // seconds} {unit} ago"
    return f"{ago} s ago"


def _numbers(row: RoundRecord | None, client: int | None) -> list[float | None]:
    """A client's examples, bytes of memory and battery in a round."""
    if row is None or client is None:
        return [None] * 3
    return [numbers.get(client) for numbers in (row.clients_examples, row.memory, row.battery)]


def _how(home: Path, folder: Path, number: str, history: Sequence[RoundRecord]) -> str:
    """The last run in a line, and what went wrong in it."""
    of = read_object(folder / run_folder.SCENARIO, "rounds")["rounds"]
    last = history[-1] if history else None
    how, _ = flwr_cli.state(home, number)
    words = f"last run: round {last.round if last else 0} of {of}, {how or 'unknown to this SuperLink'}, in {folder}"
    words += f"; accuracy {last.accuracy:.2%}" if last and last.accuracy is not None else ""
    left_out = [f"round {row.round}: client {who}: {why}" for row in history for who, why in row.failed.items()]
    return "\n".join([words, *(f"  {line}" for line in left_out[-5:])])


def _run(home: Path) -> tuple[Path | None, str]:
    """The folder and number of the newest run, if there was one and it is still there."""
    number, folder = (flwr_cli.runs(home) or [("", home)])[-1]
    return (folder if (folder / run_folder.SCENARIO).exists() else None), number


def _clients(folder: Path | None) -> dict[str, int]:
    """{node's number: client} in the newest run."""
    file = folder / run_folder.NODES if folder else None
    return read_object(file) if file and file.exists() else {}
