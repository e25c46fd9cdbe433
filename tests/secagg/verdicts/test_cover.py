from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.verdicts import cover
from secagg.verdicts.cover import smallest_cover, without


def graph_of(pairs):
    graph = {}
    for one, two in pairs:
        graph.setdefault(one, set()).add(two)
        graph.setdefault(two, set()).add(one)
    return graph


def covers(chosen, graph):
    return all(one in chosen or two in chosen for one in graph for two in graph[one])


def fewest(graph):
    """By trying all sets, the smallest first."""
    return next(
        size
        for size in range(len(graph) + 1)
        for chosen in itertools.combinations(sorted(graph), size)
        if covers(set(chosen), graph)
    )


PAIRS = [(one, two) for one in range(9) for two in range(one)]
GRAPHS = st.sets(st.sampled_from(PAIRS), max_size=24).map(graph_of)


@given(GRAPHS)
def test_a_cover_is_the_smallest(graph):
    chosen = smallest_cover(graph)
    assert covers(chosen, graph)
    assert len(chosen) == fewest(graph)


@given(GRAPHS)
def test_without_work_it_is_at_most_twice_the_smallest(graph):
    chosen = smallest_cover(graph, work=-1)
    assert covers(chosen, graph)
    assert len(chosen) <= 2 * fewest(graph)


@pytest.mark.parametrize(("coalition", "triangles"), [(60, 0), (300, 0), (300, 1), (300, 60)])
def test_victims_in_layers_do_not_cost_more_than_the_coalition(coalition, triangles):
    """What makes the greedy choice lose: victims accused by 8 liars each, by 7, … by 1.

    The liars cover all and have as many disjoint disputes, so none smaller exists; triangles of liars
    make cycles of odd length.
    """
    pairs, victim = [], coalition
    for each in range(8, 0, -1):
        for group in range(coalition // each):
            pairs += [(liar, victim) for liar in range(group * each, group * each + each)]
            victim += 1
    for start in range(0, 3 * triangles, 3):
        pairs += itertools.combinations(range(start, start + 3), 2)
    graph = graph_of(pairs)
    chosen = smallest_cover(graph)
    assert covers(chosen, graph)
    assert len(chosen) == coalition


def test_who_is_at_odds_with_two_goes_and_of_a_quarrel_the_lower_position():
    assert smallest_cover(graph_of([(0, 1), (0, 2), (1, 2)])) == {0, 1}
    assert smallest_cover(graph_of([(3, 8)])) == {3}
    assert smallest_cover(graph_of([(3, 8), (8, 5)])) == {8}
    assert smallest_cover({}) == set()


def test_a_hard_graph_ends_the_search(monkeypatch):
    """Each step looks at all edges that it is given, and counts them: so steps are few."""
    rng = np.random.default_rng(1)
    size, work = 120, 200_000
    pairs = [pair for pair in itertools.combinations(range(size), 2) if rng.random() < 0.1]
    graph, steps = graph_of(pairs), []
    real = cover._branch
    monkeypatch.setattr(cover, "_branch", lambda *args: steps.append(len(args[0])) or real(*args))
    chosen = smallest_cover(graph, work=work)
    assert covers(chosen, graph)
    # the work is all used, and the steps still open then end without branching
    assert work / (2 * len(pairs)) < len(steps)
    assert sum(steps) < work + cover.DEPTH * size


@given(GRAPHS, st.sets(st.integers(0, 8)))
def test_without_some_nobody_stands_alone(graph, gone):
    left = without(graph, gone)
    assert all(left.values())
    assert left == graph_of(
        (one, two) for one in graph for two in graph[one] if not {one, two} & gone
    )
