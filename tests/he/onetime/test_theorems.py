"""The proofs of docs/protocol.md on sums whose set follows the ciphertexts, run through for small cases."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import pytest


def key_of(plus, minus):
    """A centred binomial: heads of the first coins less heads of the others."""
    return sum(plus) - sum(minus)


@pytest.mark.parametrize("side", [1, 2])
def test_pairing_coins_leaves_the_law_of_two_keys(side):
    """The reduction of Theorem A draws counts of heads, then undecided coins: the law is that of two keys."""
    coins, flips = 2 * side, Fraction(1, 4 ** (2 * side))
    direct: Counter[tuple[int, int]] = Counter()
    for thrown in itertools.product((0, 1), repeat=2 * coins):
        one, other = thrown[:coins], thrown[coins:]
        direct[key_of(one[:side], one[side:]), key_of(other[:side], other[side:])] += flips
    paired: Counter[tuple[int, int]] = Counter()
    weights = {0: Fraction(1, 4), 1: Fraction(1, 2), 2: Fraction(1, 4)}
    for counts in itertools.product((0, 1, 2), repeat=coins):
        undecided = [place for place, heads in enumerate(counts) if heads == 1]
        known = [int(heads == 2) for heads in counts]
        total = key_of(counts[:side], counts[side:])
        chance = math.prod(weights[heads] for heads in counts) / 2 ** len(undecided)
        for fair in itertools.product((0, 1), repeat=len(undecided)):
            # Client 1's key is the known part and K fair coins; client 2's is what is left of the sum.
            part = sum(
                coin if place < side else -coin for place, coin in zip(undecided, fair, strict=True)
            )
            first = key_of(known[:side], known[side:]) + part
            paired[first, total - first] += chance
    assert paired == direct
    assert sum(paired.values()) == 1


def zero_sums(differences):
    """𝒵: the sets of clients whose differences cancel."""
    everybody = range(len(differences))
    return [
        frozenset(chosen)
        for size in range(len(differences) + 1)
        for chosen in itertools.combinations(everybody, size)
        if not sum(differences[i] for i in chosen)
    ]


def path(differences, inside):
    """Inputs of the hybrids from p⁰ = 0 to p¹, where V holds `inside` of the differing clients."""
    inputs = [0] * len(differences)
    yield tuple(inputs)
    order, moved = sorted(inside), 0
    for this, following in itertools.pairwise(order):
        moved += differences[this]
        inputs[this], inputs[following] = differences[this], -moved
        yield tuple(inputs)
    for alone in set(range(len(differences))) - inside:
        inputs[alone] = differences[alone]
        yield tuple(inputs)


@pytest.mark.parametrize("r", [1, 2, 3, 4, 5])
def test_every_step_of_the_proof_is_one_that_theorem_a_allows(r):
    """All families of differences in ±1, ±2: where each path begins and ends, and what each step changes."""
    for differences in itertools.product((-2, -1, 1, 2), repeat=r):
        sets = zero_sums(differences)
        assert len(sets) <= math.comb(r, r // 2)
        for inside in sets:
            steps = [*path(differences, inside)]
            assert steps[-1] == differences
            assert len(steps) - 1 <= r
            for before, after in itertools.pairwise(steps):
                changed = {i for i in range(r) if before[i] != after[i]}
                # Two clients of V with one sum of both, or one client that is outside V.
                assert (changed <= inside and len(changed) <= 2) or (
                    not changed & inside and len(changed) == 1
                )
                assert sum(after[i] - before[i] for i in inside) == 0


@pytest.mark.parametrize("pairs", [((0, 1), (2, 3)), ((0, 3), (1, 2))])
def test_blocks_need_no_guess(pairs):
    """Where every set that cancels is a union of blocks, one path fits all of them."""
    (a, b), (c, d) = pairs
    differences = [0] * 4
    differences[a], differences[b], differences[c], differences[d] = 1, -1, 5, -5
    blocks = [frozenset(pair) for pair in pairs]
    sets = zero_sums(differences)
    assert set(sets) == {frozenset(), *blocks, blocks[0] | blocks[1]}
    for inside in sets:
        for block in blocks:
            assert (
                block <= inside or not block & inside
            )  # V holds both of the two that a step changes


def test_a_path_for_another_set_would_change_what_the_server_sees():
    """Differences that cancel in several ways: no path fits all sets, which is why (2) sums over them."""
    differences = (1, -1, 1, -1)
    right, other = frozenset({0, 1}), frozenset({0, 3})
    assert {right, other} <= set(zero_sums(differences))
    steps = [*path(differences, right)]
    assert any(
        sum(after[i] - before[i] for i in other) for before, after in itertools.pairwise(steps)
    )
