"""A round on real nodes, and where its time goes: `python -m tests.bench.nodes` (five minutes; loopback, a quiet machine).

A federation of four nodes on this computer plays an *empty* scenario (a few images: nearly no work) and `pi`, in turn. For each
round: from asking to the last answer; the slowest node's own work of it; the server's evaluation; processor seconds of all.
What is left is waiting: a SuperNode looks for messages every three seconds, a process is started for each, and sends its answer
within half a second; Flower's public settings reach none of these three. --plot shows who waits where.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from core.processes import marked

CODE = Path(__file__).parents[2]
NODES, SKIPPED = 4, 1  # nodes; first rounds, in which trainers load
EMPTY = ["train=200", "validation=60", "test=300", "minimum=10", "partition=iid"]
BAR = 1.3  # times the slowest node's work that a round may take over an empty one


def main() -> int:
    """The command."""
    p = argparse.ArgumentParser(
        prog="python -m tests.bench.nodes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--rounds", type=int, default=8, help="of each run (%(default)s)")
    p.add_argument("--passes", type=int, default=2, help="over both (%(default)s)")
    p.add_argument("--plot", type=Path, metavar="FILE", help="where the time of each round goes, as .png")
    args = p.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {"empty": [], "pi": []}
    with tempfile.TemporaryDirectory(prefix="nodes-") as name:
        home = Path(name) / "federation"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        deploy(home, "up", "--nodes", str(NODES), "--port", str(port))
        try:
            for number in range(args.passes):
                for kind, settings in (("empty", EMPTY), ("pi", [])):
                    rounds[kind] += run(home, Path(name) / f"{kind}-{number}", args.rounds, settings)
        finally:
            deploy(home, "down")
    show(rounds)
    if args.plot:
        plot(rounds, args.plot)
    return 0


def deploy(home: Path, *arguments: str) -> None:
    words = [sys.executable, "-m", "scenarios.deploy", "--home", str(home), *arguments]
    subprocess.run(words, cwd=CODE, check=True, capture_output=True)


def run(home: Path, out: Path, rounds: int, settings: list[str]) -> list[dict[str, float]]:
    """A run's rounds but for the first: seconds of each part."""
    before = processor(home)
    words = [word for one in settings for word in ("--set", one)]
    deploy(home, "run", "pi", *words, "--rounds", str(rounds), "--out", str(out))
    spent = (processor(home) - before) / rounds
    history = json.loads((out / "report.json").read_text())["history"][SKIPPED:]
    return [part(row) | {"processor": spent} for row in history]


def part(row: dict[str, Any]) -> dict[str, float]:
    """Where a round's seconds went."""
    whole, slowest = row["seconds"]["train"], max(row["clients_work"].values())
    return {"whole": whole, "work": slowest, "waiting": whole - slowest, "evaluate": row["seconds"]["evaluate"]}


def processor(home: Path) -> float:
    """Processor seconds of all processes of a federation and of those that they waited for."""
    names = ["superlink", *(f"node-{client}" for client in range(NODES))]
    found = {one.pid for name in names for one in marked("FLWR_HOME", str(home / name / "flwr"))}
    return sum(map(ticks, found)) / os.sysconf("SC_CLK_TCK")


def ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))  # user, system; the same of children that have ended


def show(rounds: dict[str, list[dict[str, float]]]) -> None:
    """Medians, and the bar."""
    table = Table(title=f"{NODES} nodes, medians of {len(rounds['pi'])} rounds, seconds", title_justify="left")
    parts = {"whole": "asked to last answer", "work": "slowest node's work", "waiting": "the rest", "evaluate": "evaluation",
             "processor": "processor"}  # fmt: skip
    table.add_column("run")
    for name in parts.values():
        table.add_column(name, justify="right")
    middle = {kind: {key: median(row[key] for row in rows) for key in parts} for kind, rows in rounds.items()}
    for kind, values in middle.items():
        table.add_row(kind, *(f"{values[key]:.2f}" for key in parts))
    Console().print(table)
    most = middle["empty"]["whole"] + BAR * middle["pi"]["work"]
    print(
        f"a round of pi {middle['pi']['whole']:.2f} s; an empty one + {BAR:g} × the slowest node's work: {most:.2f} s"
    )


def plot(rounds: dict[str, list[dict[str, float]]], file: Path) -> None:
    """Bars: each round's work, waiting, evaluation."""
    from matplotlib.figure import Figure

    figure = Figure((9, 3.8), layout="constrained")
    for axes, (kind, rows) in zip(figure.subplots(1, 2, sharey=True), rounds.items(), strict=True):
        bottom = [0.0] * len(rows)
        for key, label, colour in (
            ("work", "the slowest node works", "#0072b2"), ("waiting", "all wait", "#d9d9d9"),
            ("evaluate", "the server evaluates", "#e69f00"),
        ):  # fmt: skip
            heights = [row[key] for row in rows]
            axes.bar(range(1, len(rows) + 1), heights, bottom=bottom, label=label, color=colour)
            bottom = [low + high for low, high in zip(bottom, heights, strict=True)]
        axes.set_title("nearly no work" if kind == "empty" else kind, loc="left")
        axes.set_xlabel("round")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("seconds")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), frameon=False, loc="outside upper right", ncols=3)
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    sys.exit(main())
