"""Runs from Python: in a notebook, a script, a test.

>>> from scenarios import api
>>> small = {"train": 1200, "test": 500, "validation": 200, "clients": 4, "cohort": 2, "partition.alpha": 1.0}
>>> started = api.start("noniid", rounds=2, seed=3, set=small, baselines="none")
>>> [record.round for record in started]  # each as it ends
[1, 2]
>>> run = started.result()
>>> len(run.curves()["accuracy"]) == len(run.report.history) == 2
True
>>> run.predict(np.zeros((1, 28, 28), np.uint8)).shape  # probabilities
(1, 10)
>>> api.Run.load(run.folder).report == run.report
True

A run is a process of its own, `python -m scenarios.run`: it leaves this one as it is, can be started in any thread, and to the
same bits as on the command line. What is wrong with the arguments is said before it starts, as a ValueError.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from core import plugins, predict
from core.config.overrides import text
from core.config.parse import unknown
from core.config.scenario import Scenario
from core.predict import Predictor
from scenarios import request
from scenarios.compare import comparable, finished
from scenarios.experiment.options import CHOICES, UNCHANGED, RunOptions, backend
from server import record, run_folder
from server.record import Report, RoundRecord
from server.report.figures import results
from server.report.figures.groups import grouped
from server.report.figures.results import Row

__all__ = ["Failed", "Row", "Run", "Started", "compare", "run", "start"]

CODE = Path(__file__).parents[1]
LOOK = 0.1  # seconds between looks at a run's folder
ENDS = 120.0  # seconds that a run has to keep its last round
OPTIONS = ("workers", "backend", "baselines", "export", "track", "plugins", "source")


class Failed(RuntimeError):
    """A run that did not get to its end; what it said last is the message, its folder in `folder`."""

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message)
        self.folder = folder


@dataclass(frozen=True)
class Run:
    """A finished run's folder."""

    folder: Path

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        """The run in this folder. Raises ValueError if it is not there, not finished, or cannot be read."""
        found = cls(Path(folder))
        _ = found.report
        return found

    @cached_property
    def report(self) -> Report:
        """All facts of it. Accuracies are shares, 0 … 1."""
        return finished(self.folder)

    @property
    def scenario(self) -> Scenario:
        """What was run."""
        return self.report.settings

    def curves(self) -> dict[str, list[float | None]]:
        """Columns of equal length, a row a round, as `pandas.DataFrame` takes them; None where nothing was measured.

        round, examples (gradient examples so far), rate, accuracy and loss on the test images, train_loss, validation_loss,
        validation_accuracy, seconds; for each baseline its accuracy after that round; in a stream, a column a task.
        """
        history = self.report.history
        columns: dict[str, list[float | None]] = {
            "round": [row.round for row in history],
            "examples": [row.seen for row in history],
            "seconds": [row.seconds.train + row.seconds.evaluate for row in history],
        }
        for name in ("rate", "accuracy", "loss", "train_loss", "validation_loss", "validation_accuracy"):
            columns[name] = [getattr(row, name) for row in history]
        for kind, curve in self.report.curves.items():
            by_round = {point.round: point.accuracy for point in curve}
            columns[kind] = [by_round.get(row.round) for row in history]
        if staged := self.report.continual:
            for i, task in enumerate(staged.tasks):
                columns[task] = [row.tasks_accuracy[i] if row.tasks_accuracy else None for row in history]
        return columns

    @property
    def figures(self) -> dict[str, Path]:
        """The pictures that it left, by name."""
        return {file.stem: file for file in sorted(self.folder.glob("*.png"))}

    @cached_property
    def model(self) -> Predictor:
        """Its current version as a function: images f32 [n, 28, 28, 1] in 0 … 1 → probabilities f32 [n, classes].

        Raises ValueError if its files were not made (`export="none"`, or no version passed the gate).
        """
        file = self.folder / "model.tflite"
        if not file.exists():
            raise ValueError(
                f"{self.folder} has no model.tflite; make it with: python -m scenarios.export {shlex.quote(str(self.folder))}"
            )
        return predict.load(file)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, f32 [n, classes], of images uint8 [n, 28, 28]: 0 = paper, 255 = ink, as MNIST's are."""
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 3:
            raise ValueError(f"images should be uint8 [n, rows, columns], not {images.dtype} {list(images.shape)}")
        return self.model(predict.floats(images))


class Started:
    """A run under way, for as long as this is kept: iterating gives each round's record as it ends.

    Ctrl-C while one iterates or waits stops the run, and so does the end of Python; it keeps its last finished round.
    """

    def __init__(self, scenario: Scenario, folder: Path, words: Sequence[str]) -> None:
        """words: of the command line."""
        self.scenario, self.folder = scenario, folder
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        path = os.pathsep.join([str(CODE), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scenarios.run", *words], start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self._stderr, env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
        self._end = weakref.finalize(self, _ended, self._process)

    def __iter__(self) -> Iterator[RoundRecord]:
        """Each round's record, from the first; ends with the rounds. Raises Failed if the run fails."""
        yielded = 0
        while yielded < self.scenario.rounds:
            over = self._process.poll() is not None
            for row in self._interruptible(lambda yielded=yielded: record.load_rounds(self.folder, yielded)):
                yielded += 1
                yield row
            if over:
                break
            self._interruptible(lambda: time.sleep(LOOK))
        if self._process.poll() not in (None, 0, UNCHANGED):
            self._failed()

    def result(self) -> Run:
        """The finished run; waits for it. Raises Failed, with what it said last, if there is none."""
        if self._interruptible(self._process.wait) not in (0, UNCHANGED):
            self._failed()
        return Run(self.folder)

    def stop(self) -> None:
        """Ask it to end after the last finished round; `python -m scenarios.run --resume FOLDER` goes on with it."""
        self._end()

    def _interruptible(self, step: Any) -> Any:
        try:
            return step()
        except KeyboardInterrupt:
            self.stop()
            raise

    def _failed(self) -> None:
        self._stderr.seek(0)
        message = self._stderr.read().decode(errors="replace").strip()
        raise Failed(message or f"it ended with exit code {self._process.returncode}", self.folder)


def _ended(process: subprocess.Popen[bytes]) -> None:
    """It keeps its last finished round."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(ENDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def start(
    name: str = "noniid", *, rounds: int | None = None, seed: int | None = None, engine: str | None = None,
    set: Mapping[str, Any] | None = None, out: str | Path | None = None, **options: Any,
) -> Started:  # fmt: skip
    """Start a preset with changes, as `--set` takes them: `{"partition.alpha": 0.1, "methods": ["replay", "ewc"]}`.

    rounds, seed, engine: settings, as the command line has options for them. out: the run's folder; a new one below runs/ if
    there is none given. options: workers, backend, baselines, export, track, plugins, source (a finished run to go on from), as
    in RunOptions. Keep what is returned: without it the run is stopped. Raises ValueError, naming the value and the choices.
    """
    for option in options:
        if option in {one.name for one in fields(Scenario)}:
            raise ValueError(f"{option} is a setting: set={{{option!r}: {options[option]!r}}}")
        if option not in OPTIONS:
            raise unknown("option", option, OPTIONS)
    usual: dict[str, Any] = {"workers": os.cpu_count() or 1, "backend": backend()}
    chosen = RunOptions(**usual | {key: _as_held(key, value) for key, value in options.items()})
    if type(chosen.workers) is not int:
        raise ValueError(f"workers = {chosen.workers!r} should be a whole number")
    for option, choices in CHOICES.items():
        if (value := getattr(chosen, option)) not in choices:
            raise unknown(option, value, choices)
    plugins.use(*chosen.plugins)
    settings = dict(set or {}) | {
        key: v for key, v in (("rounds", rounds), ("seed", seed), ("engine", engine)) if v is not None
    }
    source = request.located(Path(chosen.source)) if chosen.source else None
    changes = [(key, text(value)) for key, value in settings.items()]
    scenario = request.wanted(name, changes, source)
    request.possible(scenario, chosen)
    if out and Path(out).exists() and (not Path(out).is_dir() or any(Path(out).iterdir())):
        raise ValueError(f"out = {out} should be a folder that is empty, or not there")
    folder = Path(out) if out else run_folder.new_folder(request.RUNS / f"{scenario.name}-{scenario.seed}")
    # With = between an option and its value, which may begin with a dash.
    words = [name, "--quiet", "--json", f"--out={folder}", f"--workers={chosen.workers}"]
    words += [f"--{option}={getattr(chosen, option)}" for option in CHOICES]
    words += [f"--set={key}={value}" for key, value in changes]
    words += [f"--plugin={plugin}" for plugin in chosen.plugins]
    words += [f"--track={'+'.join(chosen.track)}"] if chosen.track else []
    words += [f"--from={source}"] if source else []
    return Started(scenario, folder.absolute(), words)


def run(name: str = "noniid", **options: Any) -> Run:
    """Run a preset to its end; options as for `start`. Raises ValueError for wrong ones, Failed if it does not get there."""
    return start(name, **options).result()


def compare(runs: Sequence[Run | str | Path]) -> list[Row]:
    """A row for each group of runs that differ only by seed: means and spreads, as `python -m scenarios.compare` prints them.

    Raises ValueError for a run that is not finished, or there twice.
    """
    reports, left_out = comparable([one.folder if isinstance(one, Run) else Path(one) for one in runs])
    if left_out:
        raise ValueError("; ".join(left_out))
    return results.rows(grouped(reports))


def _as_held(option: str, value: Any) -> Any:
    """A list as a tuple, as RunOptions holds it, and so what is one of several: trackers as the command line takes them
    ("mlflow+wandb"), a plugin by its name; anything else as it is."""
    if isinstance(value, str) and option in ("track", "plugins"):
        value = value.split("+") if option == "track" else [value]
    return tuple(value) if isinstance(value, list | tuple) else value
