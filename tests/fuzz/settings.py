"""Random settings for a small run, possible by construction: a preset, a piece of each kind, values in the ranges they state."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from core.config.scenario import ENGINES
from scenarios.check import REGISTRIES
from scenarios.presets import SCENARIOS

# What a setting may be, beside its usual value: lowest, highest; or a choice. They are the ranges that the pieces state.
RANGES: dict[str, tuple[float, float] | list[Any]] = {
    "partition.dirichlet.alpha": (0.01, 1000), "partition.labels.k": [3, 4, 10], "partition.quantity.power": (0, 1.0),
    "partition.shards.per_client": [1, 2, 5], "partition.hsu.alpha": (0.01, 1000), "partition.powerlaw.k": [7, 10],
    "partition.powerlaw.sigma": (0, 3), "strategy.fedrs.alpha": (0, 1), "strategy.fedlc.tau": (0, 10),
    "partition.sample.images": [1, 10, 20], "strategy.fedprox.mu": (0, 1), "strategy.fedavgm.momentum": (0, 0.99),
    "strategy.fedavgm.rate": (0, 2), "strategy.feddyn.alpha": (0.01, 10),
    "strategy.ccvr.samples": [1, 20], "strategy.ccvr.last": [0, 1], "strategy.ccvr.rate": (0, 4),
    "strategy.moon.mu": (0, 10), "strategy.moon.temperature": (0.05, 5),
    "strategy.fedadam.rate": (0, 1), "strategy.fedtrimmedavg.beta": (0, 0.49),
    "schedule.cosine.floor": (0, 1), "schedule.restarts.floor": (0, 1), "schedule.plateau.stop": [1, 2, 9],
    "softmax.balanced.strength": (0, 10), "augment.rotate.degrees": (0, 180), "augment.zoom.amount": (0, 0.99),
    "augment.shift.share": (0, 1), "augment.elastic.sigma": (0.1, 28), "looks.blur.high": (0, 1.5), "methods.ewc.decay": (0, 1),
    "methods.ewc.strength": (0, 1e6), "methods.lwf.teacher": ["stage", "round"], "methods.lwf.strength": (0, 1000),
    "methods.replay.images": [1, 10, 1000], "methods.replay.kilobytes": (1, 500), "methods.replay.share": (0, 0.99),
    "methods.der.alpha": (0, 100), "methods.derpp.beta": (0, 100), "methods.agem.select": ["balanced", "reservoir", "herding"],
    "methods.si.damping": (0.001, 10), "methods.fedssi.own": (0.01, 1), "methods.acil.ridge": (0.1, 100),
    "methods.slda.warm": [-1, 0, 1], "methods.stsa.warm": [-1, 0, 1],
    "stream.classes.per_task": [5, 7, 10], "stream.domains.conditions": ["plain+invert", "plain+rotate:90", "noise"],
    "stream.permuted.tasks": [1, 2], "stream.arrivals.portions": [1, 2], "stream.repeats.per_task": [10],
    "stream.seasons.seasons": [1], "stream.seasons.mix": (0, 1),
}  # fmt: skip
# Without these the usual value would need more stages than a small run has rounds, or more clients.
NEEDED = {
    "partition.labels.k", "partition.powerlaw.k", "partition.sample.images",
    "stream.classes.per_task", "stream.domains.conditions", "stream.permuted.tasks",
    "stream.arrivals.portions", "stream.repeats.per_task", "stream.seasons.seasons",
}  # fmt: skip
PLAIN: dict[str, tuple[float, float] | list[Any]] = {
    "noise": (0, 1), "order": (0, 1), "lag": (0, 1), "weight_exponent": (0, 1), "probe": [0, 20], "gate.accuracy": (0, 1),
    "gate.forgetting": (0, 1), "model.dropout": (0, 0.9), "model.l2": (0, 0.01), "local.batch": [1, 7, 32, 64],
    "local.rate": (0, 0.1), "local.momentum": (0, 0.9), "local.epochs": (0.1, 1), "local.clip": (0, 10), "seed": [0, 1, 2**63 - 1],
    "max_update_ratio": (0.1, 100), "stragglers": (0, 1),
}  # fmt: skip
ROBUST = {"krum": 5, "multikrum": 5, "bulyan": 7}  # the least cohort


def combination(draw: random.Random, data: Path) -> list[str]:
    """A command line for a small run that is possible: a preset, a piece of each kind, some settings."""
    strategy = draw.choice(sorted(REGISTRIES["strategy"]))
    clients = ROBUST.get(strategy, 4)
    shallow = strategy not in ("ccvr", "moon", "fedbn")  # which need layers before the last
    model = draw.choice(["cnn", "lenet", "mlp"] + ["logistic"] * shallow)
    heads = draw.choice(["acil", "slda", "stsa"])  # of those that solve the head a run can have one
    of_heads = ("acil", "slda", "stsa")
    methods = [
        name for name in sorted(REGISTRIES["methods"])
        if name not in of_heads or (name == heads and model in ("cnn", "mlp") and strategy != "ccvr")
    ]  # fmt: skip
    if strategy in ("fedper", "fedbn"):  # some layers stay with clients: no method may send what it makes of all
        methods = [name for name in methods if name not in (*of_heads, "fedcurv", "fedagem")]
    pieces = {kind: [draw.choice(sorted(REGISTRIES[kind]))] for kind in ("partition", "schedule", "softmax", "stream")}
    pieces |= {"stream": ["permuted"]} if pieces["partition"] == ["redealt"] else {}  # they go together
    pieces |= {"softmax": ["plain"]} if strategy in ("fedrs", "fedlc") else {}  # they bring their own
    pieces |= {"strategy": [strategy], "methods": draw.sample(methods, draw.choice([1, 1, 2]))}
    pieces |= {kind: draw.sample(sorted(REGISTRIES[kind]), draw.randint(0, 3)) for kind in ("augment", "looks")}
    small = {"data": data, "train": 300, "test": 60, "validation": 60, "minimum": 1, "rounds": 2, "clients": clients,
             "cohort": clients, "join": "none", "leave": "none", "model.kind": model, "engine": draw.choice(ENGINES)}  # fmt: skip
    changes = [f"{key}={value}" for key, value in small.items()]
    for kind, names in pieces.items():
        changes.append(f"{kind}={'+'.join(names) or 'none'}")
        for name in names:
            known = [key for key in RANGES if key.startswith(f"{kind}.{name}.")]
            some = [key for key in known if key in NEEDED or draw.random() < 0.5]
            changes += [f"{_path(kind, name, key)}={_value(draw, RANGES[key])}" for key in some]
    changes += ["stream.tasks=2", "stream.redealt=true", "partition.times=2"] * (pieces["partition"] == ["redealt"])
    changes += [f"{key}={_value(draw, PLAIN[key])}" for key in draw.sample(sorted(PLAIN), 4)]
    changes += ["local.clip=0"] * (strategy == "scaffold")  # it is refused with clipping
    changes += ["model.norm=group"] * (strategy == "fedbn")  # it keeps norms
    return [draw.choice(sorted(SCENARIOS)), *(word for change in changes for word in ("--set", change))]


def _path(kind: str, name: str, key: str) -> str:
    """How `--set` names a setting: kinds of which there may be several name the piece."""
    return key if kind in ("methods", "augment", "looks") else key.replace(f".{name}.", ".", 1)


def _value(draw: random.Random, among: tuple[float, float] | list[Any]) -> Any:
    return draw.choice(among) if isinstance(among, list) else round(draw.uniform(*among), 6)
