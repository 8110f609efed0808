"""What honest clients do, against what the server would hold against them: `python -m tests.bench.distrust`.

For every preset, run as it is (or its first --rounds): the largest update (its length over the received weights'), which sets the
default of `max_update_ratio`: three times the largest of all. Then how often an honest update is named as pointing away from
the others', with many labels a client and with one, and how often one is that really does: a client whose update is turned round
in every round.

Runs are kept in --out, and go on there; a whole preset takes one to fifteen minutes.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from core.config.part import Part
from core.config.scenario import Scenario
from scenarios.presets import SCENARIOS
from server.record import RoundRecord, load_rounds

SEEDS = (0, 1, 2)
TURNED = 3  # the client whose update is turned round
KINDS = {
    "10 labels a client": Part("iid"),
    "Dirichlet 0.3": Part("dirichlet", {"alpha": 0.3}),
    "2 labels a client": Part("labels", {"k": 2}),
    "1 label a client": Part("labels", {"k": 1}),
}


def main() -> int:
    """The command."""
    p = argparse.ArgumentParser(prog="python -m tests.bench.distrust", description=__doc__)
    p.add_argument("--out", type=Path, default=Path("runs/.distrust"), metavar="DIR", help="where the runs are kept")
    p.add_argument(
        "--only", nargs="*", choices=SCENARIOS, default=list(SCENARIOS), metavar="PRESET", help="these presets"
    )
    p.add_argument("--rounds", type=int, default=0, metavar="N", help="only so many rounds of each preset (all)")
    args = p.parse_args()
    lengths = Table(title="the largest honest update, over the length of the weights", title_justify="left")
    for name in ("preset", "largest", "in round", "by client", "alarms"):
        lengths.add_column(name, justify="left" if name == "preset" else "right")
    most = 0.0
    for name in args.only:
        history = _history(SCENARIOS[name][0], args.out / name, rounds=args.rounds)
        far, round, client = max((d, row.round, c) for row in history for c, d in row.drift.items() if d is not None)
        lengths.add_row(name, f"{far:.3f}", str(round), str(client), _alarms(history, ()))
        most = max(most, far)
    Console(highlight=False).print(lengths)
    print(f"the largest of all is {most:.3f}; three times that: {3 * most:.2f}")
    Console(highlight=False).print(_directions(args.out))
    return 0


def _directions(out: Path) -> Table:
    table = Table(
        title=f"updates named as pointing away, {len(SEEDS)} seeds, 10 clients, 8 rounds", title_justify="left"
    )
    for name in ("partition", "honest ones", f"client {TURNED}'s, turned round"):
        table.add_column(name, justify="left" if name == "partition" else "right")
    for kind, part in KINDS.items():
        base = Scenario("directions", clients=10, cohort=10, rounds=8, train=12_000, validation=1000, partition=part)
        found = []
        for turned in (False, True):
            rows: list[RoundRecord] = []
            for seed in SEEDS:
                folder = out / f"{part.name}-{'-'.join(map(str, part.args.values()))}-{seed}-{turned}"
                rows += _history(base.with_(("seed", str(seed))), folder, turned)
            found.append(_alarms(rows, {TURNED} if turned else ()))
        table.add_row(kind, *found)
    return table


def _alarms(history: Iterable[RoundRecord], only: Collection[int]) -> str:
    """How many updates were named, of all, or of those of one client."""
    named = [client for row in history for client in row.odd if not only or client in only]
    count = sum(len(set(row.drift) & set(only)) if only else len(row.drift) for row in history)
    return f"{len(named)} of {count} ({100 * len(named) / max(1, count):.1f} %)"


def _history(scenario: Scenario, folder: Path, turned: bool = False, rounds: int = 0) -> list[RoundRecord]:
    """A run's rounds, all or its first ones; it goes on from where it was stopped."""
    from fl.channel import Stopped
    from tests.fakes import Onlooker, federate

    done = len(load_rounds(folder))
    if not (folder / "report.json").exists() and (not rounds or done < rounds):
        from core.engines.tensorflow import one_thread

        one_thread()
        with suppress(Stopped):
            watch = Onlooker(at=rounds + 1 if rounds else math.inf)
            federate(scenario, folder, watch, _Turned(scenario, folder) if turned else None)
    rows = load_rounds(folder)[: rounds or None]
    print(f"{folder.name}: {len(rows)} rounds", file=sys.stderr, flush=True)
    return rows


def _Turned(scenario: Scenario, folder: Path) -> Any:  # noqa: N802
    """A grid on which one client's update points the other way."""
    from fl import roster, wire
    from scenarios.backends.local import LocalGrid

    class Grid(LocalGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Any:
            asked = self.unsent[0] if self.unsent else None
            replies = super().pull_messages(message_ids)
            for reply in replies:
                content = reply.content
                if asked and wire.ARRAYS in content and content.metric_records[wire.METRICS]["client"] == TURNED:
                    old, new = (
                        wire.arrays(asked.content.array_records[wire.ARRAYS]),
                        wire.arrays(content.array_records[wire.ARRAYS]),
                    )
                    content[wire.ARRAYS] = wire.record([2 * a - b for a, b in zip(old, new, strict=True)])
            return replies

    return Grid(roster.nodes(scenario), {"memory": str(folder / "clients")})


if __name__ == "__main__":
    sys.exit(main())
