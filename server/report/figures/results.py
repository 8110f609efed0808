"""Many runs side by side, as numbers: mean and spread over seeds, and differences in points."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from core.config.scenario import Scenario
from server.record import LEARNED_NOTHING, Report, failures
from server.report.figures.formatting import NONE, difference, formatted
from server.report.figures.groups import Group, grouped, shared, stands_for, test_counts, tested_on

SCHEMA = 1  # of a row as JSON

Spread = tuple[float, float | None]  # mean, standard deviation over seeds (None for one)


@dataclass(frozen=True)
class Row:
    """What a group comes to. Accuracies are shares, differences points of a hundred; None where no run has them."""

    label: str  # the group's
    seeds: tuple[int, ...]
    folders: tuple[str, ...]
    accuracy: Spread | None
    over_first: Spread | None  # points above the first group; None for that one, and where data sets differ
    centralized: Spread | None
    fedavg: Spread | None  # plain FedAvg, where the run is not it
    over_fedavg: Spread | None  # points above it
    over_centralized: Spread | None  # points above it, in the runs that have it
    local: Spread | None  # each client alone, on all test images
    local_own: Spread | None  # on its own
    joint: Spread | None
    own: Spread | None  # the global model on clients' own test images
    worst: Spread | None  # and for the client that it serves worst
    worst_fedavg: Spread | None  # for the client that plain FedAvg serves worst
    personal: Spread | None  # clients' own models on their own test images
    worst_personal: Spread | None  # and for the client that its own serves worst
    average: Spread | None  # streams: mean over all tasks at the end
    forgetting: Spread | None
    memory: int | None  # bytes, the most that a client kept
    diverged: tuple[str, ...]
    examples: float  # gradient examples
    seconds: float


@dataclass(frozen=True)
class Column:
    """How an attribute of a row is shown."""

    head: str
    unit: str = "%"
    scale: float = 100  # what a value is multiplied with
    form: str = ".2f"

    def cells(self, values: Sequence[Spread | float | None]) -> list[Cell]:
        """In the rows' order."""
        return list(aligned([self._texts(value) for value in values]))

    def _texts(self, value: Spread | float | None) -> tuple[str, str]:
        """The mean, and the deviation if there is one."""
        if value is None:
            return NONE, ""
        mean, deviation = value if isinstance(value, tuple) else (value, None)
        deviation_text = "" if deviation is None else formatted(self.scale * deviation, ".2f")
        return formatted(self.scale * mean, self.form), deviation_text


COLUMNS: dict[str, Column] = {  # the attributes of a row that are numbers
    "accuracy": Column("federated"),
    "over_first": Column("Δ first", "points", 1, "+.2f"),
    "centralized": Column("centralized"),
    "over_centralized": Column("Δ centralized", "points", 1, "+.2f"),
    "fedavg": Column("fedavg"),
    "over_fedavg": Column("Δ fedavg", "points", 1, "+.2f"),
    "local": Column("local, all classes"),
    "local_own": Column("local, own classes"),
    "joint": Column("joint"),
    "own": Column("own classes"),
    "worst": Column("worst client"),
    "worst_fedavg": Column("worst client, fedavg"),
    "personal": Column("personal, own classes"),
    "worst_personal": Column("personal, worst client"),
    "average": Column("average over tasks"),
    "forgetting": Column("forgetting", "points"),
    "memory": Column("memory", "kB", 1e-3, ",.0f"),
    "examples": Column("gradient examples", "", 1, ",.0f"),
    "seconds": Column("seconds", "", 1, ",.0f"),
}

Cell = tuple[str, str, str]  # what is read, what is hidden and only takes room, what is read


def aligned(cells: Sequence[tuple[str, str]]) -> Iterator[Cell]:
    """A column "96.51 ± 0.12" whose decimal points stand below one another: hidden text takes the room by which a
    deviation is shorter than the longest one, or all of that room where there is none."""
    longest = max((deviation for _, deviation in cells), key=len, default="")
    for mean, deviation in cells:
        if deviation:
            yield f"{mean} ± ", longest[: len(longest) - len(deviation)], deviation
        else:
            yield mean, f" ± {longest}" * bool(longest), ""


@dataclass(frozen=True)
class Comparison:
    """Runs side by side. The first group is what the others are compared with."""

    groups: tuple[Group, ...]
    rows: tuple[Row, ...]  # one a group
    shared: str  # what all runs have in common, in a line
    implied: tuple[str, ...]  # "strategy=fedprox: strategy.mu=0.1": what names in labels stand for
    notes: tuple[str, ...]  # what was left out, what diverged, what cannot be compared


def compared(runs: Sequence[Report], presets: Mapping[str, Scenario], left_out: Sequence[str] = ()) -> Comparison:
    """The comparison of these runs, of which there is at least one. left_out: why others were left out."""
    groups = grouped(runs)
    group_rows = rows(groups)
    notes = [*(f"left out: {why}" for why in left_out), *_notes(groups), *_troubles(groups)]
    implied = tuple(dict.fromkeys(line for group in groups for line in stands_for(group, presets)))
    return Comparison(tuple(groups), tuple(group_rows), shared(groups, presets), implied, tuple(notes))


def _notes(groups: Sequence[Group]) -> list[str]:
    """What a reader must know before comparing, a sentence each."""
    first, *others = groups
    if not others and len(first.runs) == 1:
        return ["one run has nothing to be compared with; name two or more"]
    if len(names := tested_on(groups)) > 1:
        return [f"different test images ({'; '.join(names)}): accuracies on others have no difference in points"]
    notes = []
    if len(counts := test_counts(groups)) > 1:
        notes.append(
            f"tested on different numbers of images ({'; '.join(counts)}): a difference in points is one between these images, too"
        )
    if odd := [group.label for group in others if group.seeds != first.seeds and set(group.seeds) & set(first.seeds)]:
        notes.append(f"a difference to the first is over the seeds that both have: {'; '.join(odd)}")
    if odd := [group.label for group in others if not set(group.seeds) & set(first.seeds)]:
        notes.append(
            f"a difference to the first is one of seeds too, and has no deviation, where no seed is in both: {'; '.join(odd)}"
        )
    if others and best(groups) is None:
        notes.append("none is called the best: no group is as good as each other one in the seeds that both have")
    return notes


def _troubles(groups: Sequence[Group]) -> Iterator[str]:
    """What makes a run less than it seems."""
    for group in groups:
        for run in group.runs:
            sentences = [*run.diverged.values(), *(event for event in run.events if event == LEARNED_NOTHING)]
            if failed := failures(run):
                sentences.append(f"{len(failed)} replies or rounds failed, the first: {failed[0]}")
            yield from (f"{group.label}, seed {run.seed}: {why}" for why in sentences)


def rows(groups: Sequence[Group]) -> list[Row]:
    """A row a group. The first group is what the others are compared with, if all were tested on images of one kind."""
    comparable = len(tested_on(groups)) == 1
    return [_row(group, groups[0] if comparable and i else None) for i, group in enumerate(groups)]


def _row(group: Group, first: Group | None) -> Row:
    runs = group.runs
    served = [[one.accuracy for one in run.shards if one.accuracy is not None] for run in runs]
    personal = [[one.personal_accuracy for one in run.shards if one.personal_accuracy is not None] for run in runs]
    alone = [[share for share in run.local_own_accuracies if share is not None] for run in runs]
    staged = [run.continual for run in runs if run.continual]
    baselines = {
        kind: spread([run.baselines[kind] for run in runs if kind in run.baselines])
        for kind in ("centralized", "fedavg", "local", "joint")
    }

    def over(kind: str) -> Spread | None:
        pairs = [(share, run.baselines.get(kind)) for run in runs if (share := run.accuracy) is not None]
        return _mean_difference([(share, other) for share, other in pairs if other is not None])

    return Row(
        label=group.label,
        seeds=group.seeds,
        folders=tuple(run.folder for run in runs),
        accuracy=spread(_accuracies(group)),
        over_first=_over(group, first) if first else None,
        over_centralized=over("centralized"),
        over_fedavg=over("fedavg"),
        **baselines,
        local_own=spread([statistics.mean(shares) for shares in alone if shares]),
        own=spread([statistics.mean(shares) for shares in served if shares]),
        worst=spread([min(shares) for shares in served if shares]),
        worst_fedavg=spread([min(run.fedavg_own_accuracies) for run in runs if run.fedavg_own_accuracies]),
        personal=spread([statistics.mean(shares) for shares in personal if shares]),
        worst_personal=spread([min(shares) for shares in personal if shares]),
        average=spread([one.measures.average_accuracy for one in staged]),
        forgetting=spread([one.measures.forgetting for one in staged]),
        memory=max((one.memory_bytes for one in staged), default=None),
        diverged=tuple(f"seed {run.seed}: {why}" for run in runs for why in run.diverged.values()),
        examples=statistics.mean(run.history[-1].seen for run in runs),
        seconds=statistics.mean(seconds(run) for run in runs),
    )


def seconds(run: Report) -> float:
    """All that a run took; a study's run, which exports nothing, has no total of its own."""
    return run.seconds.get("total", sum(run.seconds.values()))


def spread(values: Sequence[float]) -> Spread | None:
    """(mean, sample standard deviation), the latter None for one value, which has none; None for no value."""
    return (statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None) if values else None


def best(groups: Sequence[Group]) -> int | None:
    """Which group reads most test images, the first of equals; None where that is not known (see `unbeaten`)."""
    rows = unbeaten({str(i): by_seed for i, group in enumerate(groups) if (by_seed := _by_seed(group))})
    return int(rows[0]) if rows else None


def unbeaten(values: Mapping[str, Mapping[int, float]], more: bool = True) -> list[str]:
    """The rows, each with a value by seed, that no other has a better mean than over the seeds that both have: the best, and its
    equals. Where all have the same seeds these are the rows with the best mean. A row that was stopped before its worst seed is
    not better for it, nor does it take seeds from the others; one that shares no seed with any is compared with none. None, if
    each is beaten by another.

    more: is more better?
    """

    def holds(row: Mapping[int, float], other: Mapping[int, float]) -> bool:
        common = sorted(row.keys() & other.keys())
        mean, other_mean = (statistics.mean(one[seed] for seed in common) for one in (row, other))
        return mean >= other_mean if more else mean <= other_mean

    others = {
        row: [other for other in values if other != row and values[row].keys() & values[other].keys()] for row in values
    }
    compared = [row for row in values if others[row] or len(values) == 1]
    return [row for row in compared if all(holds(values[row], values[other]) for other in others[row])]


def _accuracies(group: Group) -> list[float]:
    return [run.accuracy for run in group.runs if run.accuracy is not None]


def _by_seed(group: Group) -> dict[int, float]:
    return {run.seed: run.accuracy for run in group.runs if run.accuracy is not None}


def _over(group: Group, first: Group) -> Spread | None:
    """Points that one group lies above the other in the seeds that both have, in which what a seed does to both cancels out, and
    their deviation seed by seed; where they share none, points between the two means, without one."""
    accuracies, first_accuracies = _by_seed(group), _by_seed(first)
    if not accuracies or not first_accuracies:
        return None
    if common := [seed for seed in accuracies if seed in first_accuracies]:
        return _mean_difference([(accuracies[seed], first_accuracies[seed]) for seed in common])
    return difference(statistics.mean(accuracies.values()), statistics.mean(first_accuracies.values())), None


def _mean_difference(pairs: Sequence[tuple[float, float]]) -> Spread | None:
    """Mean difference in points (of what two decimals show) and its deviation over these pairs of shares."""
    if not pairs:
        return None
    mean, other_mean = (statistics.mean(shares) for shares in zip(*pairs, strict=True))
    differences = spread([100 * (one - other) for one, other in pairs])
    return difference(mean, other_mean), differences[1] if differences else None
