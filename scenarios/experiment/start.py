"""Begin an experiment: its folder is held and what libraries say goes to its log before any of them is loaded."""

from __future__ import annotations

from pathlib import Path

from core.config.scenario import Scenario
from scenarios import forkserver
from scenarios.experiment.options import Experiment, RunOptions
from scenarios.experiment.workspace import opened
from scenarios.terminal import Terminal
from server import run_folder


def run(scenario: Scenario, folder: Path, options: RunOptions) -> int:
    """Run a scenario in its folder, from its newest checkpoint if there is one. Returns the exit code.

    Raises ValueError, in a sentence, if the folder cannot be used; what another process is running there stays as it is.
    """
    terminal = Terminal(options.quiet)
    terminal.listen()
    with opened(scenario, folder, options.source, options.federation is not None) as environment:
        try:
            if options.backend == "processes" and not options.federation:
                forkserver.started(scenario)  # it loads TensorFlow and the data while this process loads the rest
            from scenarios.experiment import pipeline  # what libraries write past Python goes to the run's log, now
        except Exception as error:  # a library that is there and cannot be loaded
            terminal.broke(error, folder / run_folder.LOG)
            return 1
        return pipeline.run(Experiment(scenario, folder, options, terminal, environment))
