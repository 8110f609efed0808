"""How the server makes one model of many: Flower's strategies by name, their arguments checked before Flower is imported.

Each entry returns the name of Flower's class and its arguments. `cohort` is the number of clients a round, for the robust
ones are only defined where enough clients answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from core.config.scenario import Part

Choice = tuple[str, dict[str, Any]]


def _within(name: str, value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ValueError(f"strategy.{name} = {value} should be {low} … {high}")
    return value


def _enough(name: str, cohort: int, needed: int, why: str) -> None:
    if cohort < needed:
        raise ValueError(f"strategy {name} needs a cohort of at least {needed} ({why}), not {cohort}")


def fedavg(cohort: int) -> Choice:
    """mean of the clients' weights, by their number of examples (McMahan et al. 2017, arXiv:1602.05629)"""
    return "FedAvg", {}


def fedavgm(cohort: int, *, rate: float = 1.0, momentum: float = 0.7) -> Choice:
    """FedAvg with momentum on the server (Hsu et al. 2019, arXiv:1909.06335)"""
    _within("momentum", momentum, 0, 0.9999)
    return "FedAvgM", {"server_learning_rate": _within("rate", rate, 0, 100), "server_momentum": momentum}


def fedprox(cohort: int, *, mu: float = 0.01) -> Choice:
    """FedAvg whose clients are held to the received weights by mu/2·|w - w₀|² (Li et al. 2020, arXiv:1812.06127)"""
    return "FedProx", {"proximal_mu": _within("mu", mu, 0, 1e6)}


def _adaptive(name: str, rate: float, beta_1: float, beta_2: float, tau: float) -> Choice:
    betas = {"beta_1": _within("beta_1", beta_1, 0, 0.9999), "beta_2": _within("beta_2", beta_2, 0, 0.9999)}
    return name, {"eta": _within("rate", rate, 0, 100), "tau": _within("tau", tau, 1e-12, 1e6)} | betas


def fedadam(
    cohort: int, *, rate: float = 0.01, beta_1: float = 0.9, beta_2: float = 0.99, tau: float = 0.001
) -> Choice:
    """Adam on the server (Reddi et al. 2021, arXiv:2003.00295)"""
    return _adaptive("FedAdam", rate, beta_1, beta_2, tau)


def fedyogi(
    cohort: int, *, rate: float = 0.01, beta_1: float = 0.9, beta_2: float = 0.99, tau: float = 0.001
) -> Choice:
    """Yogi on the server (Reddi et al. 2021, arXiv:2003.00295)"""
    return _adaptive("FedYogi", rate, beta_1, beta_2, tau)


def fedadagrad(cohort: int, *, rate: float = 0.03, tau: float = 0.001) -> Choice:
    """Adagrad on the server (Reddi et al. 2021, arXiv:2003.00295)"""
    return "FedAdagrad", {"eta": _within("rate", rate, 0, 100), "tau": _within("tau", tau, 1e-12, 1e6)}


def fedmedian(cohort: int) -> Choice:
    """median of each weight (Yin et al. 2018, arXiv:1803.01498)"""
    return "FedMedian", {}


def fedtrimmedavg(cohort: int, *, beta: float = 0.2) -> Choice:
    """mean of each weight without its beta lowest and beta highest shares (Yin et al. 2018, arXiv:1803.01498)"""
    return "FedTrimmedAvg", {"beta": _within("beta", beta, 0, 0.49)}


def krum(cohort: int, *, malicious: int = 1) -> Choice:
    """the one client closest to its neighbours, `malicious` being bad (Blanchard et al. 2017, arXiv:1703.02757)"""
    _within("malicious", malicious, 0, 1_000_000)
    _enough("krum", cohort, 2 * malicious + 3, "2·malicious + 3")
    return "Krum", {"num_malicious_nodes": malicious}


def multikrum(cohort: int, *, malicious: int = 1, selected: int = 5) -> Choice:
    """mean of the `selected` clients closest to their neighbours (Blanchard et al. 2017, arXiv:1703.02757)"""
    _within("malicious", malicious, 0, 1_000_000)
    _within("selected", selected, 1, cohort)
    _enough("multikrum", cohort, 2 * malicious + 3, "2·malicious + 3")
    return "MultiKrum", {"num_malicious_nodes": malicious, "num_nodes_to_select": selected}


def bulyan(cohort: int, *, malicious: int = 1) -> Choice:
    """Krum's choice, then a trimmed mean around the median (El Mhamdi et al. 2018, arXiv:1802.07927)"""
    _within("malicious", malicious, 0, 1_000_000)
    _enough("bulyan", cohort, 4 * malicious + 3, "4·malicious + 3")
    return "Bulyan", {"num_malicious_nodes": malicious}


STRATEGIES = {
    "fedavg": fedavg, "fedavgm": fedavgm, "fedprox": fedprox, "fedadam": fedadam, "fedyogi": fedyogi,
    "fedadagrad": fedadagrad, "fedmedian": fedmedian, "fedtrimmedavg": fedtrimmedavg, "krum": krum,
    "multikrum": multikrum, "bulyan": bulyan,
}  # fmt: skip


def check(part: Part, cohort: int) -> Choice:
    """The choice that a scenario names. Raises ValueError on unknown names and impossible arguments; imports no Flower."""
    return part.build("strategy", STRATEGIES, cohort)


def build(part: Part, cohort: int) -> Any:
    """Flower's strategy object. Who takes part is the roster's business, so it always asks everyone it is shown."""
    from flwr.serverapp import strategy

    name, arguments = check(part, cohort)
    everyone = {"fraction_evaluate": 0.0, "min_train_nodes": 1, "min_available_nodes": 1}
    return getattr(strategy, name)(**everyone, **arguments)


# What a strategy carries from round to round, beside the weights: it goes into the checkpoint.
_STATE = ("momentum_vector", "m_t", "v_t")


def state(strategy: Any) -> dict[str, np.ndarray]:
    """The strategy's own arrays, named `attribute/key`."""
    arrays: dict[str, np.ndarray] = {}
    for attribute in _STATE:
        value = getattr(strategy, attribute, None)
        pairs = value.items() if isinstance(value, dict) else enumerate(value or [])
        arrays |= {f"{attribute}/{key}": np.asarray(array) for key, array in pairs}
    return arrays


def restore(strategy: Any, arrays: dict[str, np.ndarray]) -> None:
    """Put back what `state` gave."""
    for attribute in _STATE:
        pairs = {name.split("/")[1]: array for name, array in arrays.items() if name.startswith(attribute + "/")}
        if pairs:
            a_list = attribute == "momentum_vector"
            setattr(strategy, attribute, [pairs[str(i)] for i in range(len(pairs))] if a_list else pairs)
