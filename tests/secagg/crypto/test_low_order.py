"""The keys that are refused unseen by the curve are exactly those of low order.

A multiple of 8 whose quotient is below both large subgroup orders maps u to zero if and only if 8 times
the point is the neutral element.  From the doubling formula of Montgomery 1987 (section 10.3.1), on
curve and twist alike, u(2P) = (u² − 1)² ÷ 4(u³ + Au² + u), all such u follow by halving.
"""

from __future__ import annotations

import pytest

from secagg.crypto.keys import _FIELD, _LOW_ORDER, AgreementKey, acceptable_agreement_key

A = 486_662


def times(a, b, f):
    """A product of polynomials, lowest coefficient first, modulo a monic f."""
    product = [0] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            product[i + j] = (product[i + j] + x * y) % _FIELD
    return remainder(product, f)


def remainder(a, f):
    """`a` modulo f, without leading zeros."""
    a, leading = list(a), pow(f[-1], -1, _FIELD)
    while len(a) >= len(f):
        factor = a[-1] * leading
        for i, x in enumerate(f):
            a[len(a) - len(f) + i] = (a[len(a) - len(f) + i] - factor * x) % _FIELD
        a.pop()
    while a and not a[-1]:
        a.pop()
    return a


def number_of_roots(f):
    """Of distinct roots of f in the field: the degree of its common divisor with x^p − x."""
    power = [1]
    for bit in f"{_FIELD:b}":
        power = times(power, power, f)
        if bit == "1":
            power = times(power, [0, 1], f)
    other = power + [0] * (2 - len(power))
    other[1] = (other[1] - 1) % _FIELD
    other = remainder(other, f)
    while other:
        f, other = other, remainder(f, other)
    return len(f) - 1


def half(u):
    """The polynomial whose roots are the u of points of which the double has this u."""
    return [1, -4 * u % _FIELD, (-2 - 4 * A * u) % _FIELD, -4 * u % _FIELD, 1]


def value(f, x):
    return sum(c * pow(x, i, _FIELD) for i, c in enumerate(f)) % _FIELD


def test_the_roots_are_counted_rightly():
    assert number_of_roots([6, -5, 1]) == 2  # (x − 2)(x − 3)
    assert number_of_roots([4, -4, 1]) == 1
    assert number_of_roots([-2 % _FIELD, 0, 1]) == 0  # 2 is no square modulo p = 5 (mod 8)


def test_the_list_of_low_orders_is_whole():
    """Halved from the neutral element until nothing new comes."""
    found, new = set(), {0}  # of order 2 there is 0 alone:
    assert number_of_roots([1, A, 1]) == 0
    while new:
        found |= new
        below = {u: half(u) for u in new}
        new = {v for v in _LOW_ORDER for f in below.values() if value(f, v) == 0} - found
        assert len(new) == sum(number_of_roots(f) for f in below.values())
    assert found == _LOW_ORDER


@pytest.mark.parametrize("u", sorted(_LOW_ORDER))
def test_each_of_them_is_refused_by_the_curve_too(u):
    key = u.to_bytes(32, "little")
    assert not acceptable_agreement_key(key)
    with pytest.raises(ValueError):  # noqa: PT011 - OpenSSL words it
        AgreementKey.generate().agree(key)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_has_32_bytes(size):
    assert not acceptable_agreement_key(bytes([9]) * size)
