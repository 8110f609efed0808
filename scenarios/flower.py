"""The ServerApp that `flwr run` starts in a SuperLink: the same run as in simulation, its clients on nodes of their own.

What a run may be told (pyproject.toml has the usual values): `scenario`, a preset's name or a scenario's JSON; `set`, changes
as `--set` takes them, with blanks between; `out`, the run's folder; `nodes`, which node may play which client.
"""

from __future__ import annotations

import logging
import shlex
from contextlib import suppress
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from core.config.scenario import Scenario
from core.data import settled
from fl.channel import Stopped
from fl.roster import AnyNode
from scenarios.check import check
from scenarios.overrides import changed, parsed
from scenarios.request import RUNS, check_name, wanted
from server import run_folder
from server.fleet import Fleet
from server.record import RoundRecord, write
from server.run import run

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Play the run that its configuration asks for, from its folder's newest checkpoint if it has one.

    With `nodes`, as a driver sends it (scenarios.deploy), nodes play the clients that they were admitted for; without (`flwr
    run .`) whomever they are asked to. Raises ValueError for a folder of another scenario.
    """
    config = {key: str(context.run_config.get(key, "")) for key in ("scenario", "set", "out", "nodes")}
    scenario = requested(config["scenario"], config["set"])
    folder = Path(config["out"]) if config["out"] else run_folder.new_folder(RUNS / f"{scenario.name}-{scenario.seed}")
    if not (folder / run_folder.SCENARIO).exists():
        check(scenario)
        write(folder / run_folder.SCENARIO, scenario.page())
        logging.getLogger("flwr").info("the run's folder: %s", folder.absolute())
    elif Scenario.read(folder / run_folder.SCENARIO) != scenario:
        raise ValueError(f"out = {folder} is another scenario's; name another folder, or none")
    watch = StopFile(folder)
    fleet = Fleet(folder, watch.stopped, admitted=Path(config["nodes"]) if config["nodes"] else None)
    with suppress(Stopped):
        run(grid, scenario, folder, watch, fleet if config["nodes"] else AnyNode(fleet.run))


def requested(scenario: str, changes: str) -> Scenario:
    """The scenario of a run's configuration. Raises ValueError, naming the value and the choices."""
    pairs = [parsed(word) for word in shlex.split(changes)]
    if scenario.lstrip().startswith("{"):
        described = settled(changed(Scenario.of(scenario), pairs))
        check_name(described.name)
        return described
    return wanted(scenario, pairs)


class StopFile:
    """Stops the run when its folder holds a file named `stop`; whoever looks on reads rounds.jsonl."""

    def __init__(self, folder: Path) -> None:
        self.stop = folder / run_folder.STOP

    def stopped(self) -> bool:
        """Has somebody asked to stop?"""
        return self.stop.exists()

    def replied(self, round: int, done: int, of: int) -> None:
        """Nobody counts single replies."""

    def ended(self, record: RoundRecord) -> None:
        """The checkpoint and rounds.jsonl have it already."""
