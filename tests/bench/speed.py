"""Seconds a federated round: ours, against a bare loop in TensorFlow (the floor), our own step with no federation around it
but the mean (bare), and stock Flower with Keras.

100 clients, 10 a round, one epoch of B = 32, in two processes of one thread; the same digits, CNN, SGD and rate for all.
All contenders take turns, each in a fresh process; the first rounds warm up and do not count; nobody evaluates. A turn's
figure is the median of its rounds, its ratio compares contenders within the turn; shown: median, least and greatest turn.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from statistics import median

from core.config.part import Part
from core.config.scenario import Local, Scenario
from tests.bench import measure

WARM = 3  # rounds that do not count
AUGMENT = tuple(Part(name) for name in ("rotate", "zoom", "shift", "elastic"))
CONTENDERS = {
    "ours": ("contenders:ours", {}),
    "ours, augmented": ("contenders:ours", {}),
    "floor": ("bare:bare", {"step": "floor"}),
    "bare": ("bare:bare", {"step": "our"}),
    "stock Flower + Keras": ("contenders:stock", {}),
}
# Images a client, and what one of our rounds may take at most, in rounds of each.
BARS = {"floor": {600: 0.90, 60: 1.15, 6000: 0.80}, "bare": {600: 1.10, 60: 1.25}}

Seconds = dict[str, list[float]]  # contender: one figure a turn


def scenario(images: int, rounds: int) -> Scenario:
    """The work: so many images a client, of two digits each (McMahan's shards); above MNIST's 600 fewer clients have more."""
    clients = min(100, 60000 // images)
    return Scenario(
        "speed", train=clients * images, test=100, validation=0, clients=clients, cohort=10, rounds=rounds,
        partition=Part("shards", {"per_client": 2}),
        schedule=Part("constant"), local=Local(rate=0.05),
    )  # fmt: skip


def turn(names: list[str], images: int, rounds: int, into: Seconds) -> None:
    """Run these contenders once."""
    plain = scenario(images, rounds)
    for name in names:
        function, settings = CONTENDERS[name]
        wanted = replace(plain, augment=AUGMENT) if "augmented" in name else plain
        facts = measure.child(f"tests.bench.{function}", scenario=wanted.json(), **settings)
        seconds = [f["seconds"] for f in facts if f["event"] == "round"]
        into[name].append(median(seconds[WARM:]))
        measure.say(f"{images} images, {name}: {into[name][-1]:.3f} s a round")


def rows(images: int, seconds: Seconds) -> list[list[str]]:
    """The table's rows of one size."""
    shown, ours = [], seconds["ours"]
    for name, theirs in seconds.items():
        ratio = "" if name == "ours" else measure.spread([o / t for t, o in zip(theirs, ours, strict=True)])
        bar = BARS.get(name, {}).get(images)
        shown.append([str(images), name, measure.spread(theirs), ratio, f"≤ {bar:.2f}" if bar else ""])
    return shown


def main() -> None:
    """The command."""
    p = measure.parser("speed", __doc__)
    p.add_argument("--rounds", type=int, default=12, help=f"rounds a run, of which {WARM} warm up (%(default)s)")
    p.add_argument("--images", type=int, nargs="+", default=[600, 60], help="images a client (%(default)s)")
    others = [name for name in CONTENDERS if name != "ours"]
    p.add_argument("--against", nargs="+", default=others, choices=others, metavar="WHO", help="(all: %(default)s)")
    args = p.parse_args()
    if args.rounds <= WARM:
        p.error(f"--rounds should be more than {WARM}")
    shown = []
    for images in args.images:
        seconds: Seconds = defaultdict(list)
        for _ in range(args.repeats):
            turn(["ours", *args.against], images, args.rounds, seconds)
        shown += rows(images, seconds)
    columns = ("images", "who", "seconds a round", "ours / it", "target")
    measure.table("a federated round: 10 clients of so many images, two workers", columns, shown)


if __name__ == "__main__":
    measure.run(main)
