"""The opened sum equals the plain sum, for every number of clients, width and length."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from he.onetime import Params
from tests.he.onetime.rounds import collected


def vectors_of(n, params, seed):
    rng = np.random.default_rng(seed)
    bound = params.max_abs
    found = {
        3 * i + 1: rng.integers(-bound, bound, params.vector_length, endpoint=True)
        for i in range(n)
    }
    found[1][:] = bound
    found[4][:] = -bound if seed % 2 else bound
    return found


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 12),
    st.integers(2, 32),
    st.one_of(st.integers(1, 300), st.integers(2000, 70_000)),
    st.integers(0, 2**32),
)
def test_sums_are_exact(n, bits, length, seed):
    params = Params(n, 2 ** (bits - 1), length)
    vectors = vectors_of(n, params, seed)
    server, key_sum = collected(params, vectors)
    result = server.open_with_key_sum(key_sum)
    assert result.total.dtype == np.int64
    assert np.array_equal(result.total, sum(vectors.values()))
    assert result.survivors == tuple(sorted(vectors))


@pytest.mark.parametrize(("n", "bits"), [(1500, 16), (1560, 2), (1200, 32)])
def test_sums_of_many_clients_are_exact(n, bits):
    params = Params(n, 2 ** (bits - 1), 40)
    vectors = vectors_of(n, params, n)
    server, key_sum = collected(params, vectors)
    assert np.array_equal(server.open_with_key_sum(key_sum).total, sum(vectors.values()))


@pytest.mark.parametrize("bits", [45, 50, 60])
def test_wide_values_are_exact(bits):
    params = Params(3, 2**bits, 70)
    vectors = vectors_of(3, params, bits)
    server, key_sum = collected(params, vectors)
    assert np.array_equal(server.open_with_key_sum(key_sum).total, sum(vectors.values()))


def test_fewer_clients_than_declared_are_summed():
    params = Params(100, 1000, 5000)
    vectors = vectors_of(3, params, 1)
    server, key_sum = collected(params, vectors)
    assert np.array_equal(server.open_with_key_sum(key_sum).total, sum(vectors.values()))
