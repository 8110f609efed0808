"""How a run grows with the number of clients: 100, 1,000 and 10,000 of 60 images each, 10 of them a round.

All three read the same file of tiled MNIST (as many images as the largest needs), so that reading costs the same. Start-up
is counted from the start of the process: to the first messages sent, to the first answer (its worker has read the data and
traced the step), and to the end of the first round. Memory: as in tests.bench.memory, after the last round.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

import numpy as np

from core.config.part import Part
from core.config.scenario import Scenario
from core.data import MNIST
from tests.bench import measure

IMAGES = 60  # a client
WARM = 3  # rounds that do not count
RATIO = 1.3  # how much longer a round may take with the most clients than with the fewest

Figures = dict[str, list[float]]  # one a turn


def tiled(path: Path, images: int) -> None:
    """Write MNIST, repeated until there are so many training images."""
    with np.load(MNIST) as file:
        arrays = {name: file[name] for name in file.files}
    arrays |= {name: np.resize(arrays[name], (images, *arrays[name].shape[1:])) for name in ("x_train", "y_train")}
    np.savez(path, **arrays)


def once(data: Path, clients: int, rounds: int, into: Figures) -> None:
    """One run."""
    scenario = Scenario(
        "scale", data=str(data), train=IMAGES * clients, test=100, validation=0, clients=clients, cohort=10,
        rounds=rounds, partition=Part("iid"),
    )  # fmt: skip
    facts = list(measure.child("tests.bench.contenders:ours", scenario=scenario.json(), weigh=True))
    ended = [fact for fact in facts if fact["event"] == "round"]
    first = {fact["event"]: fact["at"] for fact in reversed(facts)}
    for event in ("sent", "answered", "round"):
        into[event].append(first[event])
    into["seconds"].append(median(fact["seconds"] for fact in ended[WARM:]))
    into["memory"].append(ended[-1]["memory"])
    measure.say(f"{clients} clients: {into['seconds'][-1]:.3f} s a round, {into['memory'][-1]:.0f} MB")


def main() -> None:
    """The command."""
    p = measure.parser("scale", __doc__)
    p.add_argument("--rounds", type=int, default=12, help=f"rounds a run, of which {WARM} warm up (%(default)s)")
    p.add_argument("--clients", type=int, nargs="+", default=[100, 1_000, 10_000], help="how many (%(default)s)")
    args = p.parse_args()
    if args.rounds <= WARM:
        p.error(f"--rounds should be more than {WARM}")
    turns: dict[int, Figures] = {clients: defaultdict(list) for clients in args.clients}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = Path(folder, "tiled.npz")
        tiled(data, max(60_000, IMAGES * max(args.clients)))
        for _ in range(args.repeats):
            for clients, figures in turns.items():
                once(data, clients, args.rounds, figures)
    rows = []
    for clients, figures in turns.items():
        pairs = zip(figures["seconds"], turns[args.clients[0]]["seconds"], strict=True)
        shown = [measure.spread(figures[name]) for name in ("sent", "answered", "round", "seconds", "memory")]
        ratio = measure.spread([mine / least for mine, least in pairs])
        rows.append([f"{clients:,}", *shown, ratio, f"≤ {RATIO}" if clients == max(args.clients) else ""])
    columns = ("clients", "s to send", "s to answer", "s to round 1", "s a round", "MB", "round ratio", "target")
    measure.table(f"{IMAGES} images a client, 10 clients a round, two workers", columns, rows)


if __name__ == "__main__":
    measure.run(main)
