"""Which of its examples a client meets when: experiences, in the order this client meets them.

A *course* is what all clients share: the tasks, a test for each, and which task each stage brings. A *stream* is one
client's way through it, drawn by address from its own shard, so the server need not know a client's private order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.config.part import Registry
from core.config.scenario import Scenario
from core.data import dataset, taught, taught_before
from core.seeds import rng
from core.views.conditions import parsed

Rows = list[np.ndarray]


@dataclass(frozen=True)
class TaskTest:
    """How a task is tested: on all test images with these labels, under this condition."""

    name: str
    labels: tuple[int, ...]
    condition: str = "plain"


@dataclass(frozen=True)
class Course:
    """What is the same for everybody."""

    tests: tuple[TaskTest, ...]  # one a task
    tasks: tuple[int, ...]  # the task of each stage, in the global order
    split: Callable[[np.ndarray, np.random.Generator], Rows]  # labels, generator → sorted rows of each stage


@dataclass(frozen=True)
class Stream:
    """One client's experiences, in its own order."""

    parts: tuple[np.ndarray, ...]  # each: sorted row numbers of the client's shard
    tasks: tuple[int, ...]  # the global task of each part
    starts: tuple[int, ...]  # the first round of each part; the first is 1, ascending

    def stage(self, round: int) -> int:
        """The experience a client is in at this round."""
        return max(0, bisect_right(self.starts, round) - 1)

    def met(self, round: int, since: int = 1) -> range:
        """The experiences that a client which is there since a round has met by this one, the present one last."""
        return range(self.stage(since), self.stage(round) + 1)


def _names(scenario: Scenario, labels: tuple[int, ...]) -> str:
    names = dataset(scenario).labels
    return ", ".join(names[label] if label < len(names) else str(label) for label in labels)


def _by_label(groups: list[tuple[int, ...]]) -> Callable[[np.ndarray, np.random.Generator], Rows]:
    """Each stage brings all examples of its labels."""
    return lambda labels, rng: [np.flatnonzero(np.isin(labels, group)) for group in groups]


def _at_random(portions: int) -> Callable[[np.ndarray, np.random.Generator], Rows]:
    """Each stage brings an equal part, drawn at random."""
    return lambda labels, rng: [np.sort(p) for p in np.array_split(rng.permutation(len(labels)), portions)]


def _all(scenario: Scenario) -> TaskTest:
    """The test of everything that is taught; it is called all only where that is all labels that there are."""
    digits = taught(scenario)
    return TaskTest("all" if len(digits) == dataset(scenario).classes else _names(scenario, digits), digits)


def whole(scenario: Scenario) -> Course:
    """Everything at once: one experience"""
    return Course((_all(scenario),), (0,), lambda labels, rng: [np.arange(len(labels))])


def classes(
    scenario: Scenario,
    *,
    per_task: int = 2,  # labels a stage, 1 … as many as there are
) -> Course:
    """Class-incremental: per_task (2) new digits in each stage"""
    digits = taught(scenario)
    if not 1 <= per_task <= len(digits):
        raise ValueError(f"per_task = {per_task} of classes should be 1 … {len(digits)}")
    groups = [digits[i : i + per_task] for i in range(0, len(digits), per_task)]
    return Course(tuple(TaskTest(_names(scenario, g), g) for g in groups), tuple(range(len(groups))), _by_label(groups))


def domains(
    scenario: Scenario,
    *,
    conditions: str = "plain+rotate+blur+noise+contrast+invert",  # one a stage: NAME or NAME:AMOUNT
) -> Course:
    """Domain-incremental: the same digits under a new condition in each stage, each with its own part of the images"""
    names = conditions.split("+")
    if len({parsed(name) for name in names}) < len(names):
        raise ValueError(f"conditions = {conditions} of domains names one twice; for old ones that return use repeats")
    tests = tuple(TaskTest(name, taught(scenario), name) for name in names)
    return Course(tests, tuple(range(len(names))), _at_random(len(names)))


def permuted(
    scenario: Scenario,
    *,
    tasks: int = 10,  # stages, at least 1
    redealt: bool = False,  # each stage has its own part of a client's rows: for partition = redealt, with as many times
) -> Course:
    """Domain-incremental: all images again in each stage, their pixels in a new order (Goodfellow et al. 2013)"""
    if tasks < 1:
        raise ValueError(f"tasks = {tasks} of permuted should be at least 1")
    tests = tuple(TaskTest(f"order {i}", taught(scenario), f"permute:{i}") for i in range(tasks))

    def split(labels: np.ndarray, rng: np.random.Generator) -> Rows:
        rows = np.arange(len(labels))
        return np.array_split(rows, tasks) if redealt else [rows] * tasks

    return Course(tests, tuple(range(tasks)), split)


def arrivals(
    scenario: Scenario,
    *,
    portions: int = 5,  # stages, at least 1
    online: bool = False,  # one portion a round
) -> Course:
    """Data-incremental: the same distribution arrives in portions (5); online: one a round, so each image is seen once"""
    if portions < 1:
        raise ValueError(f"portions = {portions} of arrivals should be at least 1")
    count = scenario.rounds if online else portions
    return Course((_all(scenario),), (0,) * count, _at_random(count))


def repeats(
    scenario: Scenario,
    *,
    per_task: int = 2,  # labels a stage, 1 … as many as there are
    times: int = 2,  # how often each task comes, at least 1
) -> Course:
    """Class-incremental, and every task comes back, times (2) in all, with new images of it"""
    if times < 1:
        raise ValueError(f"times = {times} of repeats should be at least 1")
    once = classes(scenario, per_task=per_task)
    return _repeat(once, times)


def seasons(
    scenario: Scenario,
    *,
    seasons: int = 4,  # a year, 1 … as many as there are labels
    years: int = 2,  # how often they come, at least 1
    mix: float = 0.0,  # share of images whose season is drawn anew from all; range [0, 1]
) -> Course:
    """Seasonal label drift (arXiv:2601.13456): each season has its own digits, but for a share `mix`; years repeat"""
    if years < 1:
        raise ValueError(f"years = {years} of seasons should be at least 1")
    if not 0 <= mix <= 1:
        raise ValueError(f"mix = {mix} of seasons should be 0 … 1")
    digits, count = taught(scenario), dataset(scenario).classes
    if not 1 <= seasons <= len(digits):
        raise ValueError(f"seasons = {seasons} should be 1 … {len(digits)}")
    groups = [tuple(int(d) for d in part) for part in np.array_split(digits, seasons)]

    def split(labels: np.ndarray, rng: np.random.Generator) -> Rows:
        season = np.array([next((s for s, g in enumerate(groups) if y in g), 0) for y in range(count)])[labels]
        strays = rng.permutation(len(labels))[: round(mix * len(labels))]
        season[strays] = rng.integers(0, seasons, len(strays))
        return [np.flatnonzero(season == s) for s in range(seasons)]

    return _repeat(Course(tuple(TaskTest(_names(scenario, g), g) for g in groups), tuple(range(seasons)), split), years)


def _repeat(once: Course, times: int) -> Course:
    """The stages of a course several times over, each time with its own part of the rows."""

    def split(labels: np.ndarray, rng: np.random.Generator) -> Rows:
        parts = [np.array_split(rng.permutation(rows), times) for rows in once.split(labels, rng)]
        return [np.sort(part[turn]) for turn in range(times) for part in parts]

    return Course(once.tests, once.tasks * times, split)


STREAMS: Registry = {
    "whole": whole, "classes": classes, "domains": domains, "permuted": permuted, "arrivals": arrivals,
    "repeats": repeats, "seasons": seasons,
}  # fmt: skip


def course(scenario: Scenario) -> Course:
    """The scenario's course. Raises ValueError if there are more stages than rounds."""
    built: Course = scenario.stream.build("stream", STREAMS, scenario)
    if scenario.past:
        built = replace(built, tests=(*built.tests, *_earlier(scenario, built.tests)))
    if len(built.tasks) > scenario.rounds:
        raise ValueError(
            f"stream {scenario.stream} has {len(built.tasks)} stages, more than rounds = {scenario.rounds}"
        )
    return built


def _earlier(scenario: Scenario, tests: Sequence[TaskTest]) -> list[TaskTest]:
    """A test, for each condition, of what the run before this one was taught and none of these asks for."""
    if not scenario.past_tasks and not scenario.digits:
        return []  # all that is tested counts as known
    found = list[TaskTest]()
    for condition, labels in taught_before(scenario).items():
        known = [test for test in tests if test.condition == condition and was_taught(scenario, test)]
        tested = {label for test in known for label in test.labels}
        if left := tuple(label for label in labels if label not in tested):
            under = "" if condition == TaskTest.condition else f", {condition}"
            found.append(TaskTest(f"earlier: {_names(scenario, left)}{under}", left, condition))
    return found


def was_taught(scenario: Scenario, test: TaskTest) -> bool:
    """Were clients taught all of this before the run, in the one that it goes on from?"""
    if not scenario.past:
        return False
    if not scenario.past_tasks and not scenario.digits:
        return True
    return set(test.labels) <= set(taught_before(scenario).get(test.condition, ()))


def starts(scenario: Scenario, stages: int, late: float = 0.0) -> tuple[int, ...]:
    """The first round of each stage, 1 the first; all but the first begin `late` (0 … 1) of a stage's length later."""
    return (1, *(1 + int((stage + late) * scenario.rounds / stages) for stage in range(1, stages)))


def ends(scenario: Scenario) -> list[int]:
    """The last round of each stage."""
    return [first - 1 for first in starts(scenario, len(course(scenario).tasks))[1:]] + [scenario.rounds]


def joined(scenario: Scenario, client: int) -> int:
    """The round since which a client is there."""
    return dict(scenario.join).get(client, 1)


def pace(scenario: Scenario, client: int) -> tuple[list[int], tuple[int, ...]]:
    """In which order a client meets the stages, and the first round of each; nobody need know its data for that.

    `scenario.order` mixes the global order of stages (0) with one of the client's own (1); `scenario.lag` is the most, as
    a share of a stage's length, that a client enters its stages late.
    """
    count = len(course(scenario).tasks)
    draw = rng(scenario.seed, "pace", client)
    lateness, own_order = draw.random(), draw.permutation(count)
    order = np.argsort((1 - scenario.order) * np.arange(count) + scenario.order * own_order, kind="stable")
    return order.tolist(), starts(scenario, count, lateness * scenario.lag)


def lay(scenario: Scenario, labels: np.ndarray, client: int) -> Stream:
    """One client's stream over its shard (whose labels these are), at its pace."""
    shared = course(scenario)
    parts = shared.split(labels, rng(scenario.seed, "stream", client))
    order, first = pace(scenario, client)
    return Stream(tuple(parts[i] for i in order), tuple(shared.tasks[i] for i in order), first)
