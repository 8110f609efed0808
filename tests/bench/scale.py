"""How a run grows with the number of clients: 100 to 100,000 of 60 images each, 100 of them a round.

Clients draw their images from MNIST by address (partition `sample`). Start-up is counted from the start of the process: to the
first messages sent, to the first answer (its worker has traced the step), and to the end of the first round. Memory: as in
tests.bench.memory, after the last round.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from core.config.part import Part
from core.config.scenario import Scenario
from tests.bench import measure

IMAGES, COHORT = 60, 100  # a client; clients a round
WARM = 3  # rounds that do not count
RATIO = 1.2  # how much longer a round may take with the most clients than with the fewest

Figures = dict[str, list[float]]  # one a turn


def once(clients: int, rounds: int, into: Figures) -> None:
    """One run."""
    scenario = Scenario(
        "scale", test=100, validation=0, clients=clients, cohort=COHORT, rounds=rounds,
        partition=Part("sample", {"images": IMAGES}),
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
    p.add_argument("--clients", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000], help="(%(default)s)")
    args = p.parse_args()
    if args.rounds <= WARM:
        p.error(f"--rounds should be more than {WARM}")
    turns: dict[int, Figures] = {clients: defaultdict(list) for clients in args.clients}
    for _ in range(args.repeats):
        for clients, figures in turns.items():
            once(clients, args.rounds, figures)
    rows = []
    for clients, figures in turns.items():
        pairs = zip(figures["seconds"], turns[args.clients[0]]["seconds"], strict=True)
        shown = [measure.spread(figures[name]) for name in ("sent", "answered", "round", "seconds", "memory")]
        ratio = measure.spread([mine / least for mine, least in pairs])
        rows.append([f"{clients:,}", *shown, ratio, f"≤ {RATIO}" if clients == max(args.clients) else ""])
    columns = ("clients", "s to send", "s to answer", "s to round 1", "s a round", "MB", "round ratio", "target")
    measure.table(f"{IMAGES} images a client, {COHORT} clients a round, two workers", columns, rows)


if __name__ == "__main__":
    measure.run(main)
