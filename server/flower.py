"""The ServerApp that `flwr run` starts in a SuperLink: the same run as in simulation, its clients on nodes of their own."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from core.config.scenario import Scenario
from fl.channel import Stopped
from fl.roster import AnyNode
from server import run_folder
from server.fleet import Fleet
from server.record import RoundRecord, write
from server.run import run

app = ServerApp()
RUNS = Path("runs")


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the scenario of the run's configuration into the folder that it names, from that folder's newest checkpoint.

    No folder (`flwr run .`): a new one below runs/, where the command was given, and nodes play whomever they are asked to.
    """
    scenario, named = Scenario.of(str(context.run_config["scenario"])), str(context.run_config["folder"])
    folder = Path(named) if named else _begun(scenario)
    watch, admitted = StopFile(folder), str(context.run_config.get("nodes", ""))
    fleet = Fleet(folder, watch.stopped, admitted=Path(admitted) if admitted else None)
    with suppress(Stopped):
        run(grid, scenario, folder, watch, fleet if named else AnyNode(fleet.run))


def _begun(scenario: Scenario) -> Path:
    """A new run's folder."""
    folder = run_folder.free(RUNS / f"{scenario.name}-{scenario.seed}")
    write(folder / run_folder.SCENARIO, json.dumps(json.loads(scenario.json()), indent=1) + "\n")
    logging.getLogger("flwr").info("the run's folder: %s", folder.absolute())
    return folder


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
