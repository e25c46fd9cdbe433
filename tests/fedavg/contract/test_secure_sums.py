"""One contract for every secure sum: bit-identical integers, equal to the plain sum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.errors import CapacityError, FedAvgError, RoundAbortedError
from fedavg.sums.interface import centred
from fedavg.sums.masked import SecAgg
from he import HeError
from secagg import SecAggError, UnsafeParametersError
from tests.fedavg.contract.sums import BACKENDS, secure_sum, spec_for

REFUSALS = (FedAvgError, SecAggError, HeError)
LENGTHS = [1, 2, 3, 255, 256, 257, 4095, 4097, 8193]


def vectors_of(n, length, bound, seed):
    rng = np.random.default_rng(seed)
    return {3 * i + 1: rng.integers(-bound, bound + 1, length) for i in range(n)}


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("length", LENGTHS)
def test_exact_sums_at_awkward_lengths(name, length):
    vectors = vectors_of(4, length, 2**19 - 1, length)
    result = secure_sum(BACKENDS[name], vectors, spec_for(vectors, max_abs=2**19 - 1))
    assert np.array_equal(result.total, sum(vectors.values()))
    assert result.total.dtype == np.int64
    assert result.survivors == tuple(sorted(vectors))


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 8, 9, 10, 13, 16, 21, 27, 33, 41, 50])
def test_exact_sums_for_many_cohort_sizes(name, n):
    vectors = vectors_of(n, 37, 1000, n)
    result = secure_sum(BACKENDS[name], vectors, spec_for(vectors, max_abs=1000))
    assert np.array_equal(result.total, sum(vectors.values()))


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("bits", [2, 8, 17, 24, 31])
def test_modular_sums_reduce_alike(name, bits):
    """Under DP nothing is refused: every backend reduces modulo 2^b and centres."""
    vectors = vectors_of(5, 65, 2**40, bits)
    result = secure_sum(BACKENDS[name], vectors, spec_for(vectors, ring_bits=bits))
    assert np.array_equal(result.total, centred(sum(vectors.values()), bits))


@pytest.mark.parametrize("name", BACKENDS)
def test_values_at_exact_capacity_are_exact(name):
    bound = 2**20
    vectors = {i: np.full(5, bound if i % 2 else -bound) for i in range(1, 8)}
    result = secure_sum(BACKENDS[name], vectors, spec_for(vectors, max_abs=bound))
    assert np.array_equal(result.total, sum(vectors.values()))


@pytest.mark.parametrize("name", BACKENDS)
def test_silent_clients_leave_the_sum_of_the_others(name):
    vectors = vectors_of(9, 50, 1000, 1)
    ids = sorted(vectors)
    silent = {ids[0]: 0, ids[4]: 0}
    result = secure_sum(
        BACKENDS[name], vectors, spec_for(vectors, max_abs=1000), silent_from=silent
    )
    assert set(result.survivors) == set(ids) - set(silent)
    assert np.array_equal(result.total, sum(vectors[i] for i in result.survivors))


@pytest.mark.parametrize("stage", range(6))
def test_secagg_survives_silence_at_every_message(stage):
    vectors = vectors_of(9, 50, 1000, stage)
    ids = sorted(vectors)
    result = secure_sum(
        BACKENDS["secagg"],
        vectors,
        spec_for(vectors, max_abs=1000),
        silent_from={ids[2]: stage, ids[7]: stage},
    )
    assert np.array_equal(result.total, sum(vectors[i] for i in result.survivors))
    assert len(result.survivors) == (7 if stage <= 3 else 9)


@pytest.mark.parametrize("name", BACKENDS)
def test_too_few_survivors_give_no_sum(name):
    vectors = vectors_of(9, 5, 10, 2)
    silent = dict.fromkeys(sorted(vectors)[:5], 0)
    with pytest.raises((RoundAbortedError, SecAggError, HeError)):
        secure_sum(BACKENDS[name], vectors, spec_for(vectors, max_abs=10), silent_from=silent)


@pytest.mark.parametrize("name", BACKENDS)
def test_an_input_beyond_the_bound_is_refused_at_its_client(name):
    vectors = vectors_of(4, 5, 10, 3)
    vectors[1][2] = 11
    with pytest.raises(REFUSALS, match="11|10|range|max_abs"):
        secure_sum(BACKENDS[name], vectors, spec_for(vectors, max_abs=10))


@pytest.mark.parametrize("name", BACKENDS)
def test_a_sum_beyond_every_parameter_set_is_refused_beforehand(name):
    vectors = vectors_of(4, 5, 10, 3)
    with pytest.raises((CapacityError, SecAggError, HeError)):
        BACKENDS[name].check(spec_for(vectors, max_abs=2**61))


@given(
    n=st.integers(3, 12),
    length=st.integers(1, 40),
    bound=st.integers(0, 2**30),
    seed=st.integers(0),
)
@settings(max_examples=15, deadline=None)
def test_all_backends_agree_to_the_bit(n, length, bound, seed):
    vectors = vectors_of(n, length, bound, seed)
    totals = [
        secure_sum(backend, vectors, spec_for(vectors, max_abs=max(bound, 1))).total
        for backend in BACKENDS.values()
    ]
    assert all(np.array_equal(total, sum(vectors.values())) for total in totals)


@given(
    n=st.integers(3, 20),
    length=st.sampled_from([1, 2, 7, 64, 65]),
    drops=st.sets(st.integers(0, 19), max_size=6),
    ring_bits=st.one_of(st.none(), st.integers(2, 40)),
    seed=st.integers(0),
)
@settings(max_examples=25, deadline=None)
def test_any_tolerated_drop_outs_leave_the_same_bits_everywhere(n, length, drops, ring_bits, seed):
    """Clients that never answer: all backends sum the same survivors, exactly or modulo 2^b."""
    vectors = vectors_of(n, length, 2**20, seed)
    ids = sorted(vectors)
    silent = {ids[i]: 0 for i in drops if i < n}
    least = BACKENDS["secagg"].min_survivors(n)
    if n - len(silent) < max(least, 3):
        silent = dict(list(silent.items())[: n - max(least, 3)])
    bounds = {"ring_bits": ring_bits} if ring_bits else {"max_abs": 2**20}
    spec = spec_for(vectors, **bounds)
    expected = spec.reduce(sum(vectors[i] for i in ids if i not in silent))
    for backend in BACKENDS.values():
        result = secure_sum(backend, vectors, spec, silent_from=silent)
        assert np.array_equal(result.total, expected)
        assert set(result.survivors) == set(ids) - set(silent)


def test_the_semi_honest_mode_sums_alike_under_its_own_name():
    backend = SecAgg(dropout_rate=0.2, corrupt_rate=0.2, threat_model="semi-honest")
    vectors = vectors_of(12, 30, 1000, 5)
    result = secure_sum(backend, vectors, spec_for(vectors, max_abs=1000))
    assert np.array_equal(result.total, sum(vectors.values()))
    assert "only looks" in backend.assumptions(spec_for(vectors, max_abs=1000))[0]


def test_quorums_of_neighbours_sum_alike_under_their_own_name():
    backend = SecAgg(dropout_rate=0.1, corrupt_rate=0.05, threat_model="malicious-local")
    vectors = vectors_of(24, 30, 1000, 5)
    ids = sorted(vectors)
    spec = spec_for(vectors, max_abs=1000)
    result = secure_sum(backend, vectors, spec, silent_from={ids[3]: 3})
    assert np.array_equal(result.total, sum(vectors[i] for i in ids if i != ids[3]))
    assert backend.min_survivors(24) == backend.params(spec).min_survivors < 12
    assert "parts of a cohort" in backend.assumptions(spec)[0]


@pytest.mark.parametrize("threat_model", ["malicious", "semi-honest"])
@pytest.mark.parametrize("dropout_rate", [0.0, 0.1, 0.34])
@pytest.mark.parametrize("corrupt_rate", [0.0, 0.1, 0.3])
def test_what_secagg_promises_of_survivors_is_what_its_protocol_needs(
    threat_model, dropout_rate, corrupt_rate
):
    """Fewer survivors than the promise end a round empty, and as many never do."""
    backend = SecAgg(dropout_rate, corrupt_rate, threat_model)
    for n in (*range(3, 20), 100, 300):
        spec = spec_for({i: np.zeros(3, np.int64) for i in range(n)}, max_abs=9)
        try:
            needed = backend.params(spec).min_survivors
        except UnsafeParametersError:
            continue
        assert backend.min_survivors(n) == needed, n
