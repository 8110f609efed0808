"""MOON: a client's features are held near the global model's, away from its own last one's (Li et al. 2021, arXiv:2103.16257).

Beside the loss of an image x stands μ · −log(e^{sim(z, z_glob)/τ} / (e^{sim(z, z_glob)/τ} + e^{sim(z, z_prev)/τ})), sim being the
cosine, and z, z_glob, z_prev the features of x under the weights being trained, those received, and those with which the client
ended its last round. That is μ · log(1 + e^{⟨z/|z|, apart⟩}) with apart = (z_prev/|z_prev| − z_glob/|z_glob|) / τ, which does not
change in a round: all views of it are decided before its first step, so both models look at each once, and a step costs little
more. In memory, a round's views take three times their features for a while: 19 kB an image with the CNN.

Features are what the model's head sees. The authors put a projection of two layers between features and head; there is none here,
so that all strategies train the same model. In a client's first round there is no contrast: it is FedAvg. With batch norm the two
frozen models normalize by their running statistics, the one being trained by its batch's, as the authors' `eval` and `train` do.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.arrays import in_order, numbered
from core.config.scenario import Scenario
from core.engines.base import Engine
from core.methods.base import Finetune, Memory
from core.models import ModelSpec, of
from core.plan import Contrast, Learned, Lesson, Plan
from fl.strategies import counting
from fl.strategies.base import within
from fl.strategies.flower import Flower, fedavg


class ModelContrast(Finetune):
    """What MOON does on a client: it keeps the weights with which its last round ended"""

    name = "moon"
    contrasts = True

    def __init__(self, model: ModelSpec, mu: float, temperature: float) -> None:
        super().__init__(model)
        self.mu, self.temperature = mu, temperature

    def contrast(self, plan: Plan, memory: Memory, lesson: Lesson, engine: Engine) -> Contrast | None:
        previous = in_order("w", counting.slot(memory, self.name))
        if not previous or not self.mu or not len(plan.order):
            return None
        near, far = (_directions(engine.features(weights, plan.images)) for weights in (lesson.start, previous))
        return Contrast((far - near) / np.float32(self.temperature), self.mu)

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        if not learned.sums.examples:
            return memory
        return {**memory, self.name: {lesson.stage: numbered("w", learned.weights)}}


def _directions(features: np.ndarray) -> np.ndarray:
    """Each row over its length; rows of zeros stay so. f32 [n, features]."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, np.float32(1))


def moon(
    scenario: Scenario,
    *,
    mu: float = 1.0,  # weight of the contrast; range [0, 1000]
    temperature: float = 0.5,  # lower is sharper; range [0.05, 100]
) -> Flower:
    """FedAvg whose clients' features are held near the global model's (Li et al. 2021, arXiv:2103.16257)"""
    model = of(scenario)
    if not model.body_and_head(model.shapes)[0]:
        raise ValueError(
            f"strategy = moon needs a model that learns its features; those of model.kind = {scenario.model.kind} are pixels"
        )
    method = ModelContrast(model, within("mu", mu, 0, 1000), within("temperature", temperature, 0.05, 100))
    return replace(fedavg(scenario), methods=(method,))
