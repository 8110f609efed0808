"""A model as Keras knows it: summary, `.keras` file, export. Tests hold it equal to the function that is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.config.scenario import Model
from core.models.spec import ModelSpec


def keras_model(
    model: ModelSpec,
    weights: Sequence[np.ndarray] | None = None,
    options: Model | None = None,
    *,
    probabilities: bool = False,
) -> Any:
    """Image f32 [n, rows, columns, 1] in 0 … 1 → logits (or probabilities) f32 [n, classes]; dropout before the logits.

    Batch norm is folded: without weights, as it is at first.
    """
    from tensorflow import keras

    options = options or Model()
    model, folded = model.folded(weights if weights is not None else model.initial(0))
    l2 = keras.regularizers.l2(options.l2) if options.l2 else None
    *before, last = (layer.keras(l2) for layer in model.layers)
    stack = [
        keras.Input((*model.image, 1), name="image"),
        *before,
        *([keras.layers.Dropout(options.dropout, name="dropout")] if options.dropout else []),
        last,
        *([keras.layers.Softmax(name="probabilities")] if probabilities else []),
    ]
    sequential = keras.Sequential(stack, name="digits")
    if weights is not None:
        sequential.set_weights(folded)
    return sequential
