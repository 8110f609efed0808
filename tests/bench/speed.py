"""Seconds a federated round: ours, against a bare loop in TensorFlow (the floor), our own step with no federation around it
but the mean (bare), pfl with torch, and stock Flower with Keras.

100 clients, 10 a round, one epoch of B = 32, in two processes of one thread; the same digits, shards, cohorts, CNN, start, SGD
and rate for all. All contenders take turns, each in a fresh process; the first rounds warm up and do not count; nobody
evaluates. A turn's figure is the median of its rounds, its ratio compares contenders within the turn; shown: median, least and
greatest turn. Cores: processor seconds over seconds, in the rounds that count; start: from the command to the end of round 1;
memory of all processes in the last round, what they share counted once (PSS) or for each (RSS). pfl has an environment of its
own: `make bench-peers`.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from clients.sources.simulated import world
from core.config.part import Part
from core.config.scenario import Local, Scenario
from core.models import of
from fl import roster
from tests.bench import measure
from tests.bench.measure import HOME, Facts

WARM = 3  # rounds that do not count
AUGMENT = tuple(Part(name) for name in ("rotate", "zoom", "shift", "elastic"))
PEERS = HOME / ".venv-peers" / "bin" / "python"
# Images a client, and what one of our rounds may take at most, in rounds of each.
BARS = {"floor": {600: 0.90, 60: 1.15, 6000: 0.80}, "bare": {600: 1.10, 60: 1.25}, "pfl": {600: 0.50, 60: 0.70}}

Contender = Callable[[Scenario], Iterator[Facts]]
Figures = dict[str, dict[str, list[float]]]  # contender: figure: one a turn


def _child(function: str, **settings: str) -> Contender:
    """One of ours, in a process of its own."""
    return lambda wanted: measure.child(f"tests.bench.{function}", scenario=wanted.json(), **settings)


def _augmented(wanted: Scenario) -> Iterator[Facts]:
    return _child("contenders:ours")(replace(wanted, augment=AUGMENT))


def _pfl(wanted: Scenario) -> Iterator[Facts]:
    """The work as a file, for a program that knows nothing of this project."""
    data, rows = world(wanted.json())
    work = {f"rows{client}": mine for client, mine in enumerate(rows)}
    work |= {f"weight{i}": w for i, w in enumerate(of(wanted).initial(wanted.seed))}
    cohorts = np.array([roster.choose(wanted, number) for number in range(1, wanted.rounds + 1)])
    facts = {"rounds": wanted.rounds, "rate": wanted.local.rate, "batch": wanted.local.batch, "cohorts": cohorts}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder, "work.npz")
        np.savez(file, x=data.train.x, y=data.train.y, **facts, **work)  # type: ignore[arg-type]
        yield from measure.lines(str(PEERS), str(HOME / "tests/bench/peers/pfl_torch.py"), str(file))


CONTENDERS: dict[str, Contender] = {
    "ours": _child("contenders:ours"),
    "ours, augmented": _augmented,
    "floor": _child("bare:bare", step="floor"),
    "bare": _child("bare:bare", step="our"),
    "pfl": _pfl,
    "stock Flower + Keras": _child("contenders:stock"),
}


def scenario(images: int, rounds: int) -> Scenario:
    """The work: so many images a client, of two digits each (McMahan's shards); above MNIST's 600 fewer clients have more."""
    clients = min(100, 60000 // images)
    return Scenario(
        "speed", train=clients * images, test=100, validation=0, clients=clients, cohort=10, rounds=rounds,
        partition=Part("shards", {"per_client": 2}),
        schedule=Part("constant"), local=Local(rate=0.05),
    )  # fmt: skip


def turn(names: list[str], images: int, rounds: int, into: Figures) -> None:
    """Run these contenders once."""
    for name in names:
        seconds, figures, spent, began = list[float](), into[name], 0.0, 0.0
        for fact in CONTENDERS[name](scenario(images, rounds)):
            if fact["event"] != "round":
                continue
            seconds.append(fact["seconds"])
            if fact["round"] == 1:
                figures["start"].append(fact["at"])
            if fact["round"] == WARM:
                spent, began = measure.spent(fact["session"]), fact["at"]
            if fact["round"] == rounds - 1:
                cores = (measure.spent(fact["session"]) - spent) / (fact["at"] - began)
                memory = {f"{kind} MB": measure.memory(fact["session"], kind=kind.title()) for kind in ("PSS", "RSS")}
                for figure, value in ({"cores": cores} | memory).items():
                    figures[figure].append(value)
        figures["seconds"].append(median(seconds[WARM:]))
        measure.say(f"{images} images, {name}: {figures['seconds'][-1]:.3f} s a round")


def rows(images: int, figures: Figures) -> list[list[str]]:
    """The table's rows of one size."""
    shown, ours = [], figures["ours"]["seconds"]
    for name, theirs in figures.items():
        ratios = [o / t for t, o in zip(theirs["seconds"], ours, strict=True)]
        bar = BARS.get(name, {}).get(images)
        shown.append(
            [
                *(str(images), name, measure.spread(theirs["seconds"])),
                *("" if name == "ours" else measure.spread(ratios), f"≤ {bar:.2f}" if bar else ""),
                *(f"{median(theirs['start']):.1f}", f"{median(theirs['cores']):.2f}"),
                *(f"{median(theirs[f'{kind} MB']):,.0f}" for kind in ("PSS", "RSS")),
            ]
        )
    return shown


def main() -> None:
    """The command."""
    p = measure.parser("speed", __doc__)
    p.add_argument("--rounds", type=int, default=12, help=f"rounds a run, of which {WARM} warm up (%(default)s)")
    p.add_argument("--images", type=int, nargs="+", default=[600, 60], help="images a client (%(default)s)")
    others = [name for name in CONTENDERS if name != "ours" and (name != "pfl" or PEERS.exists())]
    p.add_argument("--against", nargs="+", default=others, choices=others, metavar="WHO", help="(all: %(default)s)")
    args = p.parse_args()
    if args.rounds <= WARM:
        p.error(f"--rounds should be more than {WARM}")
    shown = []
    for images in args.images:
        figures: Figures = defaultdict(lambda: defaultdict(list))
        for _ in range(args.repeats):
            turn(["ours", *args.against], images, args.rounds, figures)
        shown += rows(images, figures)
    columns = ("images", "who", "seconds a round", "ours / it", "target", "start", "cores", "PSS MB", "RSS MB")
    measure.table("a federated round: 10 clients of so many images, two workers", columns, shown)


if __name__ == "__main__":
    measure.run(main)
