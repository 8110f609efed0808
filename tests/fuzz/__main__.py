"""Damage what the project reads, by seed, and see that it is refused: `python -m tests.fuzz [KIND …] [--count N] [--seed S]`.

Kinds: files of every kind (data, memories, checkpoints, versions, pictures, JSON), replies of an admitted client, command lines
(combinations of settings that are possible, and garbage), requests to the service. Prints what became of each. Exit code 1 if
something is a finding.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from scenarios.environment import prepare
from tests.fuzz import commands, files, replies, requests

Run = Callable[[int, int], Counter[tuple[str, str]]]  # seed, count → {(kind, outcome): how many}; a finding is printed
FINDING = "finding"
# Who does it, and how often in a whole run.
FUZZES: dict[str, tuple[Run, int]] = {
    "files": (files.run, files.FULL), "replies": (replies.run, replies.FULL), "commands": (commands.run, commands.FULL),
    "requests": (requests.run, requests.FULL),
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    prepare()
    p = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, allow_abbrev=False)
    p.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(FUZZES)} (all)")
    p.add_argument("--count", type=int, help="how many of each kind (its own number)")
    p.add_argument("--seed", type=int, default=0, help="all of it follows from this (0)")
    args = p.parse_args(argv)
    if unknown := [kind for kind in args.kinds if kind not in FUZZES]:
        p.error(f"unknown kind {unknown[0]!r}; choose from {', '.join(FUZZES)}")
    findings = 0
    for kind in args.kinds or FUZZES:
        run, count = FUZZES[kind]
        outcomes = run(args.seed, count if args.count is None else args.count)
        Console(highlight=False).print(table(f"{kind}, seed {args.seed}", outcomes))
        findings += sum(number for (_, outcome), number in outcomes.items() if outcome == FINDING)
    return 1 if findings else 0


def table(title: str, outcomes: Counter[tuple[str, str]]) -> Table:
    """A row for each kind: how many were tried, and what came of them."""
    made, names = Table(title=title, title_justify="left"), sorted({outcome for _, outcome in outcomes} - {FINDING})
    names.append(FINDING)
    for name in ("kind", "tried", *names):
        made.add_column(name, justify="left" if name == "kind" else "right")
    kinds = list(dict.fromkeys(kind for kind, _ in outcomes))
    rows = [[kind, *(outcomes[kind, outcome] for outcome in names)] for kind in kinds]
    rows.append(["all", *(sum(row[i] for row in rows) for i in range(1, 1 + len(names)))])
    for kind, *numbers in rows:
        made.add_row(kind, *(f"{number:,}" for number in (sum(numbers), *numbers)))
    return made


if __name__ == "__main__":
    sys.exit(main())
