"""Placement: the configured clients, and which statistics may scale their tables."""

import numpy as np
import pytest

from fedavg.config.build import load_config
from fedavg.data.placement import place
from fedavg.errors import ConfigError
from fedavg.sums.plain import InsecurePlain


def _data(**options):
    return load_config(None, {f"data.{key}": value for key, value in options.items()}).data


@pytest.mark.parametrize("scheme", ["iid", "shards", "dirichlet", "quantity", "noisy-sort"])
def test_every_partition_gives_all_training_examples(scheme):
    task, clients = place(_data(name="digits", clients=20, partition=scheme), None, seed=0)
    assert sorted(clients) == list(range(20))
    assert sum(len(data) for data in clients.values()) == len(task.train)


def test_natural_clients_and_a_column_of_owners_go_together():
    with pytest.raises(ConfigError, match="go together"):
        place(_data(name="digits", clients=20, partition="natural"), None, seed=0)


def test_a_built_in_table_is_scaled_by_bounds_or_by_its_clients():
    data = _data(name="breast-cancer", clients=10, partition="iid")
    public, _ = place(data, None, seed=0)
    assert np.abs(public.train.features).max() <= 1
    summed, clients = place(data, InsecurePlain(), seed=0)
    inputs = np.concatenate([rows.features for rows in clients.values()])
    np.testing.assert_allclose(inputs.std(0), 1, atol=1e-3)
    assert summed.columns is None


def test_feature_skew_changes_clients_and_not_the_test_set():
    plain, even = place(_data(name="digits", clients=5, partition="iid"), None, seed=0)
    options = {"name": "digits", "clients": 5, "partition": "iid", "feature_skew": "rotation"}
    task, skewed = place(_data(**options), None, seed=0)
    assert (task.test.features == plain.test.features).all()
    assert all((skewed[i].features != even[i].features).any() for i in even)


def test_runs_of_another_seed_are_scored_on_the_same_examples():
    """Another split alone moves accuracy by a per cent; it has a seed of its own."""
    options = {"name": "digits", "clients": 10, "partition": "iid"}
    first, second = (place(_data(**options), None, seed=seed) for seed in (0, 1))
    assert (first[0].test.features == second[0].test.features).all()
    assert any(not np.array_equal(first[1][i].features, second[1][i].features) for i in range(10))
    other = place(_data(split_seed=1, **options), None, seed=0)[0]
    assert (first[0].test.labels != other.test.labels).any()
