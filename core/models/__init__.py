"""Models as specifications: MODELS names them all; nothing else knows which arrays a model has."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from core.config.parse import unknown_piece
from core.config.scenario import Scenario
from core.data import dataset
from core.data.spec import DatasetSpec
from core.models.cnn import cnn
from core.models.lenet import lenet
from core.models.logistic import logistic
from core.models.mlp import mlp, mlp100
from core.models.spec import ModelSpec

__all__ = ["MODELS", "ModelSpec", "build", "of"]

MODELS: dict[str, Callable[[tuple[int, int], int], ModelSpec]] = {  # image, classes → model
    "cnn": cnn, "mlp": mlp, "mlp100": mlp100, "lenet": lenet, "logistic": logistic,
}  # fmt: skip


def build(kind: str, data: DatasetSpec) -> ModelSpec:
    """The model of this kind for a data set's images and classes. Raises ValueError on an unknown kind, with the choices."""
    if kind not in MODELS:
        raise unknown_piece("model.kind", kind, MODELS)
    return _model(MODELS[kind], data.image, data.classes)


def of(scenario: Scenario) -> ModelSpec:
    """A scenario's model. Raises ValueError if it cannot have the norm that the scenario wants."""
    model = scenario.model
    return _normalized(build(model.kind, dataset(scenario)), model.norm, model.groups)


@lru_cache(maxsize=64)
def _model(function: Callable[[tuple[int, int], int], ModelSpec], image: tuple[int, int], classes: int) -> ModelSpec:
    made = function(image, classes)
    if not isinstance(made, ModelSpec):
        name = getattr(function, "__name__", repr(function))
        raise ValueError(f"model {name} is {type(made).__name__}, not a ModelSpec (core/models/spec.py)")
    return made


@lru_cache(maxsize=64)
def _normalized(model: ModelSpec, norm: str, groups: int) -> ModelSpec:
    return model.normalized(norm, groups)
