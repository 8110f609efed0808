"""Who holds which examples. Every example goes to exactly one client (but for `sample` and `redealt`); every partition ends.

A partitioner takes labels (int [n]), the number of clients, a generator and the least number of examples a client
must get, and returns one sorted index array a client; those of DEALT hold 0 … n-1 once together.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from core.config.part import Part
from core.seeds import rng as at

Parts = list[np.ndarray]


def iid(labels: np.ndarray, clients: int, rng: np.random.Generator, minimum: int) -> Parts:
    """Equal parts, drawn at random"""
    return [np.sort(part) for part in np.array_split(rng.permutation(len(labels)), clients)]


def dirichlet(
    labels: np.ndarray,
    clients: int,
    rng: np.random.Generator,
    minimum: int,
    *,
    alpha: float = 0.3,  # how even the shares are; above 0, usual 0.05 … 1
) -> Parts:
    """Each class in Dirichlet(alpha) shares over clients, so mix and size differ: small alpha is skewed, large is IID (as
    NIID-Bench, Li et al. 2022, arXiv:2102.02079)

    Clients left with fewer than the minimum are topped up with random examples of whoever then holds most. (NIID-Bench draws
    all anew until everybody has ten, and gives no more of a class to a client that has an even share of all.)
    Raises ValueError if alpha ≤ 0.
    """
    _alpha("dirichlet", alpha)
    parts: list[list[np.ndarray]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        gamma = rng.standard_gamma(alpha, clients)
        # A tiny alpha can underflow all shares to 0: then one client gets the class, which is the limit.
        shares = gamma / gamma.sum() if gamma.sum() > 0 else np.eye(clients)[rng.integers(clients)]
        cuts = np.minimum((np.cumsum(shares)[:-1] * len(rows)).round().astype(int), len(rows))
        for part, piece in zip(parts, np.split(rows, cuts), strict=True):
            part.append(piece)
    return topped_up([np.concatenate(part) for part in parts], minimum, rng)


def hsu(
    labels: np.ndarray,
    clients: int,
    rng: np.random.Generator,
    minimum: int,
    *,
    alpha: float = 1.0,  # how alike the mixes are; above 0, the paper's 0.05 … 100
) -> Parts:
    """Equal sizes, each client's mix of classes drawn from Dirichlet(alpha·p), p being the mix of all: small alpha is skewed, large
    is IID (Hsu et al. 2019, arXiv:1909.06335)

    Clients draw one after another, in random order, and without replacement. A class that has run out is left out of the later
    ones' mixes, so all examples are dealt, and the last clients get what there is. Over ten classes alpha = 1 is as skewed as
    dirichlet's 0.1: p adds up to 1. Raises ValueError if alpha ≤ 0.
    """
    _alpha("hsu", alpha)
    rows = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    remaining = np.array([len(pool) for pool in rows])
    prior = remaining / remaining.sum()
    sizes = [len(part) for part in np.array_split(labels, clients)]
    parts: list[np.ndarray] = [labels] * clients
    for client in rng.permutation(clients):
        mix, drawn = rng.standard_gamma(alpha * prior), np.zeros_like(remaining)
        while (lacking := sizes[client] - drawn.sum()) > 0:
            odds = np.where(drawn < remaining, mix, 0)
            if (
                not odds.sum()
            ):  # all that it wants is gone, or a tiny alpha has underflowed: one class, which is the limit
                odds = rng.multinomial(1, (remaining - drawn) / (remaining - drawn).sum())
            drawn = np.minimum(drawn + rng.multinomial(lacking, odds / odds.sum()), remaining)
        parts[client] = np.sort(
            np.concatenate([pool[n - k : n] for pool, n, k in zip(rows, remaining, drawn, strict=True)])
        )
        remaining = remaining - drawn
    return parts


def _alpha(name: str, alpha: float) -> None:
    if not 0 < alpha < 1e6:
        raise ValueError(f"alpha = {alpha} of {name} should be in (0, 1000000)")


def shards(
    labels: np.ndarray,
    clients: int,
    rng: np.random.Generator,
    minimum: int,
    *,
    per_client: int = 2,  # shards a client, at least 1
) -> Parts:
    """Sort by label, cut into equal shards, deal per_client (2) to each (McMahan et al. 2017, arXiv:1602.05629)"""
    if per_client < 1 or clients * per_client > len(labels):
        raise ValueError(f"per_client = {per_client} of shards should be 1 … {len(labels) // clients}")
    order = rng.permutation(len(labels))
    pieces = np.array_split(order[np.argsort(labels[order], kind="stable")], clients * per_client)
    deal = rng.permutation(len(pieces)).reshape(clients, per_client)
    return [np.sort(np.concatenate([pieces[i] for i in hand])) for hand in deal]


def labels(
    labels: np.ndarray,
    clients: int,
    rng: np.random.Generator,
    minimum: int,
    *,
    k: int = 2,  # labels a client, 1 … as many as there are
) -> Parts:
    """k labels (2) a client, each label shared equally by those who hold it; k = 1 is the hardest skew"""
    classes = np.unique(labels)
    if not 1 <= k <= len(classes):
        raise ValueError(f"k = {k} of labels should be 1 … {len(classes)}")
    if clients * k < len(classes):
        raise ValueError(f"{clients} clients with k = {k} labels each cannot hold all {len(classes)} labels")
    # Dealt round a shuffled circle of classes: every class is held, and no client holds one twice.
    circle, turns = rng.permutation(classes), rng.permutation(clients)
    parts: list[list[np.ndarray]] = [[] for _ in range(clients)]
    for i, label in enumerate(circle):
        holders = [turns[s // k] for s in range(i, clients * k, len(classes))]
        rows = rng.permutation(np.flatnonzero(labels == label))
        for client, piece in zip(holders, np.array_split(rows, len(holders)), strict=True):
            parts[client].append(piece)
    return [np.sort(np.concatenate(part)) for part in parts]


def quantity(
    labels: np.ndarray,
    clients: int,
    rng: np.random.Generator,
    minimum: int,
    *,
    power: float = 1.0,  # how unequal; range [0, 10]
) -> Parts:
    """Same mix, unequal sizes: the i-th largest client gets a share in proportion to i^-power (Zipf); 0 is equal"""
    if not 0 <= power <= 10:
        raise ValueError(f"power = {power} of quantity should be 0 … 10")
    shares = rng.permutation(np.arange(1, clients + 1, dtype=float) ** -power)
    extra = (np.cumsum(shares / shares.sum()) * (len(labels) - minimum * clients)).round().astype(int)
    cuts = extra[:-1] + minimum * np.arange(1, clients)
    return [np.sort(part) for part in np.split(rng.permutation(len(labels)), cuts)]


def powerlaw(
    labels: np.ndarray,
    clients: int,
    rng: np.random.Generator,
    minimum: int,
    *,
    k: int = 2,  # labels a client, 1 … as many as there are
    sigma: float = 2.0,  # how unequal: the standard deviation of the log of what a client gets of a label; range [0, 10]
) -> Parts:
    """k labels (2) a client, sizes by a power law: client i holds labels i, i + 1 … round the circle, of each its part of the
    minimum and a lognormal share of the rest (FedProx's MNIST, Li et al. 2020, arXiv:1812.06127)

    Theirs is of 1,000 clients, and leaves out what is left when shares are rounded down; here every example is dealt.
    """
    rows = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    if not 1 <= k <= len(rows):
        raise ValueError(f"k = {k} of powerlaw should be 1 … {len(rows)}")
    if not 0 <= sigma <= 10:
        raise ValueError(f"sigma = {sigma} of powerlaw should be 0 … 10")
    if clients + k - 1 < len(rows):
        raise ValueError(f"{clients} clients with k = {k} labels in a row cannot hold all {len(rows)} labels")
    parts: list[list[np.ndarray]] = [[] for _ in range(clients)]
    for label, pool in enumerate(rows):
        holders = [client for client in range(clients) if (label - client) % len(rows) < k]
        least = min(-(-minimum // k), len(pool) // len(holders))
        shares = rng.lognormal(0, sigma, len(holders))
        more = (np.cumsum(shares / shares.sum()) * (len(pool) - least * len(holders))).round().astype(int)
        cuts = more[:-1] + least * np.arange(1, len(holders))
        for client, piece in zip(holders, np.split(pool, cuts), strict=True):
            parts[client].append(piece)
    return [np.sort(np.concatenate(part)) for part in parts]


class Samples(Sequence[np.ndarray]):
    """Each client's rows, drawn when they are asked for: a million clients take no more memory than ten."""

    def __init__(self, rows: list[np.ndarray], clients: int, images: int, k: int, seed: int) -> None:
        """rows: those of each label."""
        self.rows, self.clients, self.images, self.k, self.seed = rows, clients, images, k, seed

    def __len__(self) -> int:
        return self.clients

    def __getitem__(self, client: Any) -> Any:
        if not 0 <= client < self.clients:
            raise IndexError(client)
        rng = at(self.seed, client)
        pool = np.concatenate([self.rows[i] for i in rng.choice(len(self.rows), self.k, replace=False)])
        return np.sort(pool[rng.choice(len(pool), self.images, replace=False)])


def sample(
    labels: np.ndarray,
    clients: int,
    rng: np.random.Generator,
    minimum: int,
    *,
    images: int = 60,  # images a client, at least minimum
    k: int = 2,  # labels a client, 1 … as many as there are
) -> Samples:
    """Each client draws images (60) of k labels (2) from all there are: any number of clients, who share examples"""
    rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    if not 1 <= k <= len(rows):
        raise ValueError(f"k = {k} of sample should be 1 … {len(rows)}")
    most = sum(sorted(len(one) for one in rows)[:k])
    if not minimum <= images <= most:
        raise ValueError(
            f"images = {images} of sample should be minimum = {minimum} … {most}, as many as the {k} rarest labels have"
        )
    return Samples(rows, clients, images, k, int(rng.integers(2**63)))


def redealt(
    labels: np.ndarray,
    clients: int,
    rng: np.random.Generator,
    minimum: int,
    *,
    times: int = 10,  # deals, one a stage, at least 1
    per_client: int = 2,  # label shards a client and deal; 0: equal parts, drawn at random
) -> Parts:
    """All examples dealt anew for each stage, times (10) in all: per_client (2) label shards a client, or with 0 equal parts (FOT,
    Bakman et al. 2024, arXiv:2309.01289); for stream = permuted with redealt = true

    A client's rows are those of its first deal, then those of its second, and so on, each sorted and of equal length: what is
    left of the last shard is dealt to nobody, as in the authors' code. An example comes once a deal, to whomever.
    """
    each = len(labels) // (clients * max(1, per_client))
    if times < 1 or per_client < 0 or each * max(1, per_client) < minimum:
        sentence = f"times = {times} and per_client = {per_client} of redealt should be at least 1 and 0"
        raise ValueError(
            f"{sentence}, and leave each of {clients} clients minimum = {minimum} of {len(labels)} examples"
        )
    deals = []
    for _ in range(times):
        order = rng.permutation(len(labels))
        if per_client:
            order = order[np.argsort(labels[order], kind="stable")]
        pieces = order[: each * clients * max(1, per_client)].reshape(-1, each)
        deals.append(np.sort(pieces[rng.permutation(len(pieces))].reshape(clients, -1)))
    return list(np.concatenate(deals, axis=1))


DEALT = {
    "iid": iid, "dirichlet": dirichlet, "hsu": hsu, "shards": shards, "labels": labels, "quantity": quantity,
    "powerlaw": powerlaw,
}  # fmt: skip
PARTITIONERS: dict[str, Callable[..., Sequence[np.ndarray]]] = {**DEALT, "sample": sample, "redealt": redealt}


def topped_up(parts: Parts, minimum: int, rng: np.random.Generator) -> Parts:
    """Move random examples from whoever holds most until all have the minimum. Needs n ≥ minimum · clients."""
    parts = [rng.permutation(part) for part in parts]
    largest = [(-len(part), client) for client, part in enumerate(parts)]
    heapq.heapify(largest)
    for client, part in enumerate(parts):
        while len(parts[client]) < minimum:
            size, donor = heapq.heappop(largest)
            if len(parts[donor]) == -size and donor != client:
                count = min(minimum - len(parts[client]), max(1, (-size - minimum) // 2))
                parts[client] = np.concatenate([parts[client], parts[donor][:count]])
                parts[donor] = parts[donor][count:]
            if donor != client:
                heapq.heappush(largest, (-len(parts[donor]), donor))
        if len(part) < minimum:
            heapq.heappush(largest, (-len(parts[client]), client))
    return [np.sort(part) for part in parts]


def partition(part: Part, labels: np.ndarray, clients: int, minimum: int, seed: int) -> Sequence[np.ndarray]:
    """Build the partition that a scenario names.

    Raises ValueError if there are too few examples, if a client would get fewer than the minimum, or if it does not keep its
    promise, as one from outside may.
    """
    dealt = part.name in DEALT  # the others check the minimum themselves
    if dealt and clients * minimum > len(labels):
        raise ValueError(f"{clients} clients × at least {minimum} examples is more than the {len(labels)} there are")
    parts: Sequence[np.ndarray] = part.build("partition", PARTITIONERS, labels, clients, at(seed, "partition"), minimum)
    if len(parts) != clients:
        raise ValueError(f"partition {part} made {len(parts)} parts for {clients} clients")
    if dealt and not np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels))):
        raise ValueError(
            f"partition {part} is among DEALT, but does not deal each of {len(labels)} examples to one client"
        )
    least = min(len(p) for p in parts) if dealt else minimum
    if least < minimum:
        raise ValueError(f"partition {part} gives a client only {least} examples; minimum = {minimum}")
    return parts


def noisy(labels: np.ndarray, share: float, rng: np.random.Generator, classes: Sequence[int]) -> np.ndarray:
    """Labels of which this share is replaced by a *wrong* one of these classes, two at least, uniformly."""
    kinds, wrong = np.sort(classes), rng.permutation(len(labels))[: round(share * len(labels))]
    labels = labels.copy()
    positions = np.searchsorted(kinds, labels[wrong])
    labels[wrong] = kinds[(positions + rng.integers(1, len(kinds), len(wrong))) % len(kinds)]
    return labels
