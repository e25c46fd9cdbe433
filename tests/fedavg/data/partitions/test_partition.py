"""Partitions: disjoint, covering, reproducible, and as skewed as they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.data.partitions import partition
from fedavg.errors import DataError

SCHEMES = {
    "iid": partition.iid,
    "shards": partition.shards,
    "dirichlet": lambda labels, clients, seed: partition.dirichlet(
        labels, clients, alpha=0.3, seed=seed
    ),
    "sparse": lambda labels, clients, seed: partition.dirichlet(
        labels, clients, alpha=1e-4, seed=seed
    ),
    "noisy_sort": partition.noisy_sort,
    "quantity": lambda labels, clients, seed: partition.quantity(
        labels, clients, alpha=0.2, seed=seed
    ),
}


def _classes_per_client(labels, pieces):
    return np.mean([len(np.unique(labels[piece])) for piece in pieces])


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_every_example_goes_to_exactly_one_client(scheme, data):
    count = data.draw(st.integers(1, 120))
    clients = data.draw(st.integers(1, count))
    labels = np.array(data.draw(st.lists(st.integers(0, 4), min_size=count, max_size=count)))
    try:
        pieces = scheme(labels, clients, seed=data.draw(st.integers(0, 9)))
    except DataError:
        assert scheme is partition.shards
        assert 2 * clients > count
        return
    assert len(pieces) == clients
    assert min(len(piece) for piece in pieces) >= 1
    assert all(piece.dtype == np.int64 for piece in pieces)
    assert sorted(np.concatenate(pieces).tolist()) == list(range(count))


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_a_partition_is_a_function_of_its_seed(scheme):
    labels = np.arange(200) % 5
    one, same, other = (scheme(labels, 10, seed=seed) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(one, same, strict=True))
    assert any(a.tolist() != b.tolist() for a, b in zip(one, other, strict=True))


def test_shards_hold_at_most_two_classes():
    labels = np.repeat(np.arange(10), 100)
    pieces = partition.shards(labels, 50, seed=0)
    assert max(len(np.unique(labels[piece])) for piece in pieces) == 2


def test_dirichlet_goes_from_one_class_to_even():
    labels = np.repeat(np.arange(10), 200)
    sparse = partition.dirichlet(labels, 20, alpha=0.01, seed=0)
    even = partition.dirichlet(labels, 20, alpha=1e4, seed=0)
    assert _classes_per_client(labels, sparse) < 4
    counts = np.array([np.bincount(labels[piece], minlength=10) for piece in even])
    assert counts.min() >= 8
    assert counts.max() <= 12


def test_noisy_sort_goes_from_one_class_to_even_in_equal_pieces():
    labels = np.repeat(np.arange(10), 400)
    sorted_, skewed, even = (
        partition.noisy_sort(labels, 1000, spread=spread, seed=0) for spread in (0, 2, 1e6)
    )
    assert _classes_per_client(labels, sorted_) == 1
    assert 1 < _classes_per_client(labels, skewed) < _classes_per_client(labels, even)
    assert {len(piece) for piece in skewed} == {4}


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_too_many_clients_are_refused_with_the_possible_number(scheme):
    with pytest.raises(DataError, match=r"at most [13] clients"):
        scheme(np.zeros(3, int), 4, seed=0)
    with pytest.raises(DataError, match="clients must be at least 1"):
        scheme(np.zeros(3, int), 0, seed=0)
    with pytest.raises(DataError, match="vector"):
        scheme(np.zeros((3, 1), int), 1, seed=0)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_dirichlet_and_quantity_need_a_concentration(alpha):
    for scheme in (partition.dirichlet, partition.quantity):
        with pytest.raises(DataError, match="alpha"):
            scheme(np.zeros(3, int), 2, alpha=alpha, seed=0)


@pytest.mark.parametrize("spread", [-1.0, float("nan"), float("inf")])
def test_noisy_sort_needs_a_spread(spread):
    with pytest.raises(DataError, match="spread"):
        partition.noisy_sort(np.zeros(3, int), 2, spread=spread, seed=0)


def test_quantity_skews_sizes_and_not_labels():
    labels = np.arange(10_000) % 2
    skewed = partition.quantity(labels, 10, alpha=0.3, seed=1)
    sizes = np.array([len(piece) for piece in skewed])
    assert sizes.max() > 10 * np.median(sizes)
    largest = skewed[int(sizes.argmax())]
    assert abs(labels[largest].mean() - 0.5) < 0.05
    even = [len(piece) for piece in partition.quantity(labels, 10, alpha=1e6, seed=1)]
    assert max(even) - min(even) < 20


@settings(deadline=None, max_examples=40)
@given(owners=st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_natural_clients_hold_what_is_theirs(owners):
    owners = np.unique(owners, return_inverse=True)[1]
    pieces = partition.natural(owners)
    assert len(pieces) == owners.max() + 1
    assert all((owners[piece] == client).all() for client, piece in enumerate(pieces))
    assert sorted(np.concatenate(pieces).tolist()) == list(range(len(owners)))


@pytest.mark.parametrize("owners", [[], [[0]], [-1, 0], [0, 2]])
def test_what_names_no_owners(owners):
    with pytest.raises(DataError, match="own"):
        partition.natural(np.array(owners, np.int64))
