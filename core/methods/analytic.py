"""Closed-form heads: no stored images, no gradient, nothing to forget. Two solutions of the same sums.

The model's body stays as it is from round `warm` on. Each client sends, once for each of its experiences, the sums
Σ φφᵀ and Σ φyᵀ over its images (φ: the features and a 1; y: one-hot labels). Sums do not care who sent them, in
which order, how skewed or in how many parts: the head that the server solves for is *the same* as with all data in one
place. It lives in the same model: the linear map φ → z goes through the hidden layer as relu(z) − relu(−z).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.arrays import Arrays
from core.engines.base import Engine
from core.methods.base import Finetune, Memory, Payloads, Received, Shared
from core.methods.sums import check
from core.models import ModelSpec
from core.plan import Learned, Lesson

FEATURES = 4096  # at most: the server holds and solves a matrix of so many rows
STAGES = 1_000_000  # more than any stream has
UNMET = -30.0  # the logit of a class that nobody has shown yet


class Acil(Finetune):
    """Ridge regression on the body's features, solved from clients' sums; no images kept, no gradient
    (ACIL, Zhuang et al. 2022, arXiv:2205.14922; federated as AFL, He et al. 2025, arXiv:2405.16240)"""

    name = "acil"

    def __init__(
        self,
        model: ModelSpec,
        *,
        ridge: float = 0.1,  # of the regression, above 0
        warm: int = 0,  # rounds in which the body trains first; 0 = none
    ) -> None:
        super().__init__(model)
        if model.dense < 2 or model.hidden < 2 * model.classes or model.features > FEATURES:
            needs = f"two dense layers at its end, {2 * model.classes} units before the logits, {FEATURES:,} features at most"
            raise ValueError(f"methods = {self.name} cannot be had with model.kind = {model.name}: it needs {needs}")
        if not 0 < ridge < 1e9:
            raise ValueError(f"ridge = {ridge} of {self.name} should be above 0")
        if warm < 0:
            raise ValueError(f"warm = {warm} of {self.name} should be 0 or more rounds")
        self.ridge, self.warm = ridge, warm

    def trains(self, lesson: Lesson) -> bool:
        return lesson.round <= self.warm

    def upload(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Payloads:
        absorbed = lesson.payloads.get(self.name)
        if self.trains(lesson) or not len(lesson.examples) or (absorbed and lesson.stage <= absorbed[0][0]):
            return {}
        seen = engine.features(lesson.start, lesson.examples.x).astype(np.float64)
        seen = np.concatenate([seen, np.ones((len(seen), 1))], 1)
        gram, cross = seen.T @ seen, seen.T @ np.eye(self.model.classes)[lesson.examples.y]
        stage = np.array([lesson.stage], np.float32)
        return {self.name: [packed(gram).astype(np.float32), cross.astype(np.float32), stage]}

    def shapes(self, weights: Arrays) -> Mapping[str, Sequence[tuple[int, ...]]]:
        size = self.model.features + 1
        return {self.name: [(size * (size + 1) // 2,), (size, self.model.classes), (1,)]}  # the first: a lower triangle

    def accept(self, payloads: Payloads, received: Received) -> Payloads:
        """The sums, each weighed like the client itself, if that many images can have them."""
        if self.name not in payloads:
            return {}
        gram, cross, stage = payloads[self.name]
        if not 0 <= stage[0] < STAGES or stage[0] % 1:
            raise ValueError(f"its sums are of stage {stage[0]:g}")
        largest = self.model.largest_features(received.asked.arrays)
        check(unpacked(gram), cross.astype(np.float64), received.own, largest, self.model.signed)
        share = np.float32(received.share)
        return {self.name: [gram * share, cross * share, stage]}

    def server_update(self, shared: Shared, uploads: Mapping[int, Payloads], arrays: Arrays) -> tuple[Shared, Arrays]:
        triangle, table, _ = self.shapes(arrays)[self.name]
        gram = shared.get(f"{self.name}/gram", np.zeros(triangle))
        cross = shared.get(f"{self.name}/cross", np.zeros(table))
        absorbed = {int(c): int(s) for c, s in shared.get(f"{self.name}/absorbed", np.zeros((0, 2), np.int64))}
        fresh = {c: payloads[self.name] for c, payloads in sorted(uploads.items()) if self.name in payloads}
        fresh = {c: sent for c, sent in fresh.items() if sent[2][0] > absorbed.get(c, -1)}
        if not fresh:
            return shared, arrays
        for client, (one, other, stage) in fresh.items():
            gram, cross = gram + one, cross + other
            absorbed[client] = int(stage[0])
        kept = {"gram": gram, "cross": cross, "absorbed": np.array(sorted(absorbed.items()), np.int64)}
        shared = {**shared, **{f"{self.name}/{key}": value for key, value in kept.items()}}
        body, _ = self.model.body_and_head(arrays)
        return shared, [*body, *head(*self.solve(unpacked(gram), cross), self.model.hidden)]

    def download(self, shared: Shared, client: int) -> Payloads:
        for who, stage in shared.get(f"{self.name}/absorbed", ()):
            if who == client:
                return {self.name: [np.array([stage], np.float32)]}
        return {}

    def solve(self, gram: np.ndarray, cross: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits as a linear map: f64 [features, classes] and [classes].

        Answers of ridge regression lie near 0 and 1; times 12 they spread like logits.

        Raises ArithmeticError if the map is longer than √n / (2√ridge), which that of no n images is (their singular values σ
        enter as σ / (σ² + ridge)).
        """
        found = np.linalg.solve(gram + self.ridge * np.eye(len(gram)), cross)
        _short(found, np.sqrt(cross[-1].sum() / self.ridge) / 2)
        found = 12 * found
        return found[:-1], np.where(cross[-1] > 0, found[-1], UNMET)


class Slda(Acil):
    """Linear discriminants: class means and one covariance on the body's features, solved from clients' sums; no
    images kept, no gradient, every class weighs the same (streaming LDA, Hayes and Kanan 2020, arXiv:1909.01520)"""

    name = "slda"

    def __init__(
        self,
        model: ModelSpec,
        *,
        ridge: float = 0.001,  # of the mean variance, added to each feature's; above 0
        warm: int = 0,  # rounds in which the body trains first; 0 = none
    ) -> None:
        super().__init__(model, ridge=ridge, warm=warm)

    def solve(self, gram: np.ndarray, cross: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As above. ridge: how much of the mean variance is added to every feature's, so that no variance is below it."""
        count = cross[-1]
        means = cross[:-1].T / np.maximum(count, 1)[:, None]
        spread = (gram[:-1, :-1] - (means.T * count) @ means) / max(1.0, count.sum())
        least = self.ridge * np.trace(spread) / len(spread)
        spread += least * np.eye(len(spread))
        weights = np.linalg.solve(spread, means.T)
        _short(weights, np.linalg.norm(means) / max(least, 1e-30))
        bias = -0.5 * np.einsum("cd,dc->c", means, weights)
        met = count > 0
        weights, bias = weights - weights[:, met].mean(1, keepdims=True), bias - bias[met].mean()
        return np.where(met, weights, 0), np.where(met, bias, UNMET)


def _short(found: np.ndarray, longest: float) -> None:
    if not np.linalg.norm(found) <= 1.01 * longest:  # NaN neither
        raise ArithmeticError(f"the head is {np.linalg.norm(found):.3g} long, that of no images is over {longest:.3g}")


def head(weights: np.ndarray, bias: np.ndarray, hidden: int) -> Arrays:
    """The arrays of a head of two dense layers that computes features @ weights + bias, exactly but for rounding."""
    features, n = weights.shape
    kernel, offset = np.zeros((features, hidden)), np.zeros(hidden)
    last, eye = np.zeros((hidden, n)), np.eye(n)
    kernel[:, :n], kernel[:, n : 2 * n] = weights, -weights
    offset[:n], offset[n : 2 * n] = bias, -bias
    last[:n], last[n : 2 * n] = eye, -eye
    return [array.astype(np.float32) for array in (kernel, offset, last, np.zeros(n))]


def packed(matrix: np.ndarray) -> np.ndarray:
    """A symmetric matrix's lower triangle, row by row."""
    return matrix[np.tril_indices(len(matrix))]


def unpacked(triangle: np.ndarray) -> np.ndarray:
    """The symmetric matrix again."""
    size = int((np.sqrt(8 * len(triangle) + 1) - 1) / 2)
    matrix = np.zeros((size, size))
    matrix[np.tril_indices(size)] = triangle
    return matrix + np.tril(matrix, -1).T
