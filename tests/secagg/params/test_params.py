"""Parameters derive from the threat model, and others cannot be constructed."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import CapacityError, Params, UnsafeParametersError, WireFormatError
from secagg.params.degrees import first_rare


def exact_tail(population, marked, drawn, least):
    """Pr[X ≥ least], X hypergeometric, in whole numbers."""
    ways = sum(
        math.comb(marked, x) * math.comb(population - marked, drawn - x)
        for x in range(max(0, least), min(marked, drawn) + 1)
        if drawn - x <= population - marked
    )
    return ways, math.comb(population, drawn)


@given(
    population=st.integers(5, 300),
    share=st.floats(0, 1),
    part=st.floats(0, 1),
    bits=st.integers(1, 120),
)
@settings(max_examples=150, deadline=None)
def test_tails_agree_with_exact_counting(population, share, part, bits):
    marked, drawn = int(share * population), max(1, int(part * population))
    x = first_rare(population, marked, drawn, bits)
    ways, whole = exact_tail(population, marked, drawn, x)
    assert ways * 2**bits <= whole * (1 + 1e-9)
    if x > max(0, drawn + marked - population):
        ways, whole = exact_tail(population, marked, drawn, x - 1)
        assert ways * 2**bits > whole * (1 - 1e-9)


@pytest.mark.parametrize("n", [100, 150, 300, 1000])
@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_sparse_graphs_meet_their_bounds_in_exact_arithmetic(n, rate):
    """n·Pr[both secrets] and the cut of an arc, in the smallest roster, with 64 bits for grinding."""
    params = Params.for_cohort(n, 1, max_abs=1, dropout_rate=rate, corrupt_rate=rate)
    k, t, c, m = params.degree, params.threshold, params.colluders, params.min_survivors
    assert not params.complete
    assert k % 2 == 0
    ways, whole = exact_tail(m - 1, c, k, 2 * t - k - 1)
    assert n * ways * 2**105 <= whole
    ways, whole = exact_tail(m - 1, c, k, 2 * t - k - 2)
    assert n**2 * ways * 2**105 <= whole
    ways, whole = exact_tail(n - 1, math.ceil(rate * n), k, k - t + 1)
    assert n * ways * 2**30 <= whole


@pytest.mark.parametrize("n", range(3, 60))
@pytest.mark.parametrize(("drop", "corrupt"), [(0.1, 0.1), (0.34, 0.0), (0.2, 0.05)])
def test_small_cohorts_meet_the_complete_graphs_rules(n, drop, corrupt):
    if n < Params.smallest_cohort(dropout_rate=drop, corrupt_rate=corrupt):
        assert n == 3  # of which a third, one client, may not be silent
        return
    params = Params.for_cohort(n, 1, max_abs=1, dropout_rate=drop, corrupt_rate=corrupt)
    c, u = params.colluders, params.min_survivors
    assert 2 * params.quorum > n + c
    assert u <= n - math.floor(drop * n)
    assert u >= max(3, n - math.ceil(drop * n), c + 2, params.quorum)
    assert u <= n
    if params.complete:
        assert 2 * params.threshold > n + c
        assert params.threshold <= n - math.floor(drop * n)


@pytest.mark.parametrize("n", [0, 1, 2, 10_001])
def test_cohorts_that_are_too_small_or_too_large(n):
    for model in ("semi-honest", "malicious-local"):
        with pytest.raises(UnsafeParametersError, match="3|10000"):
            Params.for_cohort(n, 1, max_abs=1, threat_model=model)


def test_beyond_two_thousand_a_global_quorum_names_its_remedy():
    Params.for_cohort(2_000, 1, max_abs=1)
    with pytest.raises(UnsafeParametersError, match="threat_model='malicious-local'"):
        Params.for_cohort(2_001, 1, max_abs=1)
    assert Params.for_cohort(2_001, 1, max_abs=1, threat_model="malicious-local").local
    assert not Params.for_cohort(2_001, 1, max_abs=1, threat_model="semi-honest").complete


def test_an_infeasible_cohort_names_the_smallest_that_would_do():
    with pytest.raises(UnsafeParametersError, match="every cohort of (\\d+) to 2000") as caught:
        Params.for_cohort(4, 1, max_abs=1, dropout_rate=0.3, corrupt_rate=0.3)
    smallest = int(re.search("every cohort of (\\d+)", str(caught.value))[1])
    assert smallest == Params.smallest_cohort(dropout_rate=0.3, corrupt_rate=0.3)
    for n in range(smallest, 60):
        Params.for_cohort(n, 1, max_abs=1, dropout_rate=0.3, corrupt_rate=0.3)
    with pytest.raises(UnsafeParametersError):
        Params.for_cohort(smallest - 1, 1, max_abs=1, dropout_rate=0.3, corrupt_rate=0.3)


@pytest.mark.parametrize(("drop", "corrupt"), [(0.5, 0.2), (math.nan, 0.1), (1.0, 0.1)])
def test_rates_without_an_answering_majority_have_no_cohort(drop, corrupt):
    with pytest.raises(UnsafeParametersError):
        Params.smallest_cohort(dropout_rate=drop, corrupt_rate=corrupt)


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 1},
        {"threshold": 50},
        {"threshold": 200},
        {"degree": 43},
        {"degree": 4},
        {"min_survivors": 3},
        {"ring_bits": 8},
        {"n_clients": 20_000},
        {"corrupt_rate": 0.0},
        {"threat_model": "honest"},
    ],
)
def test_other_values_than_the_derived_ones_cannot_exist(change):
    params = Params.for_cohort(100, 4, max_abs=1000)
    with pytest.raises(UnsafeParametersError):
        dataclasses.replace(params, **change)


@pytest.mark.parametrize("bits", [-1, 0, 1, 63, 64])
def test_rings_out_of_range(bits):
    with pytest.raises(CapacityError):
        Params.for_cohort(10, 4, ring_bits=bits)


def test_a_bound_beyond_every_ring():
    with pytest.raises(CapacityError, match="62"):
        Params.for_cohort(10, 4, max_abs=2**60)


def test_exactly_one_of_bound_and_ring():
    for given_ in ({}, {"max_abs": 3, "ring_bits": 8}):
        with pytest.raises(UnsafeParametersError, match="exactly one"):
            Params.for_cohort(10, 4, **given_)


@given(
    n=st.integers(3, 400),
    length=st.integers(1, 2**28),
    ring=st.one_of(st.integers(2, 62), st.none()),
    model=st.sampled_from(["malicious", "semi-honest"]),
)
@settings(max_examples=60, deadline=None)
def test_bytes_round_trip(n, length, ring, model):
    bounds = {"max_abs": 77} if ring is None else {"ring_bits": ring}
    params = Params.for_cohort(n, length, threat_model=model, **bounds)
    assert Params.from_bytes(params.to_bytes()) == params


@given(data=st.binary(max_size=80))
@settings(max_examples=100, deadline=None)
def test_bytes_from_hell(data):
    with pytest.raises((WireFormatError, UnsafeParametersError, CapacityError)):
        Params.from_bytes(data)
