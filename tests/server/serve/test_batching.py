"""Batches: who is answered with whom, in which order, and who is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from server.serve.batching import Batcher, Limits
from server.serve.refusal import Reason, Refusal
from server.serve.servable import Servable

LABELS = ("0", "1")


def rows(*values: float) -> np.ndarray:
    """Images that are told apart by their first pixel."""
    images = np.zeros((len(values), 28, 28, 1), np.float32)
    images[:, 0, 0, 0] = values
    return images


class Slow:
    """A model that waits until it may answer, and says which image it saw."""

    def __init__(self, version: int = 1) -> None:
        self.go, self.began, self.calls = threading.Semaphore(0), threading.Semaphore(0), list[list[float]]()
        self.servable = Servable(version, Path("model"), LABELS, self.predict)

    def predict(self, images: np.ndarray) -> np.ndarray:
        self.calls.append(images[:, 0, 0, 0].tolist())
        self.began.release()
        assert self.go.acquire(timeout=10)
        if self.calls[-1] == [13.0]:
            raise RuntimeError("unlucky")
        return np.stack([images[:, 0, 0, 0], 1 - images[:, 0, 0, 0]], 1)


def played(limits: Limits, play: Callable[[Batcher], Awaitable[None]]) -> list[int]:
    """Play with a running batcher; the sizes of its batches."""
    sizes: list[int] = []

    async def all_of_it() -> None:
        batcher = Batcher(limits, sizes.append)
        await play(batcher)
        assert batcher.images == 0

    asyncio.run(all_of_it())
    return sizes


async def asked(batcher: Batcher, model: Servable, *requests: np.ndarray) -> list[asyncio.Task[np.ndarray]]:
    tasks = [asyncio.create_task(batcher.predict(model, one)) for one in requests]
    await asyncio.sleep(0)
    return tasks


def test_what_comes_while_the_model_is_busy_is_answered_together_and_to_whom_it_belongs() -> None:
    slow = Slow()

    async def play(batcher: Batcher) -> None:
        first = await asked(batcher, slow.servable, rows(0))
        await asyncio.to_thread(slow.began.acquire)
        others = await asked(batcher, slow.servable, rows(1, 2), rows(3), rows(4, 5, 6))
        slow.go.release(3)
        answers = await asyncio.gather(*first, *others)
        assert [answer[:, 0].tolist() for answer in answers] == [[0], [1, 2], [3], [4, 5, 6]]

    assert played(Limits(batch=4, inline=0), play) == [1, 3, 3] and slow.calls == [[0], [1, 2, 3], [4, 5, 6]]


def test_the_first_waits_for_others_as_long_as_was_said() -> None:
    slow = Slow()

    async def play(batcher: Batcher) -> None:
        tasks = await asked(batcher, slow.servable, rows(1))
        await asyncio.sleep(0.05)
        tasks += await asked(batcher, slow.servable, rows(2))
        slow.go.release()
        await asyncio.gather(*tasks)

    assert played(Limits(wait=0.5, inline=0), play) == [2]


def test_two_versions_never_share_a_batch() -> None:
    old, new = Slow(1), Slow(2)

    async def play(batcher: Batcher) -> None:
        tasks = await asked(batcher, old.servable, rows(0))
        await asyncio.to_thread(old.began.acquire)
        tasks += await asked(batcher, old.servable, rows(1))
        tasks += await asked(batcher, new.servable, rows(2))
        tasks += await asked(batcher, old.servable, rows(3))
        old.go.release(3)
        new.go.release()
        await asyncio.gather(*tasks)

    assert played(Limits(inline=0), play) == [1, 1, 1, 1] and new.calls == [[2]]


def test_too_many_images_and_too_long_a_queue_are_refused_at_once() -> None:
    slow = Slow()

    async def play(batcher: Batcher) -> None:
        with pytest.raises(Refusal) as large:
            await batcher.predict(slow.servable, rows(*range(5)))
        tasks = await asked(batcher, slow.servable, rows(0))
        await asyncio.to_thread(slow.began.acquire)
        tasks += await asked(batcher, slow.servable, rows(1, 2, 3), rows(4, 5, 6))
        with pytest.raises(Refusal) as busy:
            await batcher.predict(slow.servable, rows(7))
        assert (large.value.reason, busy.value.reason) == (Reason.LARGE, Reason.BUSY)
        slow.go.release(3)
        await asyncio.gather(*tasks)

    assert played(Limits(batch=4, waiting=6, inline=0), play) == [1, 3, 3]


def test_who_waits_too_long_is_told_so_and_costs_the_model_nothing_more() -> None:
    slow = Slow()

    async def play(batcher: Batcher) -> None:
        tasks = await asked(batcher, slow.servable, rows(0), rows(1))
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, Refusal) and one.reason is Reason.LATE for one in found)
        slow.go.release(2)
        assert (await batcher.predict(slow.servable, rows(2)))[:, 0] == [2]

    assert played(Limits(batch=1, timeout=0.2, inline=0), play) == [1, 1] and slow.calls == [[0], [2]]


def test_an_error_of_the_model_reaches_only_those_who_asked_with_it() -> None:
    slow = Slow()

    async def play(batcher: Batcher) -> None:
        slow.go.release(2)
        with pytest.raises(RuntimeError, match="unlucky"):
            await batcher.predict(slow.servable, rows(13))
        assert (await batcher.predict(slow.servable, rows(1)))[:, 0] == [1]

    played(Limits(inline=0), play)


def test_small_batches_are_computed_at_once_and_together() -> None:
    slow = Slow()

    async def play(batcher: Batcher) -> None:
        slow.go.release(2)
        answers = await asyncio.gather(*(batcher.predict(slow.servable, rows(n)) for n in range(5)))
        assert [answer[0, 0] for answer in answers] == list(range(5))
        with pytest.raises(RuntimeError, match="unlucky"):
            await batcher.predict(slow.servable, rows(13))

    assert played(Limits(inline=5), play) == [5, 1]
