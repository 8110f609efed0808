"""Ask clients and wait for what they answer: a slow, dead or lying one never holds the others, nor the round's time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Protocol

from flwr.app import Message
from flwr.serverapp import Grid

from core.text import cleaned

Pull = Callable[[Mapping[str, int]], list[tuple[str, Message | Exception]]]


class Stopped(Exception):
    """Somebody asked the run to stop (Ctrl-C, SIGTERM)."""


class Onlooker(Protocol):
    """Who may stop the wait, and hears of each reply."""

    def stopped(self) -> bool:
        """Shall the run stop?"""

    def replied(self, round: int, done: int, of: int) -> None:
        """So many clients of this round have answered."""


def ask(
    grid: Grid, asks: Mapping[int, Message], timeout: float, watch: Onlooker, pause: float, round: int = 0,
    apart: bool = False,
) -> tuple[dict[int, Message], dict[int, str]]:  # fmt: skip
    """Send each client its message and wait for the replies, at most `timeout` seconds.

    pause: seconds between two looks; apart: pull each reply in a thread of its own, as real nodes need it (see `_threads`).
    Returns the replies and, for each client without one, why; both in order of clients. Raises Stopped if the watcher says so.
    """
    waiting: dict[str, int] = {}
    replies: dict[int, Message] = {}
    failed: dict[int, str] = {}
    for client, message in asks.items():
        keys = [key for key in grid.push_messages([message]) if key]
        waiting |= dict.fromkeys(keys[:1], client)
        failed |= {} if keys else {client: "its message could not be sent"}
    end = time.monotonic() + timeout
    with _threads(grid, pause, len(asks)) if apart else _here(grid, pause) as pull:
        while waiting and time.monotonic() < end:
            if watch.stopped():
                raise Stopped
            for key, reply in pull(waiting):
                if (client := waiting.pop(key, -1)) < 0:
                    continue
                if isinstance(reply, Exception):
                    failed[client] = f"its answer could not be fetched: {cleaned(repr(reply))}"
                elif reply.has_error():
                    failed[client] = _reason(reply)
                else:
                    replies[client] = reply
                watch.replied(round, len(asks) - len(waiting), len(asks))
    failed |= dict.fromkeys(waiting.values(), f"no answer within {timeout:g} s")
    return dict(sorted(replies.items())), dict(sorted(failed.items()))


@contextmanager
def _here(grid: Grid, pause: float) -> Iterator[Pull]:
    """Pull all replies that are there at once, in this thread: a simulation's grid lets a client answer in it."""

    def pull(waiting: Mapping[str, int]) -> list[tuple[str, Message | Exception]]:
        got = list(grid.pull_messages(list(waiting)))
        if not got:
            time.sleep(pause)
        return [(reply.metadata.reply_to_message_id, reply) for reply in got]

    yield pull


@contextmanager
def _threads(grid: Grid, pause: float, count: int) -> Iterator[Pull]:
    """Pull each reply by itself. Flower's pull waits up to three minutes for a reply that was announced and whose upload then
    stopped, and fails as a whole where one reply cannot be read: neither may cost another client, or the round, anything."""
    pool, pulls = ThreadPoolExecutor(max(1, count)), dict[Future[list[Message]], str]()

    def one(key: str) -> list[Message]:
        if not (got := list(grid.pull_messages([key]))):
            time.sleep(pause)
        return got

    def pull(waiting: Mapping[str, int]) -> list[tuple[str, Message | Exception]]:
        pulls.update({pool.submit(one, key): key for key in waiting if key not in pulls.values()})
        done, _ = wait(pulls, timeout=pause, return_when=FIRST_COMPLETED)
        got: list[tuple[str, Message | Exception]] = []
        for future in done:
            key, error = pulls.pop(future), future.exception()
            if error is None:
                got += [(key, reply) for reply in future.result()[:1]]
            else:
                got.append((key, error if isinstance(error, Exception) else RuntimeError(repr(error))))
        return got

    try:
        yield pull
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a pull that hangs ends by itself


def _reason(reply: Message) -> str:
    """What Flower tells of an error, on one line, without the class names it wraps around it."""
    said = cleaned(reply.error.reason or f"error {reply.error.code}", 1000)
    return said.split(":<'", 1)[-1].removesuffix("'>").strip()[:300]
