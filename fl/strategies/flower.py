"""Flower's strategies, each as a frozen value whose state is explicit arrays."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.arrays import Arrays
from core.config.scenario import Scenario
from core.methods.base import Finetune
from fl.strategies.base import Contribution, State, within

# What they carry from round to round, beside the weights.
CARRIED = ("momentum_vector", "m_t", "v_t")


@contextmanager
def _frozen_heap() -> Iterator[None]:
    """Bulyan collects garbage once a reply, which looks at every object of the process, TensorFlow's too: half a second a round.

    A heap that is frozen already, as a fork server's, stays so.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@dataclass(frozen=True)
class Flower:
    """One of Flower's aggregation rules, by its class's name and arguments."""

    rule: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    needed: int = 1  # clients, of fewer it promises nothing
    why: str = ""  # that many
    methods: tuple[Finetune, ...] = ()  # its half on the client
    distances: bool = False  # it takes differences of squared lengths, which lose small moves in float32

    def client(self) -> Sequence[Finetune]:
        return self.methods

    def start(self, arrays: Arrays) -> State:
        return {}

    def aggregate(
        self, state: State, arrays: Arrays, contributions: Sequence[Contribution], round: int
    ) -> tuple[State, Arrays]:
        from flwr.app import ConfigRecord, Message, MessageType, MetricRecord, RecordDict

        from fl.strategies.resident import resident

        self.check(len(contributions))
        rule = self._restored(state, self.arguments_for(len(contributions)))
        # Adaptive rules keep the weights that they step from when they send them; who takes part is the roster's business.
        kind = np.float64 if self.distances else np.float32
        sent = resident(arrays)
        received = [resident([w.astype(kind, copy=False) for w in one.arrays]) for one in contributions]
        rule.configure_train(round, sent, ConfigRecord(), _Cohort(len(contributions)))
        replies = [
            Message(
                RecordDict({"arrays": record, "metrics": MetricRecord({"num-examples": one.weight})}),
                dst_node_id=1,
                message_type=MessageType.TRAIN,
            )
            for one, record in zip(contributions, received, strict=True)
        ]
        with _frozen_heap():
            aggregated, _ = rule.aggregate_train(round, replies)
        weights = aggregated.to_numpy_ndarrays() if aggregated else arrays
        for record in (sent, *received):
            record.clear()  # for the reason of fl.serialization.empty
        return _carried(rule), [w.astype(old.dtype) for w, old in zip(weights, arrays, strict=True)]

    def finish(self, state: State, arrays: Arrays) -> Arrays:
        return arrays

    def check(self, count: int) -> Flower:
        """The rule itself. Raises ValueError if it promises nothing of so few clients."""
        if count < self.needed:
            raise ValueError(
                f"strategy {self.rule.lower()} needs a cohort of at least {self.needed} ({self.why}), not {count}"
            )
        return self

    def arguments_for(self, count: int) -> Mapping[str, Any]:
        """The rule's arguments in a round with so many replies, which may be fewer than were asked."""
        return self.arguments

    def _restored(self, state: State, arguments: Mapping[str, Any]) -> Any:
        """Flower's object, as an earlier round left it."""
        from flwr.serverapp import strategy

        participation = {"fraction_evaluate": 0.0, "min_train_nodes": 1, "min_available_nodes": 1}
        rule = getattr(strategy, self.rule)(**participation, **arguments)
        for attribute in CARRIED:
            pairs = {name.split("/")[1]: array for name, array in state.items() if name.startswith(attribute + "/")}
            if pairs:
                a_list = attribute == "momentum_vector"
                setattr(rule, attribute, [pairs[str(i)] for i in range(len(pairs))] if a_list else pairs)
        return rule


class _Cohort:
    """What a rule sees of the grid: so many nodes. Flower numbers them from 1."""

    def __init__(self, count: int) -> None:
        self.count = count

    def get_node_ids(self) -> list[int]:
        return list(range(1, self.count + 1))


def _carried(rule: Any) -> State:
    """A rule's own arrays, named `attribute/key`."""
    state: dict[str, np.ndarray] = {}
    for attribute in CARRIED:
        value = getattr(rule, attribute, None)
        pairs = value.items() if isinstance(value, dict) else enumerate(value or [])
        state |= {f"{attribute}/{key}": np.asarray(array) for key, array in pairs}
    return state


def fedavg(scenario: Scenario) -> Flower:
    """Mean of the clients' weights, by their number of examples (McMahan et al. 2017, arXiv:1602.05629)"""
    return Flower("FedAvg")


# The defaults of fedavgm and fedadagrad were chosen on validation images: `noniid` with two labels a client and neither looks nor
# augmentation, 3,000 training images, 10 clients of which 5 a round, 15 rounds, seeds 11 and 12. Last losses there: fedavg 1.18 and
# 1.34; fedavgm 0.80 and 0.97, but 1.25 and 2.32 with rate 1 and momentum 0.7; fedadagrad 0.87 and 0.84, but 1.47 and 1.58 with rate
# 0.03, whose first step was far too long. Three others of fedadam were worse with seed 11; fedyogi is as it was.


def fedavgm(
    scenario: Scenario,
    *,
    rate: float = 0.5,  # the server's step; range [0, 100]
    momentum: float = 0.5,  # of its steps; range [0, 1)
) -> Flower:
    """FedAvg with momentum on the server (Hsu et al. 2019, arXiv:1909.06335)"""
    within("momentum", momentum, 0, 0.9999)
    return Flower("FedAvgM", {"server_learning_rate": within("rate", rate, 0, 100), "server_momentum": momentum})


def _adaptive(rule: str, rate: float, beta_1: float, beta_2: float, tau: float) -> Flower:
    betas = {"beta_1": within("beta_1", beta_1, 0, 0.9999), "beta_2": within("beta_2", beta_2, 0, 0.9999)}
    return Flower(rule, {"eta": within("rate", rate, 0, 100), "tau": within("tau", tau, 1e-12, 1e6)} | betas)


def fedadam(
    scenario: Scenario,
    *,
    rate: float = 0.01,  # the server's step; range [0, 100]
    beta_1: float = 0.9,  # decay of the mean; range [0, 1)
    beta_2: float = 0.99,  # decay of the squares; range [0, 1)
    tau: float = 0.001,  # adaptivity: added to the root of the squares; above 0
) -> Flower:
    """Adam on the server (Reddi et al. 2021, arXiv:2003.00295); Flower's, which corrects the bias of its means where the paper does
    not: at first its steps are shorter, in round 12 half as long"""
    return _adaptive("FedAdam", rate, beta_1, beta_2, tau)


def fedyogi(
    scenario: Scenario,
    *,
    rate: float = 0.01,  # the server's step; range [0, 100]
    beta_1: float = 0.9,  # decay of the mean; range [0, 1)
    beta_2: float = 0.99,  # decay of the squares; range [0, 1)
    tau: float = 0.001,  # adaptivity: added to the root of the squares; above 0
) -> Flower:
    """Yogi on the server (Reddi et al. 2021, arXiv:2003.00295)"""
    return _adaptive("FedYogi", rate, beta_1, beta_2, tau)


def fedadagrad(
    scenario: Scenario,
    *,
    rate: float = 0.01,  # the server's step; range [0, 100]
    tau: float = 0.001,  # adaptivity: added to the root of the squares; above 0
) -> Flower:
    """Adagrad on the server (Reddi et al. 2021, arXiv:2003.00295)"""
    return Flower("FedAdagrad", {"eta": within("rate", rate, 0, 100), "tau": within("tau", tau, 1e-12, 1e6)})


def fedmedian(scenario: Scenario) -> Flower:
    """Median of each weight (Yin et al. 2018, arXiv:1803.01498)"""
    return Flower("FedMedian")


@dataclass(frozen=True)
class Trimmed(Flower):
    """A mean that cuts off as many at each end as of a whole cohort, however many replied: a client that is silent shall not make
    room for another."""

    cut: int = 0

    def arguments_for(self, count: int) -> Mapping[str, Any]:
        cut = min(self.cut, (count - 1) // 2)
        # Of beta times the replies Flower takes the whole part; a little more, so that rounding takes nothing away.
        return {"beta": (cut + 0.01) / count if cut else 0.0}


def fedtrimmedavg(
    scenario: Scenario,
    *,
    beta: float = 0.2,  # share of the cohort that is cut off at each end; range [0, 0.49]
) -> Flower:
    """Mean of each weight without its beta lowest and beta highest shares (Yin et al. 2018, arXiv:1803.01498)"""
    return Trimmed("FedTrimmedAvg", cut=int(within("beta", beta, 0, 0.49) * scenario.cohort))


def krum(
    scenario: Scenario,
    *,
    malicious: int = 1,  # bad clients; the cohort needs 2·malicious + 3
) -> Flower:
    """The one client closest to its neighbours, `malicious` being bad (Blanchard et al. 2017, arXiv:1703.02757)"""
    within("malicious", malicious, 0, 1_000_000)
    arguments = {"num_malicious_nodes": malicious}
    rule = Flower("Krum", arguments, 2 * malicious + 3, "2·malicious + 3", distances=True)
    return rule.check(scenario.cohort)


@dataclass(frozen=True)
class MultiKrum(Flower):
    """Never takes more clients than would be left without the bad ones."""

    malicious: int = 1
    selected: int = 5

    def arguments_for(self, count: int) -> Mapping[str, Any]:
        return {
            "num_malicious_nodes": self.malicious,
            "num_nodes_to_select": min(self.selected, count - self.malicious),
        }


def multikrum(
    scenario: Scenario,
    *,
    malicious: int = 1,  # bad clients; the cohort needs 2·malicious + 3
    selected: int = 0,  # clients in the mean, at most the cohort - malicious, fewer where not all reply; 0: 5, or as many as can be
) -> Flower:
    """Mean, by their number of examples, of the `selected` clients closest to their neighbours (Blanchard et al. 2017,
    arXiv:1703.02757)"""
    within("malicious", malicious, 0, 1_000_000)
    needed, why = 2 * malicious + 3, "2·malicious + 3"
    most = scenario.cohort - malicious  # with more, bad ones would be among them for certain
    taken = selected or min(5, most)
    rule = MultiKrum("MultiKrum", {}, needed, why, distances=True, malicious=malicious, selected=taken)
    rule.check(scenario.cohort)
    within("selected", selected, 0, most)
    return rule


def bulyan(
    scenario: Scenario,
    *,
    malicious: int = 1,  # bad clients; the cohort needs 4·malicious + 3
) -> Flower:
    """Those that Krum ranks first, then a trimmed mean around their median (El Mhamdi et al. 2018, arXiv:1802.07927); Flower's,
    by one ranking, where the paper ranks anew after each choice"""
    within("malicious", malicious, 0, 1_000_000)
    arguments = {"num_malicious_nodes": malicious}
    rule = Flower("Bulyan", arguments, 4 * malicious + 3, "4·malicious + 3", distances=True)
    return rule.check(scenario.cohort)
