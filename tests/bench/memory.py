"""Memory over many rounds: does it grow?

The pathological scenario with looks and augmentations on (100 clients × 600 images, 10 a round), evaluated on all test
images after each round as a real run is. After a round: the proportional set sizes (/proc/<pid>/smaps_rollup) of the driver
and all that it started: Ray's gcs and raylet, and two workers. A lazily filled cache shows as growth in the first rounds.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from scenarios.presets import SCENARIOS
from tests.bench import measure

MARKS = (5, 10, 20, 30, 40, 50)
GROWTH = 3  # per cent from the first mark to the last that we allow

Held = dict[int, float]  # MB after each round


def once(rounds: int) -> Held:
    """One run."""
    base, looks = SCENARIOS["pathological"][0], SCENARIOS["noniid"][0].looks
    scenario = replace(base, rounds=rounds, validation=0, looks=looks)
    held: Held = {}
    for fact in measure.child("tests.bench.contenders:ours", scenario=scenario.json(), weigh=True):
        if fact["event"] == "round":
            held[fact["round"]] = fact["memory"]
            if fact["round"] in MARKS:
                measure.say(f"round {fact['round']}: {fact['memory']:.0f} MB, after {fact['at']:.0f} s")
    return held


def main() -> None:
    """The command."""
    p = measure.parser("memory", __doc__)
    p.set_defaults(repeats=1)
    p.add_argument("--rounds", type=int, default=MARKS[-1], help="rounds a run (%(default)s)")
    args = p.parse_args()
    if args.rounds < MARKS[1]:
        p.error(f"--rounds should be at least {MARKS[1]}")
    runs = [once(args.rounds) for _ in range(args.repeats)]
    marks = [mark for mark in MARKS if mark <= args.rounds]
    rows = [[f"round {mark}", measure.spread([run[mark] for run in runs], " MB"), ""] for mark in marks]
    growth = [100 * (run[marks[-1]] / run[marks[0]] - 1) for run in runs]
    rows.append([f"growth from {marks[0]} to {marks[-1]}", measure.spread(growth, " %"), f"< {GROWTH} %"])
    highest = median(max(run.values()) for run in runs)
    rows.append(["highest after any round", f"{highest:.0f} MB", ""])
    measure.table("memory of the whole run", ("when", "held", "target"), rows)


if __name__ == "__main__":
    measure.run(main)
