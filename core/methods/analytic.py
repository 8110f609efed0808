"""Closed-form heads: no stored images, no gradient, nothing to forget. Two solutions of the same sums.

The body trains for `warm` rounds and then stays as it is. From then on each client that is asked sends the sums Σ φφᵀ and
Σ φyᵀ over its images of all stages that it has met and the server has not yet (φ: the features and a 1; y: one-hot
labels): stages that passed while the body trained, or while the client was not drawn, are among them. So it must hold the
images of a stage until it has sent their sums; of images that are gone by then there are none. Sums do not care who sent
them, in which order, how skewed or in how many parts: the head that the server solves for is *the same* as with all of
these images in one place. It lives in the same model: the linear map φ → z goes through the hidden layer as
relu(z) − relu(−z).

With warm = 0 the body is random, as it was drawn. That is neither ACIL, which trains its body on the first task, nor AFL or
AFCL, whose body is pre-trained: it is their algebra on random features. STSA is in stsa.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.arrays import Arrays
from core.config.scenario import Scenario
from core.engines.base import Engine
from core.methods import by_client
from core.methods.base import Finetune, Memory, Payloads, Received, Request, Shared
from core.methods.sums import check, packed, summed, unpacked
from core.models import ModelSpec
from core.plan import Learned, Lesson
from core.stream import ends

FEATURES = 4096  # at most: the server holds and solves a matrix of so many rows
STAGES = 1_000_000  # more than any stream has
UNMET = -30.0  # the logit of a class that nobody has shown yet


class Acil(Finetune):
    """Ridge regression on the body's features, solved from clients' sums; no images kept, no gradient after `warm` rounds
    (after ACIL, Zhuang et al. 2022, arXiv:2205.14922, federated as in AFL, He et al. 2025, arXiv:2405.16240, and AFCL,
    Tang et al. 2025, arXiv:2505.12245; on random features, unless the body trains first)"""

    name = "acil"

    def __init__(
        self,
        model: ModelSpec,
        *,
        ridge: float = 0.1,  # of the regression, from 1e-9 on
        warm: int = 0,  # rounds in which the body trains first; -1: the first stage's; 0: none, it stays random
    ) -> None:
        super().__init__(model)
        if needs := self.needs(model):
            raise ValueError(f"methods = {self.name} cannot be had with model.kind = {model.name}: it needs {needs}")
        if not 1e-9 <= ridge < 1e9:  # with less than that rounding errors make logits of any size
            raise ValueError(f"ridge = {ridge} of {self.name} should be 1e-9 or more, and below 1e9")
        if warm < -1:
            raise ValueError(f"warm = {warm} of {self.name} should be 0 or more rounds, or -1: the first stage's")
        self.ridge, self.warm = ridge, warm

    def needs(self, model: ModelSpec) -> str:
        """What it needs of a model, if this one does not have it."""
        if model.dense >= 2 and model.hidden >= 2 * model.classes and model.features <= FEATURES:
            return ""
        return (
            f"two dense layers at its end, {2 * model.classes} units before the logits, {FEATURES:,} features at most"
        )

    @property
    def width(self) -> int:
        """How many numbers of an image the head is solved on."""
        return self.model.features

    def warms(self, scenario: Scenario) -> int:
        """The rounds in which the body trains first. Once there are sums it trains no more, not even in a run that goes on from
        another: they hold only for the body that they were computed with."""
        return ends(scenario)[0] if self.warm < 0 else self.warm

    # ── on the client ──

    def trains(self, lesson: Lesson) -> bool:
        return self.name not in lesson.payloads and lesson.round <= self.warms(lesson.scenario)

    def revisits(self, lesson: Lesson) -> int:
        if self.trains(lesson):
            return lesson.stage
        return int(lesson.payloads[self.name][0][0]) + 1 if self.name in lesson.payloads else 0

    def upload(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Payloads:
        if self.trains(lesson):
            return {}
        oldest = self.revisits(lesson)
        fresh = [examples for stage, examples in sorted(lesson.earlier.items()) if stage >= oldest]
        fresh += [lesson.examples] if lesson.stage >= oldest else []
        pairs = [summed(self.seen(lesson, e.x, engine), e.y, self.model.classes) for e in fresh if len(e)]
        if not pairs:
            return {}
        gram, cross = (sum(parts[1:], parts[0]) for parts in zip(*pairs, strict=True))
        stage = np.array([lesson.stage], np.float32)
        return {self.name: [packed(gram).astype(np.float32), cross.astype(np.float32), stage]}

    def seen(self, lesson: Lesson, images: np.ndarray, engine: Engine) -> np.ndarray:
        """What the head is solved on, f64 [n, width]."""
        return engine.features(lesson.start, images).astype(np.float64)

    # ── on the server ──

    def shapes(self, weights: Arrays) -> Mapping[str, Sequence[tuple[int, ...]]]:
        size = self.width + 1
        return {self.name: [(size * (size + 1) // 2,), (size, self.model.classes), (1,)]}  # the first: a lower triangle

    def asks_for_weights(self, request: Request) -> bool:
        return f"{self.name}/gram" not in request.shared and request.round <= self.warms(request.scenario)

    def accept(self, payloads: Payloads, received: Received) -> Payloads:
        """The sums, if that many images can have them, and the client can have met so many since the server heard of it.

        In simulation that number is known. On devices sums of however many stages weigh no more than a client of the round
        may (`count_ratio`); where nobody has an example, that is nothing, and they are asked for again.
        """
        if self.name not in payloads or not received.max_examples:
            return {}
        gram, cross, stage = payloads[self.name]
        if self.asks_for_weights(received.request):
            raise ValueError("it sent sums of a body that still trains")
        if not 0 <= stage[0] < STAGES or stage[0] % 1:
            raise ValueError(f"its sums are of stage {stage[0]:g}")
        largest, count = self.largest(received.request), self._count(float(gram[-1]), received)
        check(unpacked(gram), cross.astype(np.float64), count, largest, self.signed)
        share = np.float32(min(1.0, received.max_examples / float(gram[-1])))
        return {self.name: [gram * share, cross * share, stage, *self.drawn(received.request)]}

    def _count(self, reported: float, received: Received) -> int:
        """How many images its sums are of. Raises ValueError if they cannot be of as many as it reports."""
        scenario, examples = received.request.scenario, received.own_examples
        if received.stage_examples is not None:
            since = self._absorbed(received.request.shared, received.client) + 1 - scenario.past
            return sum(received.stage_examples[max(0, since) :])
        if not examples <= reported <= scenario.max_examples or not reported or reported % 1:
            raise ValueError(
                f"its sums are of {reported:g} images, not {max(1, examples):,} … {scenario.max_examples:,}"
            )
        return int(reported)

    @property
    def signed(self) -> bool:
        """Can what `seen` gives be negative?"""
        return self.model.signed

    def largest(self, request: Request) -> np.ndarray:
        """f64 [width]: no image has more in `seen`."""
        return self.model.largest_features(request.arrays)

    def drawn(self, request: Request) -> Arrays:
        """What of the head is drawn, not solved; it goes to `server_update`, which knows no seed, beside the sums."""
        return []

    def server_update(self, shared: Shared, uploads: Mapping[int, Payloads], arrays: Arrays) -> tuple[Shared, Arrays]:
        triangle, table, _ = self.shapes(arrays)[self.name]
        gram = shared.get(f"{self.name}/gram", np.zeros(triangle))
        cross = shared.get(f"{self.name}/cross", np.zeros(table))
        fresh = {c: payloads[self.name] for c, payloads in sorted(uploads.items()) if self.name in payloads}
        fresh = {c: sent for c, sent in fresh.items() if sent[2][0] > self._absorbed(shared, c)}
        if not fresh:
            return shared, arrays
        for client_gram, client_cross, *_ in fresh.values():
            gram, cross = gram + client_gram, cross + client_cross
        newest = {client: int(stage[0]) for client, (_, _, stage, *_) in fresh.items()}
        absorbed = by_client.written(shared, f"{self.name}/absorbed", newest)
        shared = {**shared, f"{self.name}/gram": gram, f"{self.name}/cross": cross, **absorbed}
        body, _ = self.model.body_and_head(arrays)
        drawn = next(iter(fresh.values()))[3:]  # the same for all
        return shared, [*body, *self.head(*self.solve(unpacked(gram), cross), drawn)]

    def download(self, shared: Shared, client: int) -> Payloads:
        """Which of its stages' sums the server has; nothing, as long as it has no sums at all."""
        if f"{self.name}/gram" not in shared:
            return {}
        return {self.name: [np.array([self._absorbed(shared, client)], np.float32)]}

    def _absorbed(self, shared: Shared, client: int) -> int:
        """The newest of its stages whose sums the server has, -1 if of none; it has those of all before that it has met."""
        return by_client.number(shared, f"{self.name}/absorbed", client, -1)

    def head(self, weights: np.ndarray, bias: np.ndarray, drawn: Arrays) -> Arrays:
        """The head's arrays that compute this map of `seen`."""
        return head(weights, bias, self.model.hidden)

    def solve(self, gram: np.ndarray, cross: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits as a linear map: f64 [features, classes] and [classes].

        Answers of ridge regression lie near 0 and 1; times 12 they spread like logits.

        Raises ArithmeticError if the map is longer than √n / (2√ridge), which that of no n images is (their singular values σ
        enter as σ / (σ² + ridge)).
        """
        solution = np.linalg.solve(gram + self.ridge * np.eye(len(gram)), cross)
        check_length(solution, np.sqrt(cross[-1].sum() / self.ridge) / 2)
        solution = 12 * solution
        return solution[:-1], np.where(cross[-1] > 0, solution[-1], UNMET)


class Slda(Acil):
    """Linear discriminants: class means and one covariance on the body's features, solved from clients' sums; no
    images kept, no gradient after `warm` rounds, every class weighs the same (after streaming LDA, Hayes and Kanan 2020,
    arXiv:1909.01520; on random features, unless the body trains first)"""

    name = "slda"

    def __init__(
        self,
        model: ModelSpec,
        *,
        ridge: float = 0.001,  # of the mean variance, added to each feature's; from 1e-9 on
        warm: int = 0,  # rounds in which the body trains first; -1: the first stage's; 0: none, it stays random
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
        check_length(weights, np.linalg.norm(means) / max(least, 1e-30))
        bias = -0.5 * np.einsum("cd,dc->c", means, weights)
        met = count > 0
        weights, bias = weights - weights[:, met].mean(1, keepdims=True), bias - bias[met].mean()
        return np.where(met, weights, 0), np.where(met, bias, UNMET)


def check_length(weights: np.ndarray, longest: float) -> None:
    """Raises ArithmeticError if a head is longer than that of any images."""
    if not np.linalg.norm(weights) <= 1.01 * longest:  # NaN neither
        raise ArithmeticError(
            f"the head is {np.linalg.norm(weights):.3g} long, that of no images is over {longest:.3g}"
        )


def head(weights: np.ndarray, bias: np.ndarray, hidden: int) -> Arrays:
    """The arrays of a head of two dense layers that computes features @ weights + bias, exactly but for rounding."""
    features, n = weights.shape
    kernel, offset = np.zeros((features, hidden)), np.zeros(hidden)
    last, eye = np.zeros((hidden, n)), np.eye(n)
    kernel[:, :n], kernel[:, n : 2 * n] = weights, -weights
    offset[:n], offset[n : 2 * n] = bias, -bias
    last[:n], last[n : 2 * n] = eye, -eye
    return [array.astype(np.float32) for array in (kernel, offset, last, np.zeros(n))]
