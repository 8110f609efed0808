"""Requests that come together are answered together: one call of the model for the images of many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from server.serve.refusal import Reason, Refusal
from server.serve.servable import Servable


@dataclass(frozen=True)
class Limits:
    """What one request, and all together, may ask."""

    batch: int = 256  # images a request, and a call of the model
    waiting: int = 2048  # images that may wait
    wait: float = (
        0.0  # seconds that the first of a batch waits for others; 0: only what comes at once is answered together
    )
    timeout: float = 5.0  # seconds from a request's arrival to its answer
    octets: int = 8_000_000  # bytes of a request
    inline: int = (
        16  # images of a batch that is computed where requests are read: a thread's turn costs more than they do
    )

    def admit(self, images: int) -> None:
        """Raises Refusal for more than a request may have; asked before they are converted: a million tiny ones take long."""
        if images > self.batch:
            raise Refusal(Reason.LARGE, f"{images} images in one request, at most {self.batch} are taken")


@dataclass(frozen=True)
class Waiting:
    """A request in the queue."""

    model: Servable
    images: np.ndarray
    answer: asyncio.Future[np.ndarray]


class Batcher:
    """Runs a model, one batch at a time; belongs to one event loop.

    What comes in one turn of the loop, or while a batch is computed, or within `wait`, is answered together: as many requests as a
    batch may have, in the order in which they came, as long as they ask the same model. A request's images are never divided.
    Larger batches are computed in a thread, so that the loop goes on reading.
    """

    def __init__(self, limits: Limits, measured: Callable[[int], None] = lambda _: None) -> None:
        """measured: told of the images of each batch."""
        self.limits, self.measured = limits, measured
        self.images = 0  # that wait
        self._queue: deque[Waiting] = deque()
        self._next_look: asyncio.Handle | None = None
        self._busy = False  # is the thread?
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def predict(self, model: Servable, images: np.ndarray) -> np.ndarray:
        """Probabilities f32 [n, classes] of images f32 [n, 28, 28, 1].

        Raises Refusal if there are too many images, too many wait already, or the answer takes too long.
        """
        self.limits.admit(len(images))
        if self.images + len(images) > self.limits.waiting:
            raise Refusal(Reason.BUSY, f"{self.images} images wait already; try again later")
        answer: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self._queue.append(Waiting(model, images, answer))
        self.images += len(images)
        self._look_soon()
        try:
            async with asyncio.timeout(self.limits.timeout):
                return await answer
        except TimeoutError:
            raise Refusal(Reason.LATE, f"no answer within {self.limits.timeout:g} s") from None

    def _look_soon(self) -> None:
        """Look at the queue after what else comes in this turn of the loop; later, if the batch has room for others to come."""
        loop = asyncio.get_running_loop()
        full = self.images >= self.limits.batch
        if self._next_look is None:
            wait = 0.0 if full else self.limits.wait
            self._next_look = loop.call_later(wait, self._look) if wait else loop.call_soon(self._look)
        elif full and isinstance(self._next_look, asyncio.TimerHandle):
            self._next_look.cancel()
            self._next_look = loop.call_soon(self._look)

    def _look(self) -> None:
        """Compute what waits, unless the thread is at work: then it looks again itself."""
        self._next_look = None
        while not self._busy and (batch := self._next_batch()):
            images = np.concatenate([one.images for one in batch]) if len(batch) > 1 else batch[0].images
            self.measured(len(images))
            if len(images) > self.limits.inline:
                self._busy = True
                work = asyncio.get_running_loop().run_in_executor(self._thread, batch[0].model.predict, images)
                work.add_done_callback(partial(self._computed, batch))
                return
            try:
                _answer(batch, batch[0].model.predict(images))
            except Exception as error:  # a runtime's own; those who asked are told, the service lives
                _fail(batch, error)

    def _computed(self, batch: list[Waiting], work: asyncio.Future[np.ndarray]) -> None:
        self._busy = False
        if error := work.exception():
            _fail(batch, error)
        else:
            _answer(batch, work.result())
        self._look()

    def _next_batch(self) -> list[Waiting]:
        """The requests of the next batch, taken from the queue; those that nobody waits for any more are passed over."""
        batch: list[Waiting] = []
        rows = 0
        while self._queue:
            request = self._queue[0]
            if not request.answer.done():
                if batch and (request.model is not batch[0].model or rows + len(request.images) > self.limits.batch):
                    break
                batch.append(request)
                rows += len(request.images)
            self._queue.popleft()
            self.images -= len(request.images)
        return batch


def _answer(batch: list[Waiting], rows: np.ndarray) -> None:
    start = 0
    for one in batch:
        if not one.answer.done():  # whoever asked may have gone
            one.answer.set_result(rows[start : start + len(one.images)])
        start += len(one.images)


def _fail(batch: list[Waiting], error: BaseException) -> None:
    for one in batch:
        if not one.answer.done():
            one.answer.set_exception(error)
