"""V1 without signatures: the bound of the proof in docs/protocol.md, over all ways to tell members sets."""

from __future__ import annotations

import itertools

import pytest

from tests.secagg.committee.support.algebra import learnt, weights

_P = 4093
_CLIENTS = 3
_SUBSETS = [
    frozenset(chosen)
    for size in range(1, _CLIENTS + 1)
    for chosen in itertools.combinations(range(_CLIENTS), size)
]


def relations(m, c, t, k, told):
    """What is learnt of one block's secrets where each honest member answers for the set that it was told.

    Args:
        m: number of members; the first c are corrupt, and know their shares of each client.
        c: number of corrupt members.
        t: threshold.
        k: packing.
        told: the set of each honest member.
    """
    width = _CLIENTS * t  # free values of each client, then its k secrets
    points = [*range(1, t + 1), *(_P - 1 - s for s in range(k))]

    def share(member, clients):
        row = [0] * (width + _CLIENTS * k)
        x = member + 1
        values = [int(y == x) for y in points] if x in points else weights(points, x, _P)
        for client in clients:
            row[client * t : (client + 1) * t] = values[:t]
            row[width + client * k : width + (client + 1) * k] = values[t:]
        return row

    rows = [share(member, [client]) for member in range(c) for client in range(_CLIENTS)]
    rows += [share(c + place, clients) for place, clients in enumerate(told)]
    return learnt(rows, width, _P)


def one_sum(found, k, told):
    """Whether all relations are about the sum over one set that was told."""

    def parts(row):
        return [tuple(row[client * k : (client + 1) * k]) for client in range(_CLIENTS)]

    nothing = (0,) * k
    return any(
        all(
            all(
                part == (parts(row)[min(chosen)] if client in chosen else nothing)
                for client, part in enumerate(parts(row))
            )
            for row in found
        )
        for chosen in set(told)
    )


def within(most):
    """All m ≤ most, c, t ≥ c and k with R ≤ m and 3t ≥ 2m + c − 2."""
    for m, c in itertools.product(range(2, most + 1), range(most)):
        for t in range(max(1, c, -(-(2 * m + c - 2) // 3)), m):
            yield from ((m, c, t, k) for k in range(1, m - t + 1) if c < m)


@pytest.mark.parametrize(("m", "c", "t", "k"), [*within(5)])
def test_v1_within_the_bound_no_told_sets_bring_more_than_one_sum(m, c, t, k):
    """All told sets of three clients, up to the order of the members, which differ in their points alone."""
    for told in itertools.combinations_with_replacement(_SUBSETS, m - c):
        assert one_sum(relations(m, c, t, k, told), k, told), told


@pytest.mark.parametrize(("m", "c", "t"), [(3, 0, 1), (4, 1, 2), (5, 2, 3)])
def test_v1_the_limit_one_below_the_bound_two_sums_are_related(m, c, t):
    """3t = 2m + c − 3: told A, B and A ∪ B, the members bring a relation of two sums."""
    assert 3 * t == 2 * m + c - 3
    one, other = frozenset({0}), frozenset({1, 2})
    told = (one, other, one | other)
    found = relations(m, c, t, 1, told)
    assert found
    assert not one_sum(found, 1, told)
