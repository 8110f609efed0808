"""MNIST's models and their TensorFlow engines, by the kind's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.arrays import Arrays
from core.config.scenario import Model, Scenario
from core.data import DATASETS, Examples
from core.engines import Engine, get
from core.models import MODELS, ModelSpec, build
from core.models import keras as keras_form
from core.plan import Lesson, Pull, Rehearsal, draw

KINDS = tuple(MODELS)


def spec(kind: str = "cnn") -> ModelSpec:
    """The model of this kind for MNIST."""
    return build(kind, DATASETS["mnist"].spec)


def initial(seed: int, kind: str = "cnn") -> Arrays:
    """Its first weights."""
    return spec(kind).initial(seed)


def tensorflow(kind: str = "cnn") -> Engine:
    """TensorFlow's engine for it."""
    return get("tensorflow", spec(kind))


def keras_model(
    weights: Sequence[np.ndarray] | None = None, options: Model | None = None, *, probabilities: bool = False
) -> Any:
    """As Keras knows it; options name its kind."""
    return keras_form.keras_model(spec((options or Model()).kind), weights, options, probabilities=probabilities)


def trained(scenario: Scenario, examples: Examples) -> Arrays:
    """The CNN's weights after one round of one client that has all of these images."""
    start = initial(0)
    strength = np.zeros((len(examples), 0), np.float32)
    lesson = Lesson(0, start, examples, strength, client=0, round=1, rate=scenario.local.rate, scenario=scenario)
    return engine.train(start, draw(lesson, Pull.none(start), Rehearsal.none())).weights


engine = tensorflow()
