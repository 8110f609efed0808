"""MLflow: an experiment a scenario, a run a run.

MLFLOW_TRACKING_URI says where; if it is not set, into RUNS/mlflow.db beside the run's folder, files into RUNS/mlartifacts. (MLflow
takes no folder of plain files any more.)
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from core.disk import hold
from scenarios.trackers.base import Ending, Known, Opening, Tracker, Values

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH = 100  # settings in one request
LONGEST = 6000  # letters of a setting
# A server that is away should not keep a run waiting for many minutes: usual are 7 retries and 120 seconds.
HTTP = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


def opened(run: Opening) -> Tracker:
    """The run in the store, a new one or, if it is there, that of an earlier process. Raises MlflowException."""
    for name, value in HTTP.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        client = MlflowClient(tracking_uri=uri)
        return Mlflow(client, _resumed(client, run.known) or _new(client, run))
    runs = run.folder.absolute().parent
    artifacts = runs / "mlartifacts"
    artifacts.mkdir(exist_ok=True)
    with hold(artifacts, wait=True):  # two runs at once, the first ones, would both make the database's tables
        client = MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}")
        return Mlflow(client, _resumed(client, run.known) or _new(client, run, (artifacts / run.scenario).as_uri()))


def _resumed(client: MlflowClient, known: Known) -> Known | None:
    """What the store has of the run; None if it has none."""
    from mlflow.exceptions import MlflowException

    if not known.id:
        return None
    try:
        client.update_run(known.id, status="RUNNING")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # then it is another store, or was emptied
            raise
        return None
    # A process may have been killed between its round here and the note of it in the run's folder.
    rounds = (metric.step for metric in client.get_metric_history(known.id, "rate"))
    return replace(known, rounds=max(rounds, default=0))


def _new(client: MlflowClient, run: Opening, artifacts: str | None = None) -> Known:
    from mlflow.entities import Param

    experiment, tags = _experiment(client, run.scenario, artifacts), {"folder": str(run.folder.absolute())}
    id = client.create_run(experiment, run_name=run.folder.name, tags=tags).info.run_id
    parameters = [Param(name, str(value)[:LONGEST]) for name, value in run.settings.items()]
    for first in range(0, len(parameters), BATCH):
        client.log_batch(id, params=parameters[first : first + BATCH])
    return Known(id)


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return client.create_experiment(name, artifact_location=artifacts)
    except MlflowException:
        if experiment := client.get_experiment_by_name(name):
            return experiment.experiment_id
        raise


class Mlflow:
    """One run of the store."""

    def __init__(self, client: MlflowClient, known: Known) -> None:
        self._client, self.known = client, known

    def log(self, round: int, values: Values) -> None:
        """Raises MlflowException, as all others, if the store does not take it."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, round) for name, value in values.items()]
        self._client.log_batch(self.known.id, metrics=metrics)

    def finish(self, ending: Ending) -> None:
        """What an earlier ending left stays; a baseline's metrics are named after it."""
        latest = self._client.get_run(self.known.id).data.metrics
        self.log(ending.rounds, {name: value for name, value in ending.values.items() if latest.get(name) != value})
        for kind, rounds in ending.curves.items():
            for number, values in rounds.items():
                self.log(number, {f"{kind}/{name}": value for name, value in values.items()})
        for folder, paths in {"figures": ending.figures, "model": ending.models}.items():
            for path in paths:
                self._client.log_artifact(self.known.id, str(path), folder)

    def close(self, finished: bool) -> None:
        """KILLED means: interrupted, it can be resumed."""
        self._client.set_terminated(self.known.id, "FINISHED" if finished else "KILLED")
