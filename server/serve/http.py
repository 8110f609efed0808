"""The HTTP server: uvicorn's, with limits on the time that a request's head may take, and an answer that nobody reads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.serve.service import Service

CONNECTIONS = 1000
IDLE = 30  # seconds that a connection may be kept without a request, or without reading on where an answer waits for it


class Patient(HttpToolsProtocol):
    """uvicorn's protocol, which hangs up on who takes too long for a request's head, or reads nothing of a long answer; uvicorn
    itself would wait for ever."""

    seconds: float = IDLE  # for a request's head
    unread: float = IDLE  # in which nothing of an answer is read
    _hang_up: asyncio.TimerHandle | None = None
    _give_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._begin()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin()

    def on_headers_complete(self) -> None:
        _cancel(self._hang_up)
        super().on_headers_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        _cancel(self._give_up)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._hang_up)
        _cancel(self._give_up)
        super().connection_lost(exc)

    def _begin(self) -> None:
        _cancel(self._hang_up)
        self._hang_up = self.loop.call_later(self.seconds, self.transport.close)

    def _watch(self, waiting: int) -> None:
        """Look again in a while whether less than these bytes of the answer wait to be read."""
        _cancel(self._give_up)
        self._give_up = self.loop.call_later(self.unread, self._look, waiting)

    def _look(self, waiting: int) -> None:
        if (left := self.transport.get_write_buffer_size()) < waiting:
            self._watch(left)
        else:
            self.transport.abort()  # not `close`, which would wait for what is unread


def patient(seconds: float, unread: float = IDLE) -> type[Patient]:
    """The protocol with these limits."""
    return type("Patient", (Patient,), {"seconds": seconds, "unread": unread})


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer:
        timer.cancel()


class Server(uvicorn.Server):
    """Signals are its caller's, who has a second server to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def http(app: Any, service: Service, key: Path | None, certificate: Path | None) -> Server:
    """The server, not started. key, certificate: PEM files, both or none."""
    return Server(
        uvicorn.Config(
            app, http=patient(service.limits.timeout), ws="none", lifespan="off", access_log=False, log_config=None,
            server_header=False, limit_concurrency=CONNECTIONS, timeout_keep_alive=IDLE,
            timeout_graceful_shutdown=round(service.limits.timeout) + 1, ssl_keyfile=key, ssl_certfile=certificate,
        )
    )  # fmt: skip
