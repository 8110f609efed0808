"""Where clients of a simulation run: each backend gives Flower's server a grid of nodes."""

from __future__ import annotations

from scenarios.backends import local, ray

# Each takes the server, the scenario, how many workers, and what a worker's environment must have.
BACKENDS = {"ray": ray.run, "local": local.run}
