"""TensorBoard: event files in RUN/tensorboard, which `tensorboard --logdir runs` shows side by side.

It has no place for a model's files: they stay in the run's folder. Baselines' curves are runs of their own below the run's, so
that they lie in the same charts.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.trackers.base import Ending, Known, Opening, Tracker, Values

if TYPE_CHECKING:
    from tensorboardX.event_file_writer import EventsWriter

FOLDER = "tensorboard"
SHOWN = ("accuracy/test", "loss/test")  # beside the settings, in the table of hyperparameters
FINAL = ".final"  # ends the name of a file that a later ending replaces


def opened(run: Opening) -> Tracker:
    """The run's event files; a resumed run begins another one."""
    return TensorBoard(run)


class TensorBoard:
    """Writes each round before it returns.

    tensorboardX's usual writer hands events to a thread: when that dies of a full disk, nobody hears of it, and the run waits
    for it for ever.
    """

    def __init__(self, run: Opening) -> None:
        self._folder = run.folder.absolute() / FOLDER
        has_events = any(self._folder.glob("events.*"))
        self.known = Known(rounds=run.known.rounds if has_events else 0, curves=run.known.curves if has_events else ())
        self._file = _events(self._folder, self.known.rounds)
        self._settings = dict(run.settings)
        if not has_events:
            experiment, start, _ = self._hyperparameters()
            _write(self._file, 0, experiment, start)

    def log(self, round: int, values: Values) -> None:
        """Raises OSError if the disk is full."""
        _write(self._file, round, _scalars(values))

    def finish(self, ending: Ending) -> None:
        """What the run comes to, in a file of its own, in place of that of an earlier ending."""
        from tensorboardX.summary import Summary

        *_, end = self._hyperparameters()
        pictures = [Summary(value=[_picture(path)]) for path in ending.figures]
        _replace(self._folder, {ending.rounds: [_scalars(ending.values), *pictures, end]})
        for name, rounds in ending.curves.items():
            _replace(self._folder / name, {number: [_scalars(values)] for number, values in rounds.items()})

    def close(self, finished: bool) -> None:
        """Every round is on the disk already."""
        self._file.close()

    def _hyperparameters(self) -> tuple[Any, Any, Any]:
        """What the HParams page reads: the experiment, the session's start with its settings, its end."""
        from tensorboardX.summary import hparams

        return hparams(self._settings, dict.fromkeys(SHOWN, 0.0))


def _events(folder: Path, rounds: int, final: str = "") -> EventsWriter:
    """A new event file in a folder, which TensorBoard reads after those of fewer rounds.

    What another process wrote of later rounds, before it was killed, is void.
    """
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    folder.mkdir(parents=True, exist_ok=True)
    has_events = any(folder.glob("events.*"))
    file = EventsWriter(str(folder / "events"), f".{rounds:07d}.{time.time_ns()}{final}")
    if has_events and not final:  # what other writers call purge_step
        start = SessionLog(status=SessionLog.START)
        file.write_event(Event(step=rounds + 1, wall_time=time.time(), session_log=start))
        file.flush()
    return file


def _replace(folder: Path, summaries: dict[int, list[Any]]) -> None:
    old_files = list(folder.glob(f"events.*{FINAL}"))
    file = _events(folder, max(summaries), FINAL)
    for step, parts in summaries.items():
        _write(file, step, *parts)
    file.close()
    for old in old_files:
        old.unlink()


def _write(file: EventsWriter, step: int, *summaries: Any) -> None:
    from tensorboardX.proto.event_pb2 import Event

    for summary in summaries:
        file.write_event(Event(step=step, wall_time=time.time(), summary=summary))
    file.flush()


def _scalars(values: Values) -> Any:
    from tensorboardX.summary import Summary

    return Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])


def _picture(path: Path) -> Any:
    """The PNG as it is."""
    from tensorboardX.summary import Summary

    encoded = path.read_bytes()
    width, height = struct.unpack(">II", encoded[16:24])  # where every PNG has them
    image = Summary.Image(height=height, width=width, encoded_image_string=encoded)
    return Summary.Value(tag=f"figures/{path.stem}", image=image)
