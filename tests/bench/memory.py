"""Memory over many rounds: how much, and does it grow?

The pathological scenario with looks and augmentations on (100 clients × 600 images, 10 a round), evaluated on all test
images after each round as a real run is. After a round: the proportional set sizes (/proc/<pid>/smaps_rollup) of the server
and all that it started (the fork server, two workers), on each engine. A cache of 64 clients' images fills in the first rounds.
"""

from __future__ import annotations

from dataclasses import replace

from core.config.scenario import ENGINES
from scenarios.presets import SCENARIOS
from tests.bench import measure

FULL = 40  # rounds after which caches are full
GROWTH = 2  # per cent from then to the last round that we allow
BARS = {("tensorflow", "memory"): 900, ("litert", "workers"): 500}  # MB

Megabytes = dict[str, list[float]]  # MB after each round: "memory" of all processes, "workers": without the server


def once(engine: str, rounds: int) -> Megabytes:
    """One run."""
    base, looks = SCENARIOS["pathological"][0], SCENARIOS["noniid"][0].looks
    scenario = replace(base, rounds=rounds, validation=0, looks=looks, engine=engine)
    found: Megabytes = {"memory": [], "workers": []}
    for fact in measure.child("tests.bench.contenders:ours", scenario=scenario.json(), weigh=True):
        if fact["event"] == "round":
            for name, megabytes in found.items():
                megabytes.append(fact[name])
            if fact["round"] % 20 == 0:
                measure.say(f"{engine}, round {fact['round']}: {fact['memory']:.0f} MB, after {fact['at']:.0f} s")
    return found


def main() -> None:
    """The command."""
    p = measure.parser("memory", __doc__)
    p.set_defaults(repeats=1)
    p.add_argument("--rounds", type=int, default=200, help="rounds a run (%(default)s)")
    p.add_argument("--engines", nargs="+", default=["tensorflow", "litert"], choices=ENGINES, help="(%(default)s)")
    args = p.parse_args()
    if args.rounds < FULL + 20:
        p.error(f"--rounds should be at least {FULL + 20}")
    rows = []
    for engine in args.engines:
        runs = [once(engine, args.rounds) for _ in range(args.repeats)]
        for name, of in (("memory", "all processes"), ("workers", "fork server and workers")):
            bar = BARS.get((engine, name))
            most = measure.spread([max(run[name]) for run in runs], " MB")
            # Means of twenty rounds: what a process holds for a moment differs from round to round.
            growth = [100 * (_mean(run[name][-20:]) / _mean(run[name][FULL - 20 : FULL]) - 1) for run in runs]
            rows.append([engine, of, "the most", most, f"≤ {bar} MB" if bar else ""])
            rows.append([engine, of, f"growth, {FULL} to {args.rounds}", measure.spread(growth, " %"), f"< {GROWTH} %"])
    measure.table("memory of a run", ("engine", "of", "what", "measured", "target"), rows)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    measure.run(main)
