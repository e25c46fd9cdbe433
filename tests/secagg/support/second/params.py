"""The parameters of docs/protocol.md derived a second time, in whole numbers, for small cohorts."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, comb, floor

MALICIOUS, SEMI_HONEST, LOCAL = range(3)
_NUDGE = Fraction(1, 10**9)


def up(rate, n):
    return ceil(Fraction(rate) * n - _NUDGE)


def down(rate, n):
    return floor(Fraction(rate) * n + _NUDGE)


def first_rare(population, marked, drawn, bits, factor):
    """Smallest x with factor·Pr[X ≥ x] ≤ 2^−bits, X hypergeometric."""
    high = min(drawn, marked)
    tail, x = 0, high + 1
    while x > 0:
        tail += comb(marked, x - 1) * comb(population - marked, drawn - x + 1)
        if factor * tail * 2**bits > comb(population, drawn):
            break
        x -= 1
    return x


def sparse(n, c, silent, roster, k, model):
    """The threshold of degree k, or None."""
    most = k + 1 - first_rare(n - 1, silent, k, 30, n)
    if model == LOCAL:
        around = first_rare(roster - 1, c, k, 105, n)
        ahead = first_rare(roster - 1, c, k // 2, 105, 2 * n)
        return most if 2 * most - k - 1 >= around and most - 1 - k // 2 >= ahead else None
    if model == MALICIOUS:
        x = first_rare(roster - 1, c, k, 105, n * n)
        t = (x + k + 3) // 2  # 2t − h − 1 ≥ x with h = k + 1
    else:
        cut = Fraction(n)
        for j in range(k // 2):
            cut *= Fraction(max(0, c + silent - j), n - 1 - j)
        if cut > Fraction(1, 2**41):
            return None
        t = max(first_rare(roster - 1, c, k, 41, n), k // 2 + 1)
    return t if t <= most else None


def derived(n, delta, gamma, model):
    """(threshold, degree, min_survivors, quorum, min_roster)."""
    c, silent = up(gamma, n), up(delta, n)
    quorum = (n + c) // 2 + 1 if model == MALICIOUS else n // 2 + 1
    u = max(3, n - silent, quorum, c + 2)
    roster = n - silent if model == LOCAL else u
    for k in range(4, roster - 1, 2):
        t = sparse(n, c, silent, roster, k, model)
        if t is None:
            continue
        if model != LOCAL:
            return t, k, u, quorum, roster
        x = first_rare(roster - 1, c, k, 105, n) - 1
        windows = (roster - k - 1) // (3 * k // 2) + 1
        return t, k, max(3, (t - x) * windows), max(2, k + x + 1 - t), roster
    t = max(quorum, c + 1)
    return t, n - 1, max(u, t), quorum, max(u, t)


def ring_bits(n, max_abs):
    """Smallest b with 2^b > n(2·max_abs + 1), at least 2."""
    b = 2
    while 2**b <= n * (2 * max_abs + 1):
        b += 1
    return b
