"""One model behind every protocol: which one is asked, its answer, and what is counted."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from server.serve.batching import Batcher, Limits
from server.serve.metrics import Metrics
from server.serve.refusal import Reason, Refusal, invalid
from server.serve.servable import NAME, Follower, Servable
from server.serve.tensors import images

SIGNATURES = ("serving_default", "serve")  # of the savedmodel export, too; the first is the usual one


@dataclass
class Service:
    """What all protocols ask."""

    follower: Follower
    limits: Limits = field(default_factory=Limits)
    token: str = ""  # that requests must bring; empty: none
    metrics: Metrics = field(default_factory=Metrics)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.batcher = Batcher(self.limits, self.metrics.batch.observe)
        self.follower.swapped = self._report_version
        self._report_version(self.follower.serving)

    def _report_version(self, model: Servable) -> None:
        self.metrics.version.set(model.version)

    def model(self, name: str = NAME, version: int | str | None = None) -> Servable:
        """The model that a request names. version: None or "" for the current one. Raises Refusal if there is no such."""
        serving = self.follower.serving
        if name != NAME:
            raise Refusal(Reason.UNKNOWN, f"there is no model {name[:40]!r}, only {NAME!r}")
        if version not in (None, "", serving.version, str(serving.version)):
            raise Refusal(Reason.UNKNOWN, f"version {str(version)[:20]} is not served, only {serving.version}")
        return serving

    def signature(self, name: str) -> None:
        """Raises Refusal if a request names a signature that the model has not; empty stands for the usual one."""
        if name not in ("", *SIGNATURES):
            raise invalid(f"there is no signature {name[:40]!r}, only {' and '.join(map(repr, SIGNATURES))}")

    def not_taken(self) -> dict[int, str]:
        """Why what is newer is not served; by its version, which is the one served if another file came in its place."""
        return dict(self.follower.refused)  # a copy: a thread looks for new ones

    async def predict(self, model: Servable, values: np.ndarray) -> np.ndarray:
        """Probabilities f32 [n, classes] of what a client sent. Raises Refusal."""
        return await self.batcher.predict(model, images(values))

    def authorized(self, authorization: str | None) -> None:
        """Raises Refusal unless the `authorization` that a request brings is `Bearer` and the token, if there is one."""
        if self.token and not hmac.compare_digest((authorization or "").encode(), f"Bearer {self.token}".encode()):
            raise Refusal(Reason.STRANGER, "the token is missing or wrong: send it as `authorization: Bearer TOKEN`")

    @contextmanager
    def counted(self, protocol: str) -> Iterator[None]:
        """Count a request and its time; by its reason, if it is refused."""
        start, outcome = time.perf_counter(), "error"
        try:
            yield
            outcome = "ok"
        except Refusal as refusal:
            outcome = refusal.reason.name.lower()
            raise
        finally:
            self.metrics.requests.labels(protocol, outcome).inc()
            self.metrics.seconds.labels(protocol).observe(time.perf_counter() - start)
