"""What the fork server loads, beside the engine: the workers' code, and the data that all of them then share."""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from pathlib import Path

from clients.sources.simulated import world
from core.config.scenario import Scenario
from core.processes import let_go_of_files
from scenarios import forkserver
from scenarios.backends import worker

__all__ = ["worker"]

if scenario := os.environ.get(forkserver.SCENARIO):
    with suppress(Exception):  # whatever is wrong with the data, each worker meets it too, and its clients say so
        world(Scenario.of(scenario).json())  # as a client writes it that has read it

if Path("/proc/self/smaps").exists():
    let_go_of_files()

# A full collection writes to every object that it visits, so each worker would soon have its own copy of the pages that all share.
gc.freeze()
