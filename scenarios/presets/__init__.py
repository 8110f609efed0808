"""Every preset by its name, with its one-line meaning."""

from __future__ import annotations

from scenarios.presets import continual, devices, standard

# What a preset's runs are compared with, if nobody says; others: with pooled data only.
BASELINES = {"noniid": "all"}

SCENARIOS = {
    "iid": (standard.IID, "Every client holds a fair sample: the easy case, and the ceiling for the others"),
    "noniid": (
        standard.NONIID,
        "10 clients, Dirichlet 0.1, each with its own looks and augmentations: where plain FedAvg suffers, and what helps",
    ),
    "mild": (
        standard.MILD,
        "20 clients, Dirichlet 0.3, looks and augmentations as in noniid, all images: skew that costs next to nothing",
    ),
    "quick": (
        standard.QUICK,
        "mild, small: 6,000 images on 10 clients, 6 rounds; a first look in under a minute",
    ),
    "pathological": (
        standard.PATHOLOGICAL,
        "100 clients with two label shards each, 10 a round (McMahan et al. 2017, arXiv:1602.05629)",
    ),
    "crowd": (
        standard.CROWD,
        "100,000 clients of 60 images with two labels each, 100 a round: what a federation of phones is like",
    ),
    "centralized": (
        standard.CENTRALIZED,
        "One client with all data, 20 epochs: what the model can do when nothing is in its way",
    ),
    "class_incremental": (
        continual.CLASS_INCREMENTAL,
        "New digits, two at a time, with a replay memory (Federated Split-MNIST)",
    ),
    "domain_incremental": (
        continual.DOMAIN_INCREMENTAL,
        "The same digits turned, blurred, noisy, pale, inverted, stage by stage",
    ),
    "arrivals": (continual.ARRIVALS, "More of the same data arrives in five portions"),
    "asynchronous": (
        continual.ASYNCHRONOUS,
        "class_incremental with an order of its own for each client, and late starts",
    ),
    "newcomers": (continual.NEWCOMERS, "Clients join with digits that nobody had, and others leave"),
    "permuted": (continual.PERMUTED, "Ten tasks, each with all pixels in a new order (permuted MNIST)"),
    "seasonal": (continual.SEASONAL, "Seasons, each with its own digits, that come back every year"),
    "pi": (devices.PI, "A small federation for real devices: four clients, five rounds"),
}
