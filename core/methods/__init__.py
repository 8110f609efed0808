"""Continual methods: each a small file; METHODS names them all."""

from __future__ import annotations

from core.config.scenario import Scenario
from core.methods.agem import AGem
from core.methods.analytic import Acil, Slda
from core.methods.base import Chain, Finetune
from core.methods.der import Der, DerPP
from core.methods.ewc import Ewc
from core.methods.fedagem import FedAGem
from core.methods.fedcurv import FedCurv
from core.methods.fedssi import FedSsi
from core.methods.lwf import Lwf
from core.methods.replay import Joint, Replay
from core.methods.si import Si
from core.methods.stsa import Stsa
from core.models import of

METHODS = {
    "finetune": Finetune, "joint": Joint, "replay": Replay, "der": Der, "derpp": DerPP, "agem": AGem, "ewc": Ewc,
    "si": Si, "fedssi": FedSsi, "lwf": Lwf, "fedcurv": FedCurv, "fedagem": FedAGem, "acil": Acil, "slda": Slda, "stsa": Stsa,
}  # fmt: skip

__all__ = ["METHODS", "Chain", "Finetune", "closed_forms"]


def closed_forms(scenario: Scenario) -> list[Acil]:
    """The scenario's methods that solve the head in closed form."""
    built = [part.build("methods", METHODS, of(scenario)) for part in scenario.methods]
    return [method for method in built if isinstance(method, Acil)]
