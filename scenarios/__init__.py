"""What to run: presets, the command line, the Ray seam. SCENARIOS names every preset."""

from __future__ import annotations

from scenarios.arrivals import SCENARIO as ARRIVALS
from scenarios.asynchronous import SCENARIO as ASYNCHRONOUS
from scenarios.centralized import SCENARIO as CENTRALIZED
from scenarios.class_incremental import SCENARIO as CLASS_INCREMENTAL
from scenarios.domain_incremental import SCENARIO as DOMAIN_INCREMENTAL
from scenarios.drift import SCENARIO as DRIFT
from scenarios.iid import SCENARIO as IID
from scenarios.newcomers import SCENARIO as NEWCOMERS
from scenarios.noniid import SCENARIO as NONIID
from scenarios.pathological import SCENARIO as PATHOLOGICAL
from scenarios.permuted import SCENARIO as PERMUTED
from scenarios.pi import SCENARIO as PI

SCENARIOS = {
    "iid": (IID, "every client holds a fair sample: the easy case, and the ceiling for the others"),
    "noniid": (NONIID, "20 clients, Dirichlet 0.3, each with its own looks and augmentations: the default experience"),
    "pathological": (PATHOLOGICAL, "100 clients with two label shards each, 10 a round (McMahan et al. 2017)"),
    "centralized": (
        CENTRALIZED,
        "one client with all data, 20 epochs: what the model can do when nothing is in its way",
    ),
    "class_incremental": (CLASS_INCREMENTAL, "new digits, two at a time, with a replay memory (Federated Split-MNIST)"),
    "domain_incremental": (
        DOMAIN_INCREMENTAL,
        "the same digits turned, blurred, noisy, pale, inverted, stage by stage",
    ),
    "arrivals": (ARRIVALS, "more of the same data arrives in five portions"),
    "asynchronous": (ASYNCHRONOUS, "class_incremental with an order of its own for each client, and late starts"),
    "newcomers": (NEWCOMERS, "clients join with digits that nobody had, and others leave"),
    "permuted": (PERMUTED, "ten tasks, each with all pixels in a new order (permuted MNIST)"),
    "pi": (PI, "a small federation for real devices: four clients, five rounds"),
    "drift": (DRIFT, "seasons, each with its own digits, that come back every year"),
}
