"""Why a request is not answered, and what each protocol calls that."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Status(NamedTuple):
    """What HTTP and gRPC call a reason."""

    http: int
    grpc: str  # the name of a grpc.StatusCode


class Reason(Enum):
    """Why a request is refused."""

    INVALID = Status(400, "INVALID_ARGUMENT")  # it makes no sense
    UNKNOWN = Status(404, "NOT_FOUND")  # no such model, version or path
    STRANGER = Status(401, "UNAUTHENTICATED")  # the token is missing or wrong
    FOREIGN = Status(403, "PERMISSION_DENIED")  # it comes from another page, or to another name
    LARGE = Status(413, "RESOURCE_EXHAUSTED")  # more bytes or images than one request may have
    BUSY = Status(429, "RESOURCE_EXHAUSTED")  # too many images wait
    LATE = Status(504, "DEADLINE_EXCEEDED")  # no answer in time
    SLOW = Status(408, "DEADLINE_EXCEEDED")  # the request did not arrive in time
    BROKEN = Status(500, "INTERNAL")  # not the client's fault


class Refusal(Exception):
    """A request is refused."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        """sentence: what is wrong, and what would be right; it goes to the client."""
        self.reason, self.sentence = (
            reason,
            sentence.encode(errors="replace").decode(),
        )  # a client's half surrogate is no text
        super().__init__(self.sentence)


def invalid(sentence: str) -> Refusal:
    """The commonest: the request makes no sense."""
    return Refusal(Reason.INVALID, sentence)
