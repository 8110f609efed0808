"""Weights & Biases: a project a scenario, a run a run; offline, in RUN/wandb, unless WANDB_MODE says otherwise.

`wandb sync RUN/wandb/offline-run-*` sends it later.
"""

from __future__ import annotations

import os
import uuid
from typing import Any

from scenarios.trackers.base import Ending, Known, Opening, Tracker, Values

MODE, PROJECT, CACHE = "WANDB_MODE", "WANDB_PROJECT", "WANDB_DATA_DIR"


def opened(run: Opening) -> Tracker:
    """A run of wandb, a new one or that of an earlier process. Raises what wandb does, if it cannot be reached."""
    home = run.folder.absolute()
    os.environ.setdefault(CACHE, str(home / "wandb"))  # where artifacts wait to be sent; usually the user's home
    import wandb

    known = Known(uuid.uuid4().hex[:8]) if not run.known.id else run.known
    wandb_run = wandb.init(
        project=os.environ.get(PROJECT) or run.scenario, name=home.name, id=known.id, resume="allow", dir=str(home),
        mode=os.environ.get(MODE, "offline"), config=dict(run.settings), settings=wandb.Settings(console="off"),
    )  # fmt: skip
    wandb_run.define_metric("round")
    # Baselines come after the last round, and wandb's own step only grows.
    wandb_run.define_metric("*", step_metric="round")
    return Wandb(wandb_run, known)


class Wandb:
    """One run of wandb."""

    def __init__(self, run: Any, known: Known) -> None:
        self._run, self.known = run, known

    def log(self, round: int, values: Values) -> None:
        """Handed to wandb's own process, which keeps it on the disk.

        The round is wandb's step too: offline, a resumed run would count its steps from 0 again.
        """
        # Else the last round waits for what comes next
        self._run.log({**values, "round": round}, step=round, commit=True)

    def finish(self, ending: Ending) -> None:
        """A baseline's metrics are named after it; the model is an artifact."""
        import wandb

        for kind, rounds in ending.curves.items():
            for number, values in rounds.items():
                self._run.log({f"{kind}/{name}": value for name, value in values.items()} | {"round": number})
        self._run.summary.update(dict(ending.values))
        if ending.figures:
            self._run.log({f"figures/{path.stem}": wandb.Image(str(path)) for path in ending.figures})
        if ending.models:
            model = wandb.Artifact(f"{self._run.id}-model", type="model")
            for path in ending.models:
                model.add_file(str(path))
            self._run.log_artifact(model)

    def close(self, finished: bool) -> None:
        """Waits for what is not sent yet, if it is sent at all."""
        self._run.finish(exit_code=0 if finished else 1)
