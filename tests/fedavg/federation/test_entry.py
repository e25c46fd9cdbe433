"""Construction of a federation: every secure sum accepts the same ids and data."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from fedavg.data.dataset import Dataset
from fedavg.errors import DataError
from fedavg.federation.entry import enrolled
from fedavg.federation.federation import Federation
from tests.e2e.small import SUMS, clients, examples, plan


@pytest.mark.parametrize("name", ["insecure-plain", "secagg", "bfv"])
def test_ids_that_numpy_counts_are_ids(name):
    """np.unique gives np.int64: the same run for every sum."""
    population = {np.int64(client): data for client, data in clients(6).items()}
    run = Federation(nn.Linear(12, 3), population, plan(SUMS[name]))
    assert [result.survivors for result in run.run(2)] == [6, 6]


def test_a_list_is_numbered_from_zero():
    run = Federation(nn.Linear(12, 3), list(clients(6).values()), plan(SUMS["insecure-plain"]))
    assert [result.survivors for result in run.run(1)] == [6]


DATA = examples(4, 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"h0": DATA}, r"whole numbers, not 'h0' \(str\).*number the clients"),
        ({1.0: DATA}, "whole numbers, not 1.0"),
        ({True: DATA}, "whole numbers, not True"),
        ({-1: DATA}, "lie in 0"),
        ({2**32: DATA}, "4294967295, and 4294967296 does not"),
        ({}, "needs clients"),
        ([], "needs clients"),
        ("clients", "not a str"),
        (DATA, "not a Dataset"),
        ({0: DATA.features}, "client 0: a ndarray is no data set"),
        (
            {0: DATA, 4: Dataset(np.zeros((2, 12)), np.zeros(2), "numbers")},
            "client 4 has labels of kind 'numbers' with 1 columns, but client 0 has labels of kind 'classes'",
        ),
    ],
)
def test_what_is_no_client_is_refused(given, said):
    with pytest.raises(DataError, match=said):
        enrolled(given)
    with pytest.raises(DataError, match=said):
        Federation(nn.Linear(12, 3), given, plan(SUMS["insecure-plain"]))


def test_an_evaluation_set_of_another_kind_is_refused():
    other = Dataset(np.zeros((2, 12)), np.zeros(2), "numbers")
    with pytest.raises(DataError, match="evaluation set has labels of kind 'numbers'"):
        Federation(nn.Linear(12, 3), clients(6), plan(SUMS["insecure-plain"]), evaluate=other)
