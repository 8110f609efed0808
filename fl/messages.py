"""What server and clients say to each other, as plain frozen data; fl/wire.py writes and reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.arrays import Arrays
from core.config.scenario import Scenario
from core.methods.base import Payloads
from core.scores import Sums


@dataclass(frozen=True)
class Task:
    """What the server asks one client to do in one round."""

    scenario: Scenario
    round: int
    client: int
    rate: float  # SGD's step size
    arrays: Arrays  # the global weights
    payloads: Payloads = field(default_factory=dict)  # what the server adds for methods
    run: str = ""  # the run's name, on real nodes
    before: tuple[
        str, ...
    ] = ()  # the runs that it goes on from, the newest first: a node takes along what it kept of the first
    step: bytes = b""  # a training step's file (core/engines/step.py), if the server sends one
    digest: str = ""  # its SHA-256


@dataclass(frozen=True)
class Update:
    """What a client replies: its new weights (none, if it only evaluated), sums and counts."""

    client: int
    arrays: Arrays  # none: it took no step, having nothing to learn
    own_examples: int  # examples of its own that it learned from; that it holds, if it only evaluated
    sums: Sums  # over the gradient examples of the round, or the test images
    labels: Sequence[int] = ()  # how many training examples of each class it holds
    looks: Sequence[float] = ()  # the amounts of its looks, in the scenario's order
    earlier: str = ""  # the worker that began this round before and did not finish it
    task: int = -1  # what it was learning
    memory: int = 0  # bytes that it keeps for its methods
    battery: float = -1.0  # how full its device's battery is, 0 … 1; below 0 if it has none, or is no device
    payloads: Payloads = field(default_factory=dict)  # what methods send beside the weights
    rehearsed: int = 0  # examples that it remembers and learned from again
    round: int = 0  # the one that it was asked in
    seconds: float = 0.0  # that the client worked on it
    processor: float = 0.0  # processor seconds that this took
    unprepared: bool = False  # it kept nothing of the run that this one goes on from
    note: str = ""  # what the report should say of this client's round, a sentence
    personal: Sums | None = None  # of its own model, on the same test images, if it evaluated and has one

    @property
    def examples(self) -> int:
        """The client's weight in the mean."""
        return self.own_examples + self.rehearsed
