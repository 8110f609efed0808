"""Requests that come together are answered together: one call of the model for the images of many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from server.serve.refusal import Reason, Refusal
from server.serve.servable import Servable


@dataclass(frozen=True)
class Limits:
    """What one request, and all together, may ask."""

    batch: int = 256  # images a request, and a call of the model
    waiting: int = 2048  # images that may wait
    wait: float = 0.0  # seconds that the first of a batch waits for others; 0: only while the model is busy
    timeout: float = 5.0  # seconds from a request's arrival to its answer
    octets: int = 8_000_000  # bytes of a request


@dataclass(frozen=True)
class Waiting:
    """A request in the queue."""

    model: Servable
    images: np.ndarray
    answer: asyncio.Future[np.ndarray]


class Batcher:
    """Runs a model, one batch at a time, in a thread of its own; belongs to one event loop.

    While a batch is computed, requests gather; the next batch takes as many of them as it may have, in the order in which they
    came, as long as they ask the same model. A request's images are never divided.
    """

    def __init__(self, limits: Limits, measured: Callable[[int], None] = lambda _: None) -> None:
        """measured: told of the images of each batch."""
        self.limits, self.measured = limits, measured
        self.images = 0  # that wait
        self._queue: deque[Waiting] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def predict(self, model: Servable, images: np.ndarray) -> np.ndarray:
        """Probabilities f32 [n, classes] of images f32 [n, 28, 28, 1].

        Raises Refusal if there are too many images, too many wait already, or the answer takes too long.
        """
        if len(images) > self.limits.batch:
            raise Refusal(Reason.LARGE, f"{len(images)} images in one request, at most {self.limits.batch} are taken")
        if self.images + len(images) > self.limits.waiting:
            raise Refusal(Reason.BUSY, f"{self.images} images wait already; try again later")
        answer: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self._queue.append(Waiting(model, images, answer))
        self.images += len(images)
        self._arrived.set()
        try:
            async with asyncio.timeout(self.limits.timeout):
                return await answer
        except TimeoutError:
            raise Refusal(Reason.LATE, f"no answer within {self.limits.timeout:g} s") from None

    async def run(self) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if self.limits.wait and self.images < self.limits.batch:
                await asyncio.sleep(self.limits.wait)
            batch = self._next()
            if not batch:
                continue
            together = np.concatenate([one.images for one in batch]) if len(batch) > 1 else batch[0].images
            self.measured(len(together))
            try:
                rows = await loop.run_in_executor(self._thread, batch[0].model.predict, together)
            except Exception as error:
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(error)
                continue
            start = 0
            for one in batch:
                end = start + len(one.images)
                if not one.answer.done():  # whoever asked may have gone
                    one.answer.set_result(rows[start:end])
                start = end

    def _next(self) -> list[Waiting]:
        """The requests of the next batch, taken from the queue; those that nobody waits for any more are passed over."""
        taken: list[Waiting] = []
        rows = 0
        while self._queue:
            one = self._queue[0]
            if not one.answer.done():
                if taken and (one.model is not taken[0].model or rows + len(one.images) > self.limits.batch):
                    break
                taken.append(one)
                rows += len(one.images)
            self._queue.popleft()
            self.images -= len(one.images)
        if not self._queue:
            self._arrived.clear()
        return taken
