import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from he import CapacityError, LocalProtocolError, Params, RemoteProtocolError
from he.coding.packing import check_vector, pack, unpack


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 60),
    st.integers(1, 2**20) | st.integers(2**44, 2**56),
    st.sampled_from(["ckks", "bfv"]),
    st.integers(0, 2**32),
    st.data(),
)
def test_packed_sums_unpack_to_sums(n_clients, max_abs, scheme, seed, data):
    params = Params.for_sum(n_clients, max_abs=max_abs, scheme=scheme)
    size = data.draw(st.integers(1, 2 * params.values_per_ciphertext))
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-max_abs, max_abs, (n_clients, size), dtype=np.int64, endpoint=True)
    vectors[:, 0] = max_abs  # the largest sum there is
    packed = sum(pack(vector, params) for vector in vectors)
    opened = unpack(packed, params, contributors=n_clients)
    assert np.array_equal(opened[:size], vectors.sum(axis=0))
    assert not opened[size:].any()


def test_extremes_do_not_carry():
    params = Params.for_sum(100, max_abs=127, scheme="bfv")
    assert params.fields == 3
    high = np.full(params.values_per_ciphertext, 127)
    signs = np.where(np.arange(params.values_per_ciphertext) // params.slots % 2, -1, 1)
    for vector in (high, -high, high * signs):
        opened = unpack(100 * pack(vector, params), params, contributors=100)
        assert np.array_equal(opened, 100 * vector)


@pytest.mark.parametrize(
    ("n_clients", "max_abs", "scheme", "public_key", "layout"),
    [
        (10, 2**19, "ckks", False, (2, 3)),
        (10, 2**15, "ckks", True, (2, 3)),
        (2, 2**30, "bfv", True, (4, 5)),
        (5, 2**29, "ckks", False, (1, 1)),
    ],
)
def test_extremes_in_limbs_that_share_slots_do_not_carry(
    n_clients, max_abs, scheme, public_key, layout
):
    params = Params.for_sum(n_clients, max_abs=max_abs, scheme=scheme, public_key=public_key)
    assert (params.limbs, params.fields) == layout
    size = params.values_per_ciphertext + 7
    signs = np.where(np.arange(size) % 3, -1, 1)
    for vector in (np.full(size, max_abs), np.full(size, -max_abs), max_abs * signs, 1 - signs):
        opened = unpack(n_clients * pack(vector, params), params, contributors=n_clients)
        assert np.array_equal(opened[:size], n_clients * vector)


def test_values_beyond_what_contributors_may_send_are_refused():
    params = Params.for_sum(10, max_abs=100, scheme="bfv")
    packed = pack(np.full(5, 100), params)
    assert unpack(3 * packed, params, contributors=3)[0] == 300
    with pytest.raises(RemoteProtocolError, match="contributors"):
        unpack(3 * packed, params, contributors=2)
    packed[:] = params.slot_bound + 1
    with pytest.raises(RemoteProtocolError, match="beyond"):
        unpack(packed, params, contributors=10)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 60),
    st.integers(2, 62),
    st.sampled_from(["ckks", "bfv"]),
    st.integers(0, 2**32),
)
def test_packed_residues_unpack_to_their_sum_in_the_ring(n_clients, bits, scheme, seed):
    params = Params.for_sum(n_clients, ring_bits=bits, scheme=scheme)
    size = params.values_per_ciphertext + 5
    rng = np.random.default_rng(seed)
    vectors = rng.integers(0, 2**bits, (n_clients, size), dtype=np.int64)
    vectors[:, :3] = [0, 1, 2**bits - 1]
    packed = sum(pack(vector, params) for vector in vectors)
    opened = unpack(packed, params, contributors=n_clients)[:size]
    sums = [sum(column) % 2**bits for column in vectors.T.tolist()]
    assert opened.tolist() == [s - 2**bits if s >= 2 ** (bits - 1) else s for s in sums]


@pytest.mark.parametrize("value", [-1, 2**12])
def test_a_value_that_is_no_residue_is_refused(value):
    with pytest.raises(CapacityError, match=r"modulo 2\^12"):
        check_vector(np.array([0, value]), Params.for_sum(2, ring_bits=12))


@pytest.mark.parametrize(
    "vector",
    [
        [1, 2],
        np.array([1, 2], np.int32),
        np.array([1.0]),
        np.zeros((2, 2), np.int64),
        np.zeros(0, np.int64),
    ],
)
def test_only_int64_vectors_enter(vector):
    with pytest.raises(LocalProtocolError):
        check_vector(vector, Params.for_sum(2, max_abs=5))


@pytest.mark.parametrize("value", [6, -6, 2**63 - 1, -(2**63)])
def test_a_value_beyond_max_abs_is_refused_with_a_remedy(value):
    with pytest.raises(CapacityError, match="max_abs=5"):
        check_vector(np.array([0, value]), Params.for_sum(2, max_abs=5))
