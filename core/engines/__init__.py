"""Engines carry out plans. This is the only door to them: what one needs is imported when it is first asked for.

TensorFlow takes three seconds to load; a run whose fork server loads it meanwhile does not wait for both.
"""

from __future__ import annotations

from importlib import import_module

from core.config.parse import unknown
from core.config.scenario import ENGINES, Scenario
from core.engines.base import Engine, Judge
from core.models import ModelSpec, of

__all__ = ["Engine", "Judge", "default", "get", "training_step"]


def get(name: str, model: ModelSpec, step: bytes = b"", digest: str = "") -> Engine:
    """The engine of this name for a model; made once a process.

    step: the training step's file, for litert, and digest: the SHA-256 that it should have. Raises ValueError on an unknown
    name, with the choices, and if the file is missing, not the one that is wanted, or another model's.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    engine: Engine = import_module(f"core.engines.{name}").engine(model, step, digest)
    return engine


def training_step(model: ModelSpec, batch: int, contrasts: bool = False) -> bytes:
    """A training step's file for engines without TensorFlow, in batches of this size; made once a process.

    contrasts: can plans have a contrast? A step that cannot does not pay for it. Raises ValueError if there is none for this model.
    """
    if model.statistics:
        raise ValueError(
            f"engine = litert has no model.norm = batch ({model.name}); choose group, or engine = tensorflow"
        )
    from core.engines import step_file

    return step_file.build(model, batch, contrasts)


def default(scenario: Scenario) -> Engine:
    """TensorFlow's for a scenario's model: the server's, and the baselines'."""
    return get("tensorflow", of(scenario))
