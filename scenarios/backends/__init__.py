"""Where clients of a simulation run: each backend gives Flower's server a grid of nodes."""

from __future__ import annotations

from scenarios.backends import local, processes, ray

# Each takes the scenario, how many workers, and what a worker's environment must have; it gives a Backend, and ends it.
BACKENDS = {"processes": processes.opened, "ray": ray.opened, "local": local.opened}
