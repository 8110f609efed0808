"""Many runs side by side, as facts: which are seeds of one another, in what the others differ, what each group comes to."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from core.config.scenario import Scenario
from server.record import Report, plain
from server.report.figures.formatting import flat, points

SCHEMA = 1  # of a row as JSON

Spread = tuple[float, float | None]  # mean, standard deviation over seeds (None for one)


@dataclass(frozen=True)
class Group:
    """Runs of equal settings but the seed."""

    label: str  # in what they differ from the other groups; the scenario's name if there is no other
    differs: Mapping[
        str, str
    ]  # settings in which groups differ, in the notation of --set; none if there is no other group
    named: Mapping[str, str]  # those of them that the label holds; a piece's name stands for what only it has
    runs: tuple[Report, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """In ascending order."""
        return tuple(sorted(run.seed for run in self.runs))


@dataclass(frozen=True)
class Row:
    """What a group comes to. Accuracies are shares, differences points of a hundred; None where no run has them."""

    runs: str  # the group's label
    seeds: tuple[int, ...]
    folders: tuple[str, ...]
    accuracy: Spread | None
    over_first: Spread | None  # points above the first group; None for that one, and where data sets differ
    centralized: Spread | None
    over_centralized: Spread | None  # points above it, in the runs that have it
    local: Spread | None  # each client alone, on all test images
    local_own: Spread | None  # on its own
    joint: Spread | None
    own: Spread | None  # the global model on clients' own test images
    worst: Spread | None  # and for the client that it serves worst
    average: Spread | None  # streams: mean over all tasks at the end
    forgetting: Spread | None
    memory: int | None  # bytes, the most that a client kept
    diverged: tuple[str, ...]
    examples: float  # gradient examples
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """Runs side by side. The first group is what the others are compared with."""

    groups: tuple[Group, ...]
    rows: tuple[Row, ...]  # one a group
    shared: str  # what all runs have in common, in a line
    implied: tuple[str, ...]  # "strategy=fedprox: strategy.mu=0.1": what names in labels stand for
    notes: tuple[str, ...]  # what was left out, what diverged, what cannot be compared


def compared(runs: Sequence[Report], presets: Mapping[str, Scenario], left: Sequence[str] = ()) -> Comparison:
    """The comparison of these runs, of which there is at least one. left: why others were left out."""
    groups = grouped(runs)
    found = rows(groups)
    diverged = [f"{row.runs}, {why}" for row in found for why in row.diverged]
    notes = [*(f"left out: {why}" for why in left), *_notes(groups), *diverged]
    implied = tuple(dict.fromkeys(line for group in groups for line in _stands_for(group, presets)))
    return Comparison(tuple(groups), tuple(found), shared(groups, presets), implied, tuple(notes))


def _stands_for(group: Group, presets: Mapping[str, Scenario]) -> list[str]:
    """What a label's names stand for: the settings that come with each piece; those in which a scenario, where scenarios
    differ, departs from the preset of its name."""
    rest = {key: value for key, value in group.differs.items() if key not in group.named}
    if name := group.differs.get("name"):
        usual = flat(plain(presets.get(name, Scenario(name))))
        own = {key: value for key, value in rest.items() if usual.get(key) != value}
        return [f"{group.label}: {worded(own)}"] * bool(own)
    pieces: dict[str, dict[str, str]] = {}
    for key, value in rest.items():
        pieces.setdefault(key.partition(".")[0], {})[key] = value
    return [f"{piece}={group.differs[piece]}: {worded(settings)}" for piece, settings in pieces.items()]


def _notes(groups: Sequence[Group]) -> list[str]:
    """What a reader must know before comparing, a sentence each."""
    first, *others = groups
    if not others and len(first.runs) == 1:
        return ["one run has nothing to be compared with; name two or more"]
    if len(names := data_sets(groups)) > 1:
        return [
            f"different data sets ({', '.join(names)}): accuracies on other test images have no difference in points"
        ]
    if odd := [group.label for group in others if group.seeds != first.seeds]:
        why = "a difference to the first is one of seeds too, and has no deviation, where seeds are others"
        return [f"{why}: {'; '.join(odd)}"]
    return []


def grouped(runs: Sequence[Report]) -> list[Group]:
    """The runs by what they have in common but the seed, in the order given; each label holds only what differs."""
    found: dict[str, list[Report]] = {}
    for run in runs:
        found.setdefault(replace(run.settings, seed=0).json(), []).append(run)
    settings = [flat(plain(group[0].settings)) for group in found.values()]
    return [
        _group(own, settings, tuple(sorted(group, key=lambda run: run.seed)))
        for own, group in zip(settings, found.values(), strict=True)
    ]


def _group(own: Mapping[str, str], settings: Sequence[Mapping[str, str]], runs: tuple[Report, ...]) -> Group:
    differs = {k: v for k, v in own.items() if k != "seed" and any(other.get(k) != v for other in settings)}
    named = {k: v for k, v in differs.items() if not _implied(k, own, settings)}
    lacks = sorted({k for other in settings for k in other} - set(own))
    return Group(worded(named) or ", ".join(f"without {k}" for k in lacks) or runs[0].name, differs, named, runs)


def _implied(key: str, own: Mapping[str, str], settings: Sequence[Mapping[str, str]]) -> bool:
    """Is this the same wherever the scenario's name is this one, or the piece that it belongs to is? Then that name, where it
    differs, says it too."""
    piece, dot, _ = key.partition(".")
    for namer in ["name", *[piece] * bool(dot)]:
        alike = [other for other in settings if other.get(namer) == own.get(namer)]
        if key != namer and namer in own and len(alike) < len(settings) and all(o.get(key) == own[key] for o in alike):
            return True
    return False


def worded(settings: Mapping[str, str]) -> str:
    """ "partition.alpha=0.05, strategy=fedavg"; the scenario's name stands by itself."""
    return ", ".join(value if key == "name" else f"{key}={value}" for key, value in settings.items())


def shared(groups: Sequence[Group], presets: Mapping[str, Scenario]) -> str:
    """What all runs share, in a line: the scenario, where it departs from the preset of this name, the seeds.

    presets: scenarios by name; one that is not there is compared with the settings that a scenario has by itself.
    """
    names = list(dict.fromkeys(run.name for group in groups for run in group.runs))
    usual = [flat(plain(presets.get(name, Scenario(name)))) for name in names]
    said = [f"{k}={v}" for k, v in common(groups).items() if any(one.get(k) != v for one in usual)]
    first = groups[0].seeds
    same = all(group.seeds == first for group in groups)
    seeds = f"{'seed' if len(first) == 1 else 'seeds'} {', '.join(map(str, first))}"
    return ", ".join([*names[: len(names) == 1], *said, *[seeds] * same])


def common(groups: Sequence[Group]) -> dict[str, str]:
    """The settings that all runs share, but for name and seed."""
    first, *others = [flat(plain(group.runs[0].settings)) for group in groups]
    rest = ((k, v) for k, v in first.items() if k not in ("name", "seed"))
    return {k: v for k, v in rest if all(other.get(k) == v for other in others)}


def data_sets(groups: Sequence[Group]) -> list[str]:
    """Which data sets the groups learned from, each once."""
    return list(dict.fromkeys(group.runs[0].settings.data for group in groups))


def rows(groups: Sequence[Group]) -> list[Row]:
    """A row a group. The first group is what the others are compared with, if all are of one data set."""
    comparable = len(data_sets(groups)) == 1
    return [_row(group, groups[0] if comparable and i else None) for i, group in enumerate(groups)]


def _row(group: Group, first: Group | None) -> Row:
    runs = group.runs
    served = [[one.accuracy for one in run.shards if one.accuracy is not None] for run in runs]
    staged = [run.continual for run in runs if run.continual]
    beside = {
        kind: spread([run.baselines[kind] for run in runs if kind in run.baselines])
        for kind in ("centralized", "local", "joint")
    }
    pairs = [(share, run.baselines.get("centralized")) for run in runs if (share := run.accuracy) is not None]
    return Row(
        runs=group.label,
        seeds=group.seeds,
        folders=tuple(run.folder for run in runs),
        accuracy=spread(_accuracies(group)),
        over_first=_over(group, first) if first else None,
        over_centralized=_apart([(share, other) for share, other in pairs if other is not None]),
        **beside,
        local_own=spread([statistics.mean(r.local_own_accuracies) for r in runs if r.local_own_accuracies]),
        own=spread([statistics.mean(shares) for shares in served if shares]),
        worst=spread([min(shares) for shares in served if shares]),
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


def _accuracies(group: Group) -> list[float]:
    return [run.accuracy for run in group.runs if run.accuracy is not None]


def _over(group: Group, first: Group) -> Spread | None:
    """Points that one group's mean lies above the other's. Their deviation needs the same seeds on both sides: it is that of
    the differences seed by seed, in which what a seed does to both is gone."""
    mine, others = _accuracies(group), _accuracies(first)
    if not mine or not others:
        return None
    if group.seeds == first.seeds and len(mine) == len(others):
        return _apart(list(zip(mine, others, strict=True)))
    return points(statistics.mean(mine), statistics.mean(others)), None


def _apart(pairs: Sequence[tuple[float, float]]) -> Spread | None:
    """Mean difference in points (of what two decimals show) and its deviation over these pairs of shares."""
    if not pairs:
        return None
    mine, others = (statistics.mean(shares) for shares in zip(*pairs, strict=True))
    found = spread([100 * (one - other) for one, other in pairs])
    return points(mine, others), found[1] if found else None
