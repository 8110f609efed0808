"""How the server makes one model of many: STRATEGIES names them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from core.arrays import Arrays
from core.config.scenario import Scenario
from core.methods import METHODS, Chain
from core.models import of
from fl.strategies.base import Contribution, State, Strategy, mean, median
from fl.strategies.ccvr import ccvr
from fl.strategies.ditto import ditto
from fl.strategies.fedcm import fedcm
from fl.strategies.feddyn import feddyn
from fl.strategies.fedlc import fedlc
from fl.strategies.fednova import fednova
from fl.strategies.fedper import fedbn, fedper
from fl.strategies.fedprox import fedprox
from fl.strategies.fedrs import fedrs
from fl.strategies.flower import (
    bulyan,
    fedadagrad,
    fedadam,
    fedavg,
    fedavgm,
    fedmedian,
    fedtrimmedavg,
    fedyogi,
    krum,
    multikrum,
)
from fl.strategies.moon import moon
from fl.strategies.scaffold import scaffold

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "fedavg": fedavg, "fedavgm": fedavgm, "fedprox": fedprox, "scaffold": scaffold, "feddyn": feddyn, "fedcm": fedcm, "moon": moon,
    "fednova": fednova, "fedrs": fedrs, "fedlc": fedlc, "fedper": fedper, "fedbn": fedbn, "ditto": ditto, "ccvr": ccvr,
    "fedadam": fedadam, "fedyogi": fedyogi, "fedadagrad": fedadagrad, "fedmedian": fedmedian,
    "fedtrimmedavg": fedtrimmedavg, "krum": krum, "multikrum": multikrum, "bulyan": bulyan,
}  # fmt: skip

CUTTING = ("fedmedian", "fedtrimmedavg", "krum", "multikrum", "bulyan")  # rules that leave out what stands apart

__all__ = ["CUTTING", "STRATEGIES", "Contribution", "State", "Strategy", "aggregate", "build", "chain"]


def build(scenario: Scenario) -> Strategy:
    """The scenario's strategy. Raises ValueError on unknown names and impossible settings; imports no Flower."""
    strategy: Strategy = scenario.strategy.build("strategy", STRATEGIES, scenario)
    return strategy


def chain(scenario: Scenario) -> Chain:
    """What a client does beside plain training: the scenario's methods, then its strategy's half."""
    methods = [part.build("methods", METHODS, of(scenario)) for part in scenario.methods]
    return Chain([*methods, *build(scenario).client()])


def aggregate(
    scenario: Scenario,
    strategy: Strategy,
    state: State,
    arrays: Arrays,
    contributions: Sequence[Contribution],
    round: int,
) -> tuple[State, Arrays]:
    """The strategy's new state and the new global weights (see Strategy.aggregate), batch norm's statistics apart from its steps.

    Statistics are not stepped: whatever the strategy, they are the clients' weighted mean, which is what all their images together
    have; where the strategy leaves out what stands apart, their median, so that whose weights it chooses does not choose them.
    Where they are fixed, they stay as they are.
    """
    model = of(scenario)
    if not model.statistics:
        return strategy.aggregate(state, arrays, contributions, round)
    with_old_statistics = [replace(one, arrays=model.with_statistics(one.arrays, arrays)) for one in contributions]
    state, weights = strategy.aggregate(state, arrays, with_old_statistics, round)
    if scenario.model.fixes_norm(round):
        return state, model.with_statistics(weights, arrays)
    middle = median if scenario.strategy.name in CUTTING else mean
    return state, [middle(contributions, i) if i in model.statistics else w for i, w in enumerate(weights)]
