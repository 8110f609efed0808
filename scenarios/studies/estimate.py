"""How long runs will take: from what finished ones took, else from the first rounds of some."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.config.scenario import Scenario
from core.stream import course
from scenarios.studies import results
from scenarios.studies.results import Mark, Result

FIRST = 3  # rounds that are run to see what a kind costs; they are not lost: its run goes on from them
IMAGES, TEST_IMAGES = 60_000, 10_000  # of a data set that is used whole


@dataclass(frozen=True)
class Measured:
    """What a run costs, in processor seconds."""

    scenario: Scenario
    start: float  # once: what the first round costs more
    evaluation: float  # a round, for testing the global model
    example: float  # a gradient example
    examples: float  # gradient examples a round
    end: float  # after the last round

    def of(self, scenario: Scenario) -> float:
        """What a run of other sizes costs: rounds, and gradient examples a round, count in proportion."""
        examples = self.examples * share(scenario) / share(self.scenario)
        evaluation = self.evaluation * tested(scenario) / tested(self.scenario)
        return self.start + scenario.rounds * (evaluation + self.example * examples) + self.end


def share(scenario: Scenario) -> float:
    """In proportion to the gradient examples of a round: clients' shares of the images, times passes over them."""
    a_client = (scenario.train or IMAGES) / scenario.clients / len(course(scenario).tasks)
    most = scenario.local.epochs
    slow = 0.0 if scenario.drop_stragglers else min(most, (1 + most) / 2)  # 1 … local.epochs, all alike likely
    passes = (1 - scenario.stragglers) * scenario.local.epochs + scenario.stragglers * slow
    return scenario.cohort * a_client * passes


def tested(scenario: Scenario) -> float:
    """In proportion to the images that a model is tried on after a round: once under each condition."""
    return (scenario.test or TEST_IMAGES) * len({one.condition for one in course(scenario).tests})


def measured(scenario: Scenario, marks: Sequence[Mark], result: Result | None = None) -> Measured | None:
    """From the rounds of a run; None if only its first was seen, which is like no other, unless it is the whole run."""
    usual = [mark for mark in marks if not mark.first] or (list(marks) if scenario.rounds == 1 else [])
    if not usual:
        return None
    rounds, evaluation = len(usual), statistics.mean(mark.evaluation for mark in usual)
    spent, examples = sum(mark.processor for mark in usual), sum(mark.examples for mark in usual)
    example = max(0.0, spent - rounds * evaluation) / max(1, examples)
    first = [mark.processor - mark.evaluation - example * mark.examples for mark in marks if mark.first]
    start = max(0.0, statistics.mean(first)) if first else 0.0
    cost = Measured(scenario, start, evaluation, example, examples / rounds, 2 * evaluation)
    return replace(cost, end=max(0.0, result.processor - cost.of(scenario) + cost.end)) if result else cost


def kind(scenario: Scenario) -> tuple[str, ...]:
    """Runs of one kind cost the same for a gradient example."""
    methods = "+".join(part.name for part in scenario.methods)
    changes = "+".join(part.name for part in scenario.augment)  # each image is changed anew every time
    alike = scenario.model.kind, str(scenario.local.batch), scenario.engine
    return *alike, scenario.model.norm, scenario.strategy.name, methods, scenario.softmax.name, changes


@dataclass(frozen=True)
class Estimates:
    """What was seen of a study's runs so far."""

    # Processor seconds, by settings without the seed
    finished: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    kinds: Mapping[tuple[str, ...], Measured] = field(default_factory=dict)
    pace: float = 1.0  # seconds by the wall clock for each processor second
    count: int = 0  # finished runs

    def of(self, scenario: Scenario) -> float | None:
        """Processor seconds of a run; None if nothing like it was seen."""
        if costs := self.finished.get(_settings(scenario)):
            return statistics.mean(costs)
        cost = self.kinds.get(kind(scenario)) or self._like(scenario)
        return cost.of(scenario) if cost else None

    def _like(self, scenario: Scenario) -> Measured | None:
        """One of the same model, batch and engine; of the same norm, if there is one."""
        target = kind(scenario)
        alike = [candidate for candidate in self.kinds if candidate[:3] == target[:3]]
        return self.kinds[max(alike, key=lambda candidate: candidate[3] == target[3])] if alike else None

    def missing(self, scenarios: Sequence[Scenario]) -> Iterator[Scenario]:
        """One of each kind of which nothing was seen."""
        kinds = set(self.kinds)
        for scenario in scenarios:
            if kind(scenario) not in kinds and scenario.rounds > 1:
                kinds.add(kind(scenario))
                yield scenario


def estimates(runs: Mapping[Path, Scenario]) -> Estimates:
    """From the folders of runs: finished ones, and those that have begun."""
    finished: dict[str, list[float]] = {}
    kinds: dict[tuple[str, ...], Measured] = {}
    paces = []
    for folder, scenario in runs.items():
        result = results.load(folder)
        if result:
            finished.setdefault(_settings(scenario), []).append(result.processor)
            paces.append(result.seconds / max(result.processor, 1e-9))
        cost = measured(scenario, result.marks if result else results.marks(folder), result)
        if cost and (result or kind(scenario) not in kinds):  # a whole run says more than its first rounds
            kinds[kind(scenario)] = cost
    pace = max(1.0, statistics.median(paces)) if paces else 1.0
    return Estimates({key: tuple(one) for key, one in finished.items()}, kinds, pace, len(paces))


def _settings(scenario: Scenario) -> str:
    return replace(scenario, seed=0).json()
