"""The masked sum equals the plain sum for every set and time of drop-outs."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import Aborted, CapacityError, LocalProtocolError, Params, Phase, message_kind, simulate

PHASES = (
    Phase.ADVERTISE_KEYS,
    Phase.SHARE_KEYS,
    Phase.CHECK_SHARES,
    Phase.MASKED_INPUT,
    Phase.CONSISTENCY,
    Phase.UNMASK,
)


def inputs_of(n, length, bound, seed=0):
    rng = np.random.default_rng(seed)
    return {7 * i: rng.integers(-bound, bound + 1, length) for i in range(n)}


def plain(inputs, survivors):
    return sum(inputs[i] for i in survivors)


@pytest.mark.parametrize("n", [*range(3, 13), 20, 33, 50])
def test_sum_of_every_small_cohort(n):
    inputs = inputs_of(n, 5, 1000, n)
    result = simulate(inputs, Params.for_cohort(n, 5, max_abs=1000))
    assert np.array_equal(result.total, plain(inputs, inputs))
    assert result.total.dtype == np.int64
    assert result.survivors == tuple(sorted(inputs))


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 1023, 32_769])
@pytest.mark.parametrize("bits", [2, 16, 17, 31, 32, 33, 62])
def test_awkward_lengths_and_rings(length, bits):
    inputs = inputs_of(4, length, 2**62, bits)
    result = simulate(inputs, Params.for_cohort(4, length, ring_bits=bits))
    with np.errstate(over="ignore"):
        wrapped = plain(inputs, inputs)
    half = np.int64(1 << (bits - 1))
    assert np.array_equal(result.total, ((wrapped + half) & np.int64((1 << bits) - 1)) - half)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("n", [10, 40])
def test_drop_outs_at_every_phase(phase, n):
    inputs = inputs_of(n, 9, 100, n)
    params = Params.for_cohort(n, 9, max_abs=100, dropout_rate=0.2, corrupt_rate=0.05)
    assert params.complete == (n == 10)
    gone = set(sorted(inputs)[:: n // 2])
    result = simulate(inputs, params, drop={phase: gone})
    late = phase in (Phase.CONSISTENCY, Phase.UNMASK)
    assert set(result.survivors) == set(inputs) - (set() if late else gone)
    assert np.array_equal(result.total, plain(inputs, result.survivors))


@given(
    n=st.integers(4, 14),
    length=st.integers(1, 40),
    bound=st.integers(0, 2**40),
    seed=st.integers(0, 2**32),
    leaving=st.lists(st.sampled_from((*PHASES, None)), min_size=14, max_size=14),
)
@settings(max_examples=40, deadline=None)
def test_right_or_absent(n, length, bound, seed, leaving):
    inputs = inputs_of(n, length, bound, seed)
    params = Params.for_cohort(n, length, max_abs=bound, dropout_rate=0.4, corrupt_rate=0.0)
    drop = {p: {7 * i for i in range(n) if leaving[i] is p} for p in PHASES}
    try:
        result = simulate(inputs, params, drop=drop)
    except Aborted:
        return
    assert len(result.survivors) >= params.min_survivors
    assert np.array_equal(result.total, plain(inputs, result.survivors))


def test_semi_honest_sessions_sum_as_well():
    inputs = inputs_of(30, 6, 50)
    params = Params.for_cohort(30, 6, max_abs=50, threat_model="semi-honest")
    assert not params.complete
    result = simulate(inputs, params, drop={Phase.MASKED_INPUT: {0}})
    assert np.array_equal(result.total, plain(inputs, result.survivors))


def test_transcript_names_every_message_the_server_received():
    transcript = []
    inputs = inputs_of(4, 3, 10)
    simulate(inputs, Params.for_cohort(4, 3, max_abs=10), transcript=transcript)
    kinds = [
        "advertise_keys",
        "share_keys",
        "shares_opened",
        "masked_input",
        "signature",
        "unmask_shares",
    ]
    assert [message_kind(data) for _, _, data in transcript] == [k for k in kinds for _ in range(4)]
    assert [phase for phase, _, _ in transcript[::4]] == [phase.value for phase in PHASES]


def test_capacity_is_exact():
    """At exact capacity the sum is exact; one beyond is refused at its client, never wrapped (E3)."""
    params = Params.for_cohort(3, 2, max_abs=21)
    assert params.ring_bits == 8  # 3·43 = 129 > 2^7
    extreme = {i: np.array([21, -21], dtype=np.int64) for i in range(3)}
    assert simulate(extreme, params).total.tolist() == [63, -63]
    with pytest.raises(CapacityError, match="max_abs=21"):
        simulate(extreme | {1: np.array([22, 0], dtype=np.int64)}, params)


def test_threads_change_nothing():
    inputs = inputs_of(4, 200_001, 1000)
    params = Params.for_cohort(4, 200_001, max_abs=1000, dropout_rate=0.25, corrupt_rate=0.0)
    with ThreadPoolExecutor(2) as executor:
        result = simulate(inputs, params, drop={Phase.MASKED_INPUT: {7}}, executor=executor)
    assert np.array_equal(result.total, plain(inputs, result.survivors))
    assert len(result.survivors) == 3


def test_processes_cannot_mask():
    with ProcessPoolExecutor(1) as executor, pytest.raises(LocalProtocolError, match="threads"):
        simulate(inputs_of(3, 4, 9), Params.for_cohort(3, 4, max_abs=9), executor=executor)
