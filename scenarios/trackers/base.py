"""What a tracker is, and what it is given of a run: plain numbers, words and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

Setting = str | int | float | bool
Values = Mapping[str, float]  # by name; a name's first part, up to "/", is its group


@dataclass(frozen=True)
class Known:
    """What a tracker has of a run, kept in RUN/trackers.json for when the run is resumed."""

    id: str = ""  # by which the tracker knows the run; a new run has none yet
    rounds: int = 0  # it has the first so many
    curves: tuple[str, ...] = ()  # the baselines whose curves it has


@dataclass(frozen=True)
class Opening:
    """A run that begins, or goes on."""

    folder: Path  # the run's; its name is the run's
    scenario: str  # its name
    settings: Mapping[str, Setting]
    known: Known = Known()  # from an earlier process


@dataclass(frozen=True)
class Ending:
    """What a run comes to."""

    rounds: int
    values: Values
    curves: Mapping[str, Mapping[int, Values]] = field(default_factory=dict)  # of each baseline, by round
    figures: Sequence[Path] = ()  # PNG
    models: Sequence[Path] = ()


class Tracker(Protocol):
    """One run in one tracker. Whatever it raises, the run goes on without it."""

    known: Known  # as of its opening

    def log(self, round: int, values: Values) -> None:
        """A round is over; each comes once, in order."""

    def finish(self, ending: Ending) -> None:
        """All of the run is over; again, if a finished run is resumed."""

    def close(self, finished: bool) -> None:
        """The last call. finished: no more rounds are to come."""


Opener = Callable[[Opening], Tracker]
