"""Exactness: the opened sum is bit-identical to the plain integer sum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import he
from tests.he.support.edge import WIDTHS, last_of_its_layout, worst_case_is_exact
from tests.he.support.rounds import collect, fresh_context, keys, random_vectors, summed, uploads

SCHEMES = ["ckks", "bfv"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("bits", [2, 8, 15, 20, 24, 32])
@pytest.mark.parametrize("n_clients", [2, 7, 50])
def test_sums_are_exact_at_every_width(n_clients, bits, scheme):
    max_abs = 2 ** (bits - 1)
    secret = keys(n_clients, max_abs, scheme)
    length = secret.params.values_per_ciphertext + 3
    vectors = random_vectors(n_clients, length, max_abs, seed=bits)
    vectors[:, : length // 3] = max_abs
    vectors[:, length // 3 : length // 2] = -max_abs
    result = summed(secret, vectors)
    assert result.total.dtype == np.int64
    assert np.array_equal(result.total, vectors.sum(axis=0))
    assert result.survivors == tuple(range(n_clients))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("public_key", [False, True])
@pytest.mark.parametrize("length", [1, 2, 4095, 4096, 4097, 8191, 8193, 20_000])
def test_sums_are_exact_at_awkward_lengths(length, scheme, public_key):
    secret = keys(3, 1000, scheme, public_key=public_key)
    vectors = random_vectors(3, length, 1000, seed=length)
    result = summed(secret, vectors, members=secret.encryptor() if public_key else None)
    assert np.array_equal(result.total, vectors.sum(axis=0))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_whole_slot_multiple_has_no_padding(scheme):
    secret = keys(3, 1000, scheme)
    for extra in (-1, 0, 1):
        length = 2 * secret.params.values_per_ciphertext + extra
        vectors = random_vectors(3, length, 1000)
        assert np.array_equal(summed(secret, vectors).total, vectors.sum(axis=0))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_forty_bit_values_are_exact(scheme):
    vectors = random_vectors(10, 300, 2**40)
    result = summed(keys(10, 2**40, scheme), vectors)
    assert np.array_equal(result.total, vectors.sum(axis=0))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_constant_vectors_at_the_bound_are_exact(scheme):
    """Everything in one coefficient: the largest that an encoding can become."""
    secret = keys(10, 2**40, scheme)
    vectors = np.full((10, 4096), 2**40)
    assert np.array_equal(summed(secret, vectors).total, vectors.sum(axis=0))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_thousand_clients_are_exact(scheme):
    secret = keys(1000, 127, scheme)
    vectors = random_vectors(1000, 50, 127)
    assert np.array_equal(summed(secret, vectors).total, vectors.sum(axis=0))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("n_clients", [10, 1000])
def test_one_ciphertext_n_times_is_exact_at_the_largest_n(n_clients, bits, scheme):
    params = last_of_its_layout(n_clients, bits, scheme)
    assert worst_case_is_exact(params, 2 * params.values_per_ciphertext - 3)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("bits", range(2, 33))
def test_a_thousand_clients_are_exact_at_every_width(bits, scheme):
    """One ciphertext a thousand times over, at the extremes of its width."""
    params = he.Params.for_sum(1000, max_abs=2 ** (bits - 1), scheme=scheme)
    assert worst_case_is_exact(params, params.values_per_ciphertext)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("n_clients", "bits"), [(2, 2), (3, 16), (10, 24), (10, 48), (10, 62)])
@pytest.mark.parametrize("public_key", [False, True])
def test_masked_residues_sum_in_the_ring(n_clients, bits, scheme, public_key):
    params = he.Params.for_sum(n_clients, ring_bits=bits, scheme=scheme, public_key=public_key)
    secret = he.SecretContext.generate(params)
    length = params.values_per_ciphertext + 3
    vectors = np.random.default_rng(bits).integers(0, 2**bits, (n_clients, length), dtype=np.int64)
    vectors[:, :2] = [0, 2**bits - 1]
    total = summed(secret, vectors).total
    expected = vectors.astype(object).sum(axis=0) % 2**bits
    assert np.array_equal(total % 2**bits, expected)
    assert int(total.min()) >= -(2 ** (bits - 1))
    assert int(total.max()) < 2 ** (bits - 1)


def test_masks_that_cancel_leave_the_sum():
    """Pairwise masks modulo 2^b: what the key holder opens of the masked words is the plain sum."""
    bits, rng = 24, np.random.default_rng(4)
    plain = rng.integers(-(2**18), 2**18, (3, 500), dtype=np.int64)
    masks = rng.integers(0, 2**bits, (2, 500), dtype=np.int64)
    masked = plain.copy()
    masked[0] += masks[0]
    masked[1] += masks[1] - masks[0]
    masked[2] -= masks[1]
    secret = he.SecretContext.generate(he.Params.for_sum(3, ring_bits=bits, scheme="bfv"))
    result = summed(secret, masked % 2**bits)
    assert np.array_equal(result.total, plain.sum(axis=0))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SCHEMES), st.booleans(), st.data())
def test_any_vectors_sum_exactly(scheme, public_key, data):
    secret = keys(5, 2**12, scheme, public_key=public_key)
    n_clients = data.draw(st.integers(2, 5))
    length = data.draw(st.integers(1, 40))
    value = st.integers(-(2**12), 2**12)
    vectors = np.array(
        data.draw(
            st.lists(
                st.lists(value, min_size=length, max_size=length),
                min_size=n_clients,
                max_size=n_clients,
            )
        ),
        np.int64,
    )
    result = summed(secret, vectors, members=secret.encryptor() if public_key else None)
    assert result.total.tolist() == vectors.sum(axis=0).tolist()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_clients_that_break_off_leave_no_trace(scheme):
    secret = keys(5, 2**25, scheme)
    vectors = random_vectors(5, 33 * secret.params.values_per_ciphertext, 2**25)
    context = fresh_context()
    sent = uploads(secret, vectors, context)
    sent[1] = sent[1][:2]  # no last chunk
    sent[3] = sent[3][1:]  # no first chunk
    server = collect(secret, sent, context)
    assert server.contributors == (0, 2, 4)
    result = he.KeyHolder(secret, min_clients=3, context=context).decrypt(server.result())
    assert result.survivors == (0, 2, 4)
    assert np.array_equal(result.total, vectors[[0, 2, 4]].sum(axis=0))


def test_chunks_may_arrive_in_any_order_and_interleaved():
    secret = keys(4, 2**25)
    vectors = random_vectors(4, 35 * secret.params.values_per_ciphertext - 5, 2**25)
    context = fresh_context()
    sent = uploads(secret, vectors, context)
    server = he.Server(secret.public(), context=context)
    arrivals = [(client_id, chunk) for client_id, chunks in sent.items() for chunk in chunks]
    for place in np.random.default_rng(5).permutation(len(arrivals)):
        server.receive(*arrivals[place])
    result = he.KeyHolder(secret, min_clients=4, context=context).decrypt(server.result())
    assert np.array_equal(result.total, vectors.sum(axis=0))


def test_both_kinds_of_members_can_join_one_sum():
    secret = keys(4, 1000, "bfv", public_key=True)
    vectors = random_vectors(4, 10, 1000)
    context = fresh_context()
    sent = uploads(secret, vectors[:2], context)
    sent |= uploads(secret.encryptor(), vectors[2:], context, first_id=2)
    server = collect(secret, sent, context)
    result = he.KeyHolder(secret, min_clients=4, context=context).decrypt(server.result())
    assert np.array_equal(result.total, vectors.sum(axis=0))


def test_the_callers_vector_may_change_after_encrypt():
    secret = keys()
    context = fresh_context()
    vector = np.array([1, 2, 3])
    iterators = [he.Client(secret, i, context=context).encrypt(vector) for i in range(2)]
    vector[:] = 99
    server = collect(secret, {i: list(chunks) for i, chunks in enumerate(iterators)}, context)
    result = he.KeyHolder(secret, min_clients=2, context=context).decrypt(server.result())
    assert result.total.tolist() == [2, 4, 6]


def test_a_million_coordinates_in_one_round():
    secret = keys(2, 2**15, "bfv")
    vectors = random_vectors(2, 1_000_003, 2**15)
    assert np.array_equal(summed(secret, vectors).total, vectors.sum(axis=0))
