"""What to run: presets, the command line, the Ray seam. SCENARIOS names every preset."""

from __future__ import annotations

from scenarios.centralized import SCENARIO as CENTRALIZED
from scenarios.iid import SCENARIO as IID
from scenarios.noniid import SCENARIO as NONIID
from scenarios.pathological import SCENARIO as PATHOLOGICAL

SCENARIOS = {
    "iid": (IID, "every client holds a fair sample: the easy case, and the ceiling for the others"),
    "noniid": (NONIID, "20 clients, Dirichlet 0.3, each with its own looks and augmentations: the default experience"),
    "pathological": (PATHOLOGICAL, "100 clients with two label shards each, 10 a round (McMahan et al. 2017)"),
    "centralized": (
        CENTRALIZED,
        "one client with all data, 20 epochs: what the model can do when nothing is in its way",
    ),
}
