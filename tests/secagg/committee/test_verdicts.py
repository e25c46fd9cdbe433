"""Disputes against brute force, and findings about misdealt shares and lying members."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.committee.arithmetic import decoding
from secagg.committee.arithmetic.sharing import check_values, deal
from secagg.committee.verdicts import findings
from secagg.committee.verdicts.disputes import settle
from secagg.committee.verdicts.findings import judge
from tests.secagg.committee.support.lab import small

NAME = bytes(32)


def best(disputes, most):
    """Members and clients in the smallest choice, by looking at every set of members."""
    members = sorted(set().union(*disputes.values()))
    found = None
    for size in range(min(most, len(members)) + 1):
        for gone in itertools.combinations(members, size):
            clients = [i for i, js in disputes.items() if not js <= set(gone)]
            cost = (size + len(clients), size)
            found = cost if found is None else min(found, cost)
    return found


graphs = st.dictionaries(
    st.integers(0, 12), st.frozensets(st.integers(0, 8), max_size=4), max_size=9
)


@given(graphs, st.integers(0, 4))
def test_the_choice_is_the_smallest(disputes, most):
    members, clients = settle(disputes, most)
    assert len(members) <= most
    assert all(js <= members or i in clients for i, js in disputes.items())
    assert (len(members) + len(clients), len(members)) == best(disputes, most)


@given(graphs, st.integers(0, 4), st.integers(0, 3))
def test_without_work_the_choice_still_ends_all_disputes(disputes, most, work):
    members, clients = settle(disputes, most, work=work)
    assert len(members) <= most
    assert all(js <= members or i in clients for i, js in disputes.items())


@given(st.data())
def test_no_more_is_lost_than_lie(data):
    """Corrupt members and clients choose any disputes: what is left out is no more than they are."""
    c, liars = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 4))
    disputes = {}
    for client in range(10):
        honest = client >= liars
        against = st.frozensets(st.integers(0, c - 1) if honest else st.integers(0, 8), max_size=c)
        disputes[client] = data.draw(against) if c else frozenset()
    members, clients = settle(disputes, c)
    assert len(members) + len(clients) <= c + liars
    quick, many = settle(disputes, c, work=0)
    assert len(quick) <= c
    assert len(quick) + len(many) <= c + (c + 1) * liars


def test_the_same_disputes_have_one_result():
    one = {i: frozenset({i % 3, 5}) for i in range(6)}
    other = dict(reversed(one.items()))
    assert settle(one, 2) == settle(other, 2)


def test_a_thousand_members_in_dispute_need_no_recursion():
    disputes = {i: frozenset({i}) for i in range(1000)}
    members, clients = settle(disputes, 3)
    assert (len(members), len(clients)) == (0, 1000)


def reports(params, clients, *, missing=(), changed=()):
    """Reports of all members on honest contributions, with (member, client) pairs missing or changed."""
    shares = [deal(params, np.zeros(params.vector_length, np.int64)) for _ in range(clients)]
    opened, values = {}, {}
    for j in range(params.n_members):
        flags = [(j, i) not in missing for i in range(clients)]
        rows = [check_values(params, NAME, shares[i][j]) for i in range(clients) if flags[i]]
        rows = np.array(rows).reshape(-1, len(params.moduli), params.checks)
        for row, i in enumerate(i for i in range(clients) if flags[i]):
            if (j, i) in changed:
                rows[row, -1, 0] = (rows[row, -1, 0] + 1) % params.moduli[-1]
        opened[j], values[j] = flags, rows
    return opened, values


@pytest.mark.parametrize("big", [9, 2**40])
def test_honest_reports_raise_nothing(big):
    found = judge(small(9, 2, 0, max_abs=big), *reports(small(9, 2, 0, max_abs=big), 3))
    assert (found.disputes, found.guilty, found.unclear) == ({}, frozenset(), frozenset())


@pytest.mark.parametrize("big", [9, 2**40])
def test_all_small_patterns_of_objections(big):
    """m = 11, R + 2c = 11, c = 2: up to two objections are disputes, three or more convict."""
    params = small(11, 2, 0, corrected=2, max_abs=big)
    assert params.radius(11) == 2
    for first, second in itertools.product(range(5), repeat=2):
        missing = {(j, 1) for j in range(first)}
        changed = {(j, 1) for j in range(first, first + second)}
        found = judge(params, *reports(params, 3, missing=missing, changed=changed))
        if first + second > 2:
            assert (found.disputes, found.guilty) == ({}, {1})
        elif first + second:
            against = frozenset(range(first + second))
            assert (dict(found.disputes), found.guilty) == ({1: against}, frozenset())
        else:
            assert (found.disputes, found.guilty) == ({}, frozenset())
        assert not found.unclear


@pytest.mark.parametrize("at_once", [1, 500, 1 << 20])
def test_the_findings_do_not_depend_on_how_many_are_compared_at_once(at_once, monkeypatch):
    """Contributions that did not open anywhere, or are odd, at every place of a list."""
    monkeypatch.setattr(findings, "_AT_ONCE", at_once)
    params = small(11, 2, 0, corrected=2)
    missing = {(j, 0) for j in range(11)} | {(3, 4), (4, 4)}
    changed = {(1, 2), (1, 4), (7, 6), (2, 7), (5, 7), (6, 7)}
    found = judge(params, *reports(params, 8, missing=missing, changed=changed))
    assert dict(found.disputes) == {2: {1}, 6: {7}}
    assert (found.guilty, found.unclear) == ({0, 4, 7}, frozenset())


def test_clients_do_not_fill_the_memory_of_the_collector():
    """Each of twenty clients names members of its own; the parity checks of few sets are remembered."""
    decoding._parity.cache_clear()
    params = small(12, 2, 1)
    missing = {(j, i) for i in range(20) for j in (i % 12, (i + 1 + i // 12) % 12)}
    assert len(judge(params, *reports(params, 20, missing=missing)).disputes) == 20
    assert decoding._parity.cache_info().currsize <= 4


def test_where_lies_could_be_the_members_the_client_is_left_out_and_not_named():
    params = small(9, 2, 1)
    assert params.radius(9) == 1
    found = judge(params, *reports(params, 2, changed={(0, 0), (1, 0)}))
    assert (found.unclear, found.guilty, found.disputes) == ({0}, frozenset(), {})
    found = judge(params, *reports(params, 2, missing={(0, 0)}, changed={(1, 0)}))
    assert (found.unclear, found.guilty, found.disputes) == (frozenset(), frozenset(), {0: {0, 1}})
