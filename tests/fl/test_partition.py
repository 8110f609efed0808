"""Every example goes to exactly one client, everybody gets the minimum, every partition ends, for every partitioner."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.config.part import Part
from fl.partition import DEALT, PARTITIONERS, hsu, noisy, partition, topped_up

# What each partitioner can be asked for, the extremes too.
SETTINGS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "iid": {},
    "dirichlet": {"alpha": st.one_of(st.sampled_from([1e-300, 1e-9, 1e-3, 1e5]), st.floats(0.01, 10))},
    "hsu": {"alpha": st.one_of(st.sampled_from([1e-300, 1e-9, 1e-3, 1e5]), st.floats(0.01, 100))},
    "shards": {"per_client": st.integers(1, 4)},
    "labels": {"k": st.integers(1, 10)},
    "quantity": {"power": st.floats(0, 10)},
    "powerlaw": {"k": st.integers(1, 10), "sigma": st.floats(0, 10)},
}
NEVER_REFUSED = ("iid", "dirichlet", "hsu", "quantity")  # the others cannot promise everybody a minimum


def drawn(classes: int, n: int, seed: int) -> np.ndarray:
    """Labels, unevenly many of each."""
    generator = np.random.default_rng(seed)
    return generator.choice(classes, n, p=generator.dirichlet(np.full(classes, 2.0)))


LABELS = st.builds(drawn, st.integers(1, 10), st.integers(1, 600), st.integers(0, 99))


def even(n: int) -> np.ndarray:
    """n labels of each of ten classes, mixed."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(10), n))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([np.arange(20)], "made 1 parts for 3 clients"),
        ([np.arange(20)] * 3, "does not deal each of 60 examples to one client"),
    ],
)
def test_a_partition_from_outside_that_does_not_keep_its_promise_is_refused(
    rows: list[np.ndarray], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEALT, "mine", lambda labels, clients, rng, minimum: rows)
    monkeypatch.setitem(PARTITIONERS, "mine", DEALT["mine"])
    with pytest.raises(ValueError, match=words):
        partition(Part("mine"), even(6), 3, 1, 0)


def test_every_partitioner_is_tried_here() -> None:
    assert set(SETTINGS) == set(DEALT)


@pytest.mark.parametrize("name", DEALT)
@given(st.data())
def test_a_partition_is_disjoint_complete_repeatable_and_gives_the_minimum(name: str, data: st.DataObject) -> None:
    labels, seed = data.draw(LABELS), data.draw(st.integers(0, 999))
    clients = data.draw(st.integers(1, min(60, len(labels))))
    minimum = data.draw(st.one_of(st.just(1), st.integers(1, len(labels) // clients)))
    part = Part(name, {key: data.draw(values) for key, values in SETTINGS[name].items()})
    try:
        parts = partition(part, labels, clients, minimum, seed)
    except ValueError:
        assert name not in NEVER_REFUSED
        assume(False)
    assert len(parts) == clients and min(map(len, parts)) >= minimum
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    assert all(np.array_equal(rows, np.sort(rows)) for rows in parts)
    again = partition(part, labels, clients, minimum, seed)
    assert [rows.tobytes() for rows in parts] == [rows.tobytes() for rows in again]


@pytest.mark.parametrize("name", DEALT)
def test_another_seed_deals_otherwise(name: str) -> None:
    one, other = (partition(Part(name), even(40), 10, 1, seed) for seed in (0, 1))
    assert any(a.tolist() != b.tolist() for a, b in zip(one, other, strict=True))


@given(LABELS, st.integers(1, 10), st.integers(1, 60), st.integers(1, 10**6), st.integers(0, 99))
def test_samples_are_of_k_labels_each_row_once_and_the_same_whenever_they_are_asked_for(
    labels: np.ndarray, k: int, images: int, clients: int, seed: int
) -> None:
    part = Part("sample", {"k": k, "images": images})
    most = sum(sorted(np.bincount(labels)[np.unique(labels)])[:k]) if k <= len(np.unique(labels)) else 0
    if images > most:
        with pytest.raises(ValueError, match=r"(k|images) = .* of sample should be"):
            partition(part, labels, clients, 1, seed)
        return
    one, other = partition(part, labels, clients, 1, seed), partition(part, labels, clients, 1, seed)
    assert len(one) == clients
    for client in {clients - 1, clients // 2, 0}:
        rows = one[client]
        assert len(set(rows.tolist())) == images and len(np.unique(labels[rows])) <= k
        assert rows.tolist() == sorted(rows.tolist()) == other[client].tolist()
    with pytest.raises(IndexError):
        one[clients]


def test_samples_of_different_clients_and_seeds_differ() -> None:
    one, other = (partition(Part("sample"), even(400), 100_000, 1, seed) for seed in (0, 1))
    assert len({one[client].tobytes() for client in range(0, 100_000, 1000)}) == 100
    assert one[7].tolist() != other[7].tolist()


@given(LABELS, st.integers(1, 20), st.integers(1, 4), st.integers(0, 3), st.integers(0, 99))
def test_each_deal_gives_everybody_as_many_and_no_row_twice(
    labels: np.ndarray, clients: int, times: int, per_client: int, seed: int
) -> None:
    part = Part("redealt", {"times": times, "per_client": per_client})
    if len(labels) // (clients * max(1, per_client)) < 1:
        with pytest.raises(ValueError, match="of redealt should be at least 1 and 0, and leave"):
            partition(part, labels, clients, 1, seed)
        return
    parts = partition(part, labels, clients, 1, seed)
    assert len(parts) == clients and len({len(rows) for rows in parts}) == 1
    for deal in zip(*(np.split(rows, times) for rows in parts), strict=True):
        rows = np.concatenate(deal)
        assert len(set(rows.tolist())) == len(rows) > len(labels) - clients * max(1, per_client)
        assert all(np.array_equal(one, np.sort(one)) for one in deal)


def test_a_deal_is_of_few_labels_and_the_next_of_others() -> None:
    labels = even(500)
    parts = partition(Part("redealt", {"times": 3}), labels, 25, 1, 0)
    dealt_labels = [[set(labels[deal].tolist()) for deal in np.split(rows, 3)] for rows in parts]
    assert all(len(one) <= 2 for deals in dealt_labels for one in deals)  # 50 shards of 100: no shard has two labels
    assert sum(deals[0] != deals[1] for deals in dealt_labels) > 12
    mixed = partition(Part("redealt", {"times": 3, "per_client": 0}), labels, 25, 1, 0)
    assert all(len(np.unique(labels[deal])) == 10 for rows in mixed for deal in np.split(rows, 3))


@pytest.mark.parametrize("name", DEALT)
def test_more_clients_than_examples_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="101 clients × at least 1 examples is more than the 100 there are"):
        partition(Part(name), even(10), 101, 1, 0)


@given(st.integers(1, 50), st.integers(0, 99))
def test_iid_parts_differ_by_at_most_one(clients: int, seed: int) -> None:
    sizes = [len(rows) for rows in partition(Part("iid"), even(20), clients, 1, seed)]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 10), st.integers(1, 40), st.integers(0, 99))
def test_labels_gives_each_client_exactly_k(k: int, clients: int, seed: int) -> None:
    assume(clients * k >= 10)
    labels = even(50)
    parts = partition(Part("labels", {"k": k}), labels, clients, 1, seed)
    assert {len(np.unique(labels[rows])) for rows in parts} == {k}


def test_labels_shares_a_label_equally_among_its_holders() -> None:
    labels = even(50)
    parts = partition(Part("labels", {"k": 3}), labels, 7, 1, 0)
    for label in range(10):
        counts = [n for rows in parts if (n := int((labels[rows] == label).sum()))]
        assert sum(counts) == 50 and max(counts) - min(counts) <= 1


@given(st.sampled_from([(1, 10), (1, 20), (2, 5), (2, 10), (2, 25), (3, 10), (5, 4), (5, 20)]), st.integers(0, 99))
def test_shards_that_fit_the_classes_hold_one_label_each(deal: tuple[int, int], seed: int) -> None:
    labels, (per_client, clients) = even(120), deal
    parts = partition(Part("shards", {"per_client": per_client}), labels, clients, 1, seed)
    assert max(len(np.unique(labels[rows])) for rows in parts) <= per_client


@given(LABELS, st.integers(1, 4), st.integers(1, 20), st.integers(0, 99))
def test_shards_lie_across_no_more_borders_than_there_are(
    labels: np.ndarray, per_client: int, clients: int, seed: int
) -> None:
    assume(clients * per_client <= len(labels))
    parts = partition(Part("shards", {"per_client": per_client}), labels, clients, 1, seed)
    distinct = sum(len(np.unique(labels[rows])) for rows in parts)
    assert distinct <= clients * per_client + len(np.unique(labels)) - 1


def test_a_small_alpha_is_skewed_and_a_large_one_is_nearly_iid() -> None:
    labels = even(400)

    def largest_share(alpha: float) -> float:
        parts = partition(Part("dirichlet", {"alpha": alpha}), labels, 10, 1, 0)
        return float(np.mean([np.bincount(labels[rows], minlength=10).max() / len(rows) for rows in parts]))

    assert largest_share(0.05) > 0.5 > 0.15 > largest_share(1e4)


@given(LABELS, st.floats(0.01, 100), st.integers(1, 60), st.integers(0, 99))
def test_hsu_gives_equal_sizes(labels: np.ndarray, alpha: float, clients: int, seed: int) -> None:
    assume(clients <= len(labels))
    sizes = [len(rows) for rows in partition(Part("hsu", {"alpha": alpha}), labels, clients, 1, seed)]
    assert max(sizes) - min(sizes) <= 1


class Unmixed(np.random.Generator):
    """Leaves everything in its order: the first client draws first."""

    def permutation(self, x: Any, axis: int = 0) -> Any:
        return np.arange(x) if isinstance(x, int) else x


def test_a_mix_of_hsu_is_dirichlet_with_alpha_times_the_mix_of_all() -> None:
    """Before anything has run out: a share's mean is p, its variance p·(1 - p) / (alpha + 1)."""
    labels, p, alpha = np.repeat(np.arange(3), [4000, 4000, 12_000]), np.array([0.2, 0.2, 0.6]), 3.0
    first = [hsu(labels, 20, Unmixed(np.random.PCG64(seed)), 1, alpha=alpha)[0] for seed in range(300)]
    shares = np.array([np.bincount(labels[rows], minlength=3) / 1000 for rows in first])
    assert shares.mean(0) == pytest.approx(p, abs=0.04)
    assert shares.var(0) == pytest.approx(p * (1 - p) / (alpha + 1), rel=0.25)


def test_a_small_alpha_of_hsu_is_one_class_a_client_and_a_large_one_the_mix_of_all() -> None:
    labels = even(400)

    def shares(alpha: float) -> np.ndarray:
        parts = partition(Part("hsu", {"alpha": alpha}), labels, 10, 1, 0)
        return np.array([np.bincount(labels[rows], minlength=10).max() / len(rows) for rows in parts])

    assert shares(1e-6).min() == 1 and np.median(shares(1e5)) < 0.15


def test_powerlaw_is_of_two_labels_in_a_row_and_of_sizes_like_a_power_law() -> None:
    labels = even(5000)
    parts = partition(Part("powerlaw"), labels, 1000, 10, 0)
    for client, rows in enumerate(parts):
        assert set(labels[rows]) == {client % 10, (client + 1) % 10}
        assert min(np.bincount(labels[rows])[np.unique(labels[rows])]) >= 5
    sizes = np.sort([len(rows) - 10 for rows in parts])
    assert sizes[-100:].sum() > 0.5 * sizes.sum() and np.median(sizes) < 0.5 * sizes.mean()
    logs = np.log(np.maximum(sizes, 1))
    assert 1 < logs.std() < 2  # a sum of two lognormals is narrower than one


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_quantity_falls_like_its_power(power: float) -> None:
    parts = partition(Part("quantity", {"power": power}), even(1000), 8, 1, 0)
    sizes = np.array(sorted((len(rows) for rows in parts), reverse=True))
    law = np.arange(1, 9) ** -power
    assert sizes == pytest.approx(9992 * law / law.sum() + 1, abs=1)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30), st.integers(0, 99), st.data())
def test_topping_up_moves_only_what_is_needed(sizes: list[int], seed: int, data: st.DataObject) -> None:
    minimum = data.draw(st.integers(0, sum(sizes) // len(sizes)))
    before = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    after = topped_up(before, minimum, np.random.default_rng(seed))
    assert sorted(np.concatenate(after).tolist()) == list(range(sum(sizes)))
    for mine, now in zip(before, after, strict=True):
        assert len(now) >= minimum
        assert len(mine) > minimum or set(mine.tolist()) <= set(now.tolist())  # who has little gives nothing
    moved = sum(len(set(now.tolist()) - set(mine.tolist())) for mine, now in zip(before, after, strict=True))
    assert moved == sum(max(0, minimum - size) for size in sizes)


@pytest.mark.parametrize(
    "part, clients, words",
    [
        (Part("dirichlet", {"alpha": 0.0}), 5, "alpha = 0.0"),
        (Part("dirichlet", {"alpha": -1.0}), 5, "alpha = -1.0"),
        (Part("hsu", {"alpha": 0.0}), 5, "alpha = 0.0 of hsu"),
        (Part("powerlaw", {"k": 11}), 5, "k = 11 of powerlaw should be 1 … 10"),
        (Part("powerlaw", {"sigma": -1.0}), 5, "sigma = -1.0 of powerlaw"),
        (Part("powerlaw", {"k": 2}), 5, "5 clients with k = 2 labels in a row cannot hold all 10 labels"),
        (Part("shards", {"per_client": 0}), 5, "per_client = 0"),
        (Part("shards", {"per_client": 41}), 5, "per_client = 41 of shards should be 1 … 40"),
        (Part("labels", {"k": 0}), 5, "k = 0"),
        (Part("labels", {"k": 11}), 5, "k = 11 of labels should be 1 … 10"),
        (Part("labels", {"k": 1}), 5, "5 clients with k = 1 labels each cannot hold all 10 labels"),
        (Part("quantity", {"power": -0.1}), 5, "power = -0.1"),
        (Part("labels", {"k": 1}), 15, "gives a client only 10 examples; minimum = 13"),
    ],
)
def test_an_impossible_partition_is_refused_with_its_value(part: Part, clients: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        partition(part, even(20), clients, 13, 0)


@given(LABELS, st.floats(0, 1), st.integers(0, 99))
def test_noise_makes_exactly_its_share_of_labels_wrong(labels: np.ndarray, share: float, seed: int) -> None:
    before = labels.copy()
    after = noisy(labels, share, np.random.default_rng(seed), range(10))
    assert int((after != labels).sum()) == round(share * len(labels))
    assert after.min() >= 0 and after.max() <= 9 and after.dtype == labels.dtype
    assert np.array_equal(labels, before)


def test_wrong_labels_are_uniform() -> None:
    counts = np.bincount(noisy(np.full(9000, 4), 1.0, np.random.default_rng(0), range(10)), minlength=10)
    assert counts[4] == 0 and np.abs(np.delete(counts, 4) - 1000).max() < 150  # 5 standard deviations


def test_wrong_labels_are_of_those_that_clients_are_taught() -> None:
    found = noisy(np.repeat([2, 7, 9], 3000), 1.0, np.random.default_rng(0), (7, 2, 9)).reshape(3, 3000)
    counts = np.stack([np.bincount(row, minlength=10) for row in found])
    assert counts.sum(0)[[2, 7, 9]].sum() == 9000 and counts[range(3), [2, 7, 9]].sum() == 0
    assert counts[counts > 0].min() > 1350
