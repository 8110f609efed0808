"""Ask clients and wait for what they answer: a slow, dead or lying one never holds the others, nor the round's time limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from core.text import cleaned
from fl import wire
from fl.roster import AnyNode, Assignment
from fl.serialization import empty

Pull = Callable[[Mapping[str, int]], list[tuple[str, Message | Exception]]]
T = TypeVar("T")
Read = Callable[[int, RecordDict], T]  # what a client's reply says; ValueError, if it makes no sense


class Stopped(Exception):
    """Somebody asked the run to stop (Ctrl-C, SIGTERM)."""


class Onlooker(Protocol):
    """Who may stop the wait, and hears of each reply."""

    def stopped(self) -> bool:
        """Shall the run stop?"""

    def replied(self, round: int, done: int, of: int) -> None:
        """So many clients of this round have answered."""


@dataclass(frozen=True)
class Replies(Generic[T]):
    """What came of asking clients. Mappings are by client, in order."""

    results: Mapping[int, T]  # what was read from their replies
    failed: Mapping[int, str]  # why there is nothing of the others
    sent: Mapping[int, int]  # bytes of the message to each that one was sent to
    seconds: Mapping[int, float] = field(default_factory=dict)  # from its sending to the reply


@dataclass(frozen=True)
class Channel:
    """How the server reaches clients."""

    grid: Grid
    timeout: float  # seconds that all replies to one call of `ask` may take
    watch: Onlooker
    assignment: Assignment = field(default_factory=AnyNode)  # which node plays which client

    def ask(self, kind: str, contents: Mapping[int, RecordDict], read: Read[T], round: int = 0) -> Replies[T]:
        """Send each client its content and wait for the replies; each is read as it comes, while others are at work.

        kind: Flower's type of message; round: whose progress the watcher hears of, 0 for nobody's. Contents and replies have no
        arrays any more when it returns. Raises Stopped if the watcher says so.
        """
        nodes = self.assignment(self.grid, list(contents))
        messages = {
            client: Message(contents[client], dst_node_id=node, message_type=kind) for client, node in nodes.items()
        }

        def read_and_empty(client: int, reply: Message) -> T:
            try:
                return read(client, reply.content)
            finally:
                empty(reply.content)

        results, failed, seconds = exchange(self, messages, read_and_empty, round)
        failed |= {client: "its node is not there" for client in contents if client not in nodes}
        sent = {client: wire.size(contents[client]) for client in nodes}
        for content in contents.values():
            empty(content)
        return Replies(results, failed, sent, seconds)


def exchange(
    channel: Channel, messages: Mapping[int, Message], read: Callable[[int, Message], T], round: int = 0
) -> tuple[dict[int, T], dict[int, str], dict[int, float]]:
    """Send these messages, by client (or node), and wait for the replies, at most the channel's `timeout` seconds.

    Returns what was read from the replies, why there is nothing of the other clients, and after how many seconds each reply
    came; each by client, in order. Raises Stopped if the watcher says so.
    """
    grid, watch, pause = channel.grid, channel.watch, channel.assignment.pause
    waiting: dict[str, int] = {}
    results: dict[int, T] = {}
    failed: dict[int, str] = {}
    seconds: dict[int, float] = {}
    start = time.monotonic()
    for client, message in messages.items():
        keys = [key for key in grid.push_messages([message]) if key]
        waiting |= dict.fromkeys(keys[:1], client)
        failed |= {} if keys else {client: "its message could not be sent"}
    # A grid whose clients stand still with this process says how long one turn may take: more was a pause (Ctrl-Z).
    turn, left, last = getattr(grid, "longest_look", math.inf), channel.timeout, time.monotonic()
    with _threads(grid, pause, len(messages)) if channel.assignment.one_by_one else _here(grid, pause) as pull:
        while waiting and left > 0:
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
                    seconds[client] = time.monotonic() - start
                    try:
                        results[client] = read(client, reply)
                    except ValueError as error:
                        failed[client] = str(error)
                watch.replied(round, len(messages) - len(waiting), len(messages))
            now = time.monotonic()
            left, last = left - min(now - last, turn), now
    failed |= dict.fromkeys(waiting.values(), f"no answer within {channel.timeout:g} s")
    return dict(sorted(results.items())), dict(sorted(failed.items())), dict(sorted(seconds.items()))


@contextmanager
def _here(grid: Grid, pause: float) -> Iterator[Pull]:
    """Pull all replies that are there at once, in this thread: a simulation's grid lets a client answer in it."""

    def pull(waiting: Mapping[str, int]) -> list[tuple[str, Message | Exception]]:
        replies = list(grid.pull_messages(list(waiting)))
        if not replies:
            time.sleep(pause)
        return [(reply.metadata.reply_to_message_id, reply) for reply in replies]

    yield pull


@contextmanager
def _threads(grid: Grid, pause: float, count: int) -> Iterator[Pull]:
    """Pull each reply by itself. Flower's pull waits up to three minutes for a reply that was announced and whose upload then
    stopped, and fails as a whole where one reply cannot be read: neither may cost another client, or the round, anything."""
    pool, pulls = ThreadPoolExecutor(max(1, count)), dict[Future[list[Message]], str]()

    def pull_one(key: str) -> list[Message]:
        if not (replies := list(grid.pull_messages([key]))):
            time.sleep(pause)
        return replies

    def pull(waiting: Mapping[str, int]) -> list[tuple[str, Message | Exception]]:
        pulls.update({pool.submit(pull_one, key): key for key in waiting if key not in pulls.values()})
        done, _ = wait(pulls, timeout=pause, return_when=FIRST_COMPLETED)
        replies: list[tuple[str, Message | Exception]] = []
        for future in done:
            key, error = pulls.pop(future), future.exception()
            if error is None:
                replies += [(key, reply) for reply in future.result()[:1]]
            else:
                replies.append((key, error if isinstance(error, Exception) else RuntimeError(repr(error))))
        return replies

    try:
        yield pull
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a pull that hangs ends by itself


def _reason(reply: Message) -> str:
    """What Flower tells of an error, on one line, without the class names it wraps around it."""
    reason = cleaned(reply.error.reason or f"error {reply.error.code}", 1000)
    return reason.split(":<'", 1)[-1].removesuffix("'>").strip()[:300]
