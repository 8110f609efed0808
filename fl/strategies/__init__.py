"""How the server makes one model of many: STRATEGIES names them all."""

from __future__ import annotations

from collections.abc import Callable

from core.config.scenario import Scenario
from core.methods import METHODS, Chain
from core.models import of
from fl.strategies.base import Contribution, State, Strategy
from fl.strategies.ditto import ditto
from fl.strategies.fedper import fedper
from fl.strategies.fedprox import fedprox
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
from fl.strategies.scaffold import scaffold

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "fedavg": fedavg, "fedavgm": fedavgm, "fedprox": fedprox, "scaffold": scaffold, "fedadam": fedadam,
    "fedyogi": fedyogi, "fedadagrad": fedadagrad, "fedmedian": fedmedian, "fedtrimmedavg": fedtrimmedavg, "krum": krum,
    "multikrum": multikrum, "bulyan": bulyan, "fedper": fedper, "ditto": ditto,
}  # fmt: skip

__all__ = ["STRATEGIES", "Contribution", "State", "Strategy", "build", "chain"]


def build(scenario: Scenario) -> Strategy:
    """The scenario's strategy. Raises ValueError on unknown names and impossible settings; imports no Flower."""
    strategy: Strategy = scenario.strategy.build("strategy", STRATEGIES, scenario)
    return strategy


def chain(scenario: Scenario) -> Chain:
    """What a client does beside plain training: the scenario's methods, then its strategy's half."""
    methods = [part.build("methods", METHODS, of(scenario)) for part in scenario.methods]
    return Chain([*methods, *build(scenario).client()])
