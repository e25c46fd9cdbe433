"""Derived thresholds, degrees and quorums, held against exact counting and against geometry."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import UnsafeParametersError
from secagg.params.params import Requirements, requirements
from tests.secagg.params.test_params import exact_tail

RATES = [(0.05, 0.05), (0.1, 0.1), (0.02, 0.1)]


@pytest.mark.parametrize("n", [300, 1000, 5000])
@pytest.mark.parametrize(("drop", "corrupt"), RATES)
def test_local_quorums_meet_their_bounds_in_exact_arithmetic(n, drop, corrupt):
    found = requirements(n, drop, corrupt, "malicious-local")
    k, t, q, m = found.degree, found.threshold, found.quorum, found.min_roster
    c, silent = math.ceil(corrupt * n), math.ceil(drop * n)
    assert m == n - silent

    def rare(times, drawn, least, bits):
        ways, whole = exact_tail(m - 1, c, drawn, least)
        return times * ways * 2**bits <= whole

    assert rare(n, k, 2 * t - k - 1, 105)  # both secrets of a client
    assert rare(n, k, q + t - k, 105)  # dropped elsewhere, after a quorum of its neighbours
    assert rare(2 * n, k // 2, t - 1 - k // 2, 105)  # a gap of k/2 places on either side
    ways, whole = exact_tail(n - 1, silent, k, k - max(t, q) + 1)
    assert n * ways * 2**30 <= whole  # enough answers


@pytest.mark.parametrize("n", [1000, 10_000])
def test_the_guaranteed_sum_is_what_the_densest_packing_of_windows_leaves(n):
    """A member every 3k/2 places at most, with t − X members in the k + 1 places around it."""
    found = requirements(n, 0.05, 0.05, "malicious-local")
    worst = found.quorum + found.threshold - found.degree - 1
    windows, place = 1, 0
    while found.min_roster - (place + 3 * found.degree // 2) >= found.degree + 1:
        place += 3 * found.degree // 2
        windows += 1
    assert found.min_survivors == windows * (found.threshold - worst)
    assert 0.2 < found.min_survivors / n < 0.5


@given(
    n=st.integers(3, 10**6),
    drop=st.floats(0, 0.3),
    corrupt=st.floats(0, 0.3),
    model=st.sampled_from(["semi-honest", "malicious-local"]),
)
@settings(max_examples=30, deadline=None)
def test_up_to_a_million_clients_on_paper(n, drop, corrupt, model):
    try:
        found = requirements(n, drop, corrupt, model)
    except UnsafeParametersError:
        return
    assert 2 <= found.threshold <= found.degree + 1 <= n
    assert 3 <= found.min_survivors <= found.min_roster <= n
    if model == "malicious-local":
        assert found.degree < found.min_roster - 1
        assert 2 * found.threshold > found.degree + 1
        assert found.quorum <= found.degree


def test_the_degree_grows_like_a_logarithm():
    degrees = [requirements(10**e, 0.05, 0.05, "malicious-local").degree for e in (3, 4, 5, 6)]
    assert degrees == sorted(degrees)
    assert degrees[-1] < 1.5 * degrees[0]


@pytest.mark.parametrize("n", [2, 1_000_001])
def test_nothing_is_derived_beyond(n):
    with pytest.raises(UnsafeParametersError, match=str(10**6) if n > 2 else "3"):
        requirements(n, 0.1, 0.1, "semi-honest")


def test_a_cohort_too_small_for_quorums_of_neighbours_names_the_other_model():
    with pytest.raises(UnsafeParametersError, match="threat_model='malicious'"):
        requirements(10, 0.1, 0.3, "malicious-local")


def test_requirements_of_nobody_cannot_exist():
    with pytest.raises(UnsafeParametersError, match="protects nobody"):
        Requirements(1, 4, 3, 3, 3)
