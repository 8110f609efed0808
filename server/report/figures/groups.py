"""Which runs are seeds of one another, and in what the others differ: labels that hold nothing that all share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from core.config.overrides import departures, flat
from core.config.scenario import Scenario
from core.data import dataset
from core.stream import course
from server.record import Report
from server.report.figures.formatting import listed


@dataclass(frozen=True)
class Group:
    """Runs of equal settings but the seed."""

    label: str  # in what they differ from the other groups; the scenario's name if there is no other
    differs: Mapping[str, str]  # settings in which groups differ, as --set takes them; none if there is no other group
    named: Mapping[str, str]  # those of them that the label holds; a piece's name stands for what only it has
    runs: tuple[Report, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """In ascending order."""
        return tuple(sorted(run.seed for run in self.runs))


def stands_for(group: Group, presets: Mapping[str, Scenario]) -> list[str]:
    """What a label's names stand for: the settings that come with each piece; where scenarios differ, those in which the
    group's departs from the preset of its name."""
    unnamed = {key: value for key, value in group.differs.items() if key not in group.named}
    if name := group.differs.get("name"):
        departs = departures(presets.get(name, Scenario(name)), group.runs[0].settings)
        departed = {key: value for key, value in departs if key in unnamed}
        return [f"{group.label}: {worded(departed)}"] * bool(departed)
    pieces: dict[str, dict[str, str]] = {}
    for key, value in unnamed.items():
        pieces.setdefault(key.partition(".")[0], {})[key] = value
    return [f"{piece}={group.differs[piece]}: {worded(settings)}" for piece, settings in pieces.items()]


def grouped(runs: Sequence[Report]) -> list[Group]:
    """The runs by what they have in common but the seed, in the order given; each label holds only what differs."""
    by_settings: dict[str, list[Report]] = {}
    for run in runs:
        by_settings.setdefault(replace(run.settings, seed=0, past_tasks=()).json(), []).append(run)
    groups = [(one, source) for alike in by_settings.values() for one, source in _by_source(alike)]
    settings = [_settings(group[0]) | source for group, source in groups]
    return [
        _group(own, settings, tuple(sorted(group, key=lambda run: run.seed)))
        for own, (group, _) in zip(settings, groups, strict=True)
    ]


def _settings(run: Report) -> dict[str, str]:
    """A run's settings but for what clients had been taught before it, which nobody chose here."""
    return {key: text for key, text in flat(run.settings).items() if key != "past_tasks"}


def _by_source(runs: Sequence[Report]) -> list[tuple[list[Report], dict[str, str]]]:
    """Runs of equal settings but the seed; where two have one seed they are no two seeds, and what each went on from tells them."""
    if len({run.seed for run in runs}) == len(runs):
        return [(list(runs), {})]
    sources = dict.fromkeys(run.source for run in runs)
    return [([run for run in runs if run.source == source], {"from": source}) for source in sources]


def _group(own: Mapping[str, str], settings: Sequence[Mapping[str, str]], runs: tuple[Report, ...]) -> Group:
    differs = {k: v for k, v in own.items() if k != "seed" and any(other.get(k) != v for other in settings)}
    named = {k: v for k, v in differs.items() if not _implied(k, own, settings)}
    lacks = sorted({k for other in settings for k in other} - set(own))
    return Group(worded(named) or ", ".join(f"without {k}" for k in lacks) or runs[0].name, differs, named, runs)


def _implied(key: str, own: Mapping[str, str], settings: Sequence[Mapping[str, str]]) -> bool:
    """Is this setting the same in all groups that share this group's scenario name, or the piece to which the setting belongs?
    Then that name, where groups differ in it, says it too."""
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
    settings = groups[0].runs[0].settings
    departs = {key for name in names for key, _ in departures(presets.get(name, Scenario(name)), settings)}
    assignments = [f"{key}={value}" for key, value in common(groups).items() if key in departs]
    first = groups[0].seeds
    same = all(group.seeds == first for group in groups)
    seeds = f"{'seed' if len(first) == 1 else 'seeds'} {', '.join(map(str, first))}"
    return ", ".join([*names[: len(names) == 1], *assignments, *[seeds] * same])


def common(groups: Sequence[Group]) -> dict[str, str]:
    """The settings that all runs share, but for name and seed."""
    first, *others = [_settings(group.runs[0]) for group in groups]
    rest = ((k, v) for k, v in first.items() if k not in ("name", "seed"))
    return {k: v for k, v in rest if all(other.get(k) == v for other in others)}


def tested_on(groups: Sequence[Group]) -> list[str]:
    """Which kinds of test images the groups were tested on, each once, in words: between two there is no difference in points."""
    return list(dict(_tested_on(group.runs[0].settings) for group in groups).values())


def test_counts(groups: Sequence[Group]) -> list[str]:
    """On how many test images the groups were tested, each number once."""
    runs = [group.runs[0] for group in groups]
    every = max((sum(map(sum, run.confusion)) for run in runs if not run.settings.test), default=0)
    counts = dict.fromkeys(run.settings.test or every for run in runs)
    return [f"{count:,}" if count else "all" for count in counts]


def _tested_on(scenario: Scenario) -> tuple[tuple[object, ...], str]:
    """The data set, its labels and its conditions, whatever their order; and that in words. How many images of them is no kind."""
    try:
        tests = course(scenario).tests
    except ValueError:  # of a plugin that is not here
        return (scenario.data, str(scenario.stream)), f"{scenario.data}, stream {scenario.stream}"
    labels = sorted({label for test in tests for label in test.labels})
    conditions = sorted({test.condition for test in tests})
    words = scenario.data
    if len(labels) < dataset(scenario).classes:
        words += f", of {listed(list(map(str, labels)))}"
    for shown in ([scenario.test_condition], conditions):
        words += f", under {listed(shown, 4)}" * (shown != ["plain"])
    return (scenario.data, *labels, scenario.test_condition, *conditions), words
