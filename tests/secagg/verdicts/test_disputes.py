from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg import Params
from secagg.params.derivation import colluders_around
from secagg.verdicts.disputes import graph_of, proven


def params(corrupt, around=None):
    return SimpleNamespace(
        colluders=corrupt, colluders_around=corrupt if around is None else around
    )


@st.composite
def coalitions(draw):
    """Corrupt clients, and accusations each of which has one of them at an end."""
    size = draw(st.integers(2, 14))
    corrupt = draw(st.sets(st.integers(0, size - 1), max_size=size))
    pairs = [(a, b) for a in range(size) for b in range(size) if a != b and {a, b} & corrupt]
    said = draw(st.sets(st.sampled_from(pairs))) if pairs else set()
    return corrupt, {a: {b for x, b in said if x == a} for a in range(size)}


@given(coalitions(), st.integers(0, 3))
def test_nobody_honest_is_ever_convicted(case, unused):
    """Whatever the corrupt say, as long as they are no more than assumed."""
    corrupt, accusations = case
    assert proven(graph_of(accusations), params(len(corrupt) + unused)) <= corrupt


@given(coalitions())
def test_who_disputes_with_more_than_can_be_corrupt_is_convicted(case):
    corrupt, accusations = case
    graph = graph_of(accusations)
    convicted = proven(graph, params(len(corrupt)))
    assert convicted >= {p for p, others in graph.items() if len(others) > len(corrupt)}
    left = len(corrupt) - len(convicted)
    for position, others in graph.items():
        assert position in convicted or len(others - convicted) <= left


def test_with_one_found_the_next_needs_one_less():
    """3 accuses five; 4 accuses three of them, of whom at most two could be corrupt beside 3."""
    accusations = dict.fromkeys(range(10), frozenset()) | {
        3: {0, 1, 2, 5, 6},
        4: {0, 1, 2},
    }
    assert proven(graph_of(accusations), params(3)) == {3, 4}
    assert proven(graph_of(accusations), params(4)) == {3}
    assert proven(graph_of(accusations), params(5)) == set()


def test_where_more_would_be_convicted_than_can_be_corrupt_nobody_is():
    everyone = {p: frozenset({0, 1, 2, 3}) - {p} for p in range(4)}
    assert proven(graph_of(everyone), params(2)) == set()
    assert proven(graph_of({0: {1}, 1: set()}), params(0)) == set()


def test_on_a_sparse_graph_fewer_disputes_convict():
    accusations = {0: {1, 2, 3}, 1: set(), 2: set(), 3: set()}
    assert proven(graph_of(accusations), params(9, around=2)) == {0}
    assert proven(graph_of(accusations), params(9, around=3)) == set()


def test_accusations_of_who_said_nothing_do_not_count():
    assert graph_of({0: {1, 2}, 2: {0}}) == {0: {2}, 2: {0}}


@pytest.mark.parametrize(
    ("n", "rate", "model", "around"),
    [
        (20, 0.1, "malicious", 2),
        (100, 0.1, "malicious", 10),
        (1000, 0.05, "malicious", 39),
        (10_000, 0.05, "malicious-local", 60),
    ],
)
def test_how_many_neighbours_can_be_corrupt(n, rate, model, around):
    sized = {"max_abs": 3, "dropout_rate": rate, "corrupt_rate": rate, "threat_model": model}
    found = Params.for_cohort(n, 2, **sized)
    assert found.colluders_around == around
    assert found.colluders_around <= found.colluders
    # one more is rarer than 2^−105 in any of n neighbourhoods, or there are no more
    c, m, k = found.colluders, found.min_roster - 1, found.degree
    if around < c:
        import math

        ways = sum(
            math.comb(c, x) * math.comb(m - c, k - x) for x in range(around + 1, min(k, c) + 1)
        )
        assert ways * n * 2**105 <= math.comb(m, k)
        ways += math.comb(c, around) * math.comb(m - c, k - around)
        assert ways * n * 2**105 > math.comb(m, k)


def test_on_the_complete_graph_all_can_be_neighbours():
    assert colluders_around(20, 0.1, 19, 18) == 2
