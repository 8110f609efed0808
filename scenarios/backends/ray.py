"""Clients side by side in Ray's workers, on this machine or a cluster."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flwr.serverapp import ServerApp

from clients.app import app as client_app
from core.config.scenario import Scenario
from fl import roster

STORE = 200_000_000  # bytes of Ray's object store: a hundred times the weights


def run(server: ServerApp, scenario: Scenario, workers: int, environment: Mapping[str, str]) -> None:
    """Flower's simulation on Ray: `workers` processes of one core each, or whatever a cluster at RAY_ADDRESS has.

    A worker that dies is started again and its message repeated.
    """
    import ray as cluster
    from flwr.simulation import run_simulation

    home = str(Path(__file__).parents[2])
    variables = dict(environment) | {"PYTHONPATH": os.pathsep.join([home, os.environ.get("PYTHONPATH", "")])}
    # "local": never join a cluster that merely happens to run on this machine.
    own: dict[str, Any] = {"address": "local", "num_cpus": workers, "object_store_memory": STORE}
    size = {} if os.environ.get("RAY_ADDRESS") else own
    asked = signal.getsignal(signal.SIGTERM)
    cluster.init(
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": variables},
        **size,
    )
    signal.signal(signal.SIGTERM, asked)  # Ray takes it for itself, and would end the run without a word
    resources: Any = {"num_cpus": 1, "num_gpus": 0.0, "max_restarts": -1, "max_task_retries": 2}
    try:
        run_simulation(
            server_app=server,
            client_app=client_app,
            num_supernodes=roster.nodes(scenario),
            backend_config={"client_resources": resources},
        )
    finally:
        cluster.shutdown()
