"""Numbers of a committee: what follows, what is refused, and how the tail is counted."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from math import comb, prod

import numpy as np
import pytest

from secagg import CapacityError, LocalProtocolError, UnsafeParametersError, WireFormatError
from secagg.committee import CommitteeParams, drawn_corrupt
from secagg.committee.params.params import largest_primes
from tests.secagg.committee.support.lab import small

FIELDS = ("n_members", "corrupt", "absent", "corrected", "threshold")


def test_all_small_committees_keep_every_promise():
    """By brute force over m ≤ 9: what is allowed is exactly what the conditions allow."""
    allowed = 0
    for m in range(1, 10):
        for c, absent, corrected in itertools.product(range(m), repeat=3):
            if corrected > c:
                continue
            threshold = max(-(-m // 2), c)
            possible = (
                m - absent >= (m + c) // 2 + 1 and m - absent >= threshold + 1 + c + corrected
            )
            try:
                params = small(m, c, absent, corrected=corrected)
            except UnsafeParametersError:
                assert not possible
                continue
            allowed += 1
            assert possible
            assert params.threshold >= c
            assert params.threshold >= m / 2
            assert 2 * params.quorum - m > c  # two quorums share an honest member
            answers = m - absent
            assert params.radius(answers) >= corrected
            for y in range(m + 1):
                radius = params.radius(y)
                if radius is not None:  # unique decoding, and no c liars reach another codeword
                    assert 2 * radius <= y - params.rebuild
                    assert y - params.rebuild + 1 > radius + c
                else:
                    assert y < params.rebuild + c
    assert allowed > 40


def test_silence_costs_no_less_than_lies():
    """If e of at most c liars could stay silent and leave a sum, e lies are corrected."""
    for m, c in itertools.product(range(2, 40), range(6)):
        for absent in range(m):
            try:
                params = small(m, c, absent)
            except (UnsafeParametersError, LocalProtocolError):
                continue
            for answers, liars in itertools.product(range(m + 1), range(c + 1)):
                if params.radius(answers - liars) is not None:
                    assert params.radius(answers) >= liars


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"absent": 3}, "needs 5 signatures"),
        ({"corrupt": 2, "absent": 0, "threshold": 1}, "threshold"),
        ({"threshold": 0}, "threshold"),
        ({"threshold": 5}, "lower one of them by 1"),
        ({"corrected": 2}, "corrected"),
        ({"min_clients": 2}, "min_clients must lie in 3…5"),
        ({"min_clients": 6}, "min_clients"),
        ({"max_clients": 2}, "max_clients"),
        ({"n_members": 1001}, "n_members"),
        ({"n_members": 0}, "corrupt|n_members"),
    ],
)
def test_impossible_numbers_are_refused_with_numbers(change, words):
    with pytest.raises(UnsafeParametersError, match=words):
        replace(small(), **change)


@pytest.mark.parametrize(
    "change", [{"vector_length": 0}, {"max_abs": 0}, {"max_abs": 2**61}, {"vector_length": 2**21}]
)
def test_sums_that_nothing_holds_are_refused(change):
    with pytest.raises(CapacityError):
        replace(small(), **change)


@pytest.mark.parametrize("name", ["n_members", "corrupt", "absent", "max_abs", "threshold"])
@pytest.mark.parametrize("value", [True, 1.0, "1", None, np.bool_(1)])
def test_a_number_of_another_type_is_refused(name, value):
    with pytest.raises(LocalProtocolError, match=name):
        replace(small(), **{name: value})


def test_numpy_integers_are_numbers():
    params = small(np.int16(7), np.uint8(1))
    assert type(params.n_members) is int
    assert params == small(7, 1)


def test_bytes_round_trip_and_nothing_else_is_read():
    params = small()
    assert CommitteeParams.from_bytes(params.to_bytes()) == params
    for data in (b"", params.to_bytes()[:-1], params.to_bytes() + b"\0"):
        with pytest.raises(WireFormatError):
            CommitteeParams.from_bytes(data)
    with pytest.raises(CapacityError):
        CommitteeParams.from_bytes(bytes(len(params.to_bytes())))


@pytest.mark.parametrize(
    ("clients", "max_abs", "count", "bits"),
    [
        (3, 1, 1, 12),
        (1560, 21, 1, 16),
        (1561, 21, 1, 17),
        (9999, 104, 1, 21),
        (10_000, 2**20, 2, 18),
    ],
)
def test_primes_hold_every_sum(clients, max_abs, count, bits):
    params = small(n=clients, max_abs=max_abs)
    assert (len(params.moduli), params.bits) == (count, bits)
    assert prod(params.moduli) > 2 * clients * max_abs
    assert len(set(params.moduli)) == count


def test_primes_are_the_largest():
    sieve = [n for n in range(2, 1 << 13) if all(n % k for k in range(2, int(n**0.5) + 1))]
    assert largest_primes(13, 3) == tuple(reversed(sieve[-3:]))


def test_primes_are_the_fewest_and_then_the_smallest_that_hold_a_sum():
    """By trying all numbers and sizes, also at the ends of the ranges that the search leaves out."""
    sizes = [(count, bits) for count in range(1, 5) for bits in range(12, 22)]
    for span in (m << k for k in range(2, 40, 3) for m in (1, 3)):
        params = small(n=4, max_abs=span)
        bound = 2 * params.max_clients * params.max_abs
        held = (largest_primes(bits, count) for count, bits in sizes)
        assert params.moduli == next(primes for primes in held if prod(primes) > bound)


@pytest.mark.parametrize(
    ("total", "bad", "drawn"), [(30, 10, 8), (12, 12, 5), (20, 0, 7), (9, 4, 9)]
)
@pytest.mark.parametrize("bits", [1, 4, 10])
def test_the_tail_is_exact(total, bad, drawn, bits):
    def tail(x):
        ways = sum(
            comb(bad, i) * comb(total - bad, drawn - i)
            for i in range(x + 1, min(bad, drawn) + 1)
            if drawn - i <= total - bad
        )
        return Fraction(ways, comb(total, drawn))

    c = drawn_corrupt(total, bad, drawn, security_bits=bits)
    assert tail(c) <= Fraction(1, 2**bits)
    assert c == 0 or tail(c - 1) > Fraction(1, 2**bits)


def test_the_figures_of_the_page():
    """docs/protocol.md: ten per cent of 1,000 corrupt; at 2^−41, and with 2^64 tries for the draw."""
    plain = [drawn_corrupt(1000, 100, m, security_bits=41) for m in (50, 100, 200)]
    ground = [
        drawn_corrupt(1000, 100, m, security_bits=41, grinding_bits=64) for m in (50, 100, 200)
    ]
    assert (plain, ground) == ([24, 34, 50], [38, 52, 71])


def test_a_drawn_committee_of_the_page():
    """docs/protocol.md: ten per cent corrupt at 2^−41, and ten per cent absent at 2^−30, drawn of 1,000."""
    sizes = {
        m: {
            "corrupt": drawn_corrupt(1000, 100, m, security_bits=41),
            "absent": drawn_corrupt(1000, 100, m, security_bits=30),
        }
        for m in (50, 100, 200)
    }
    assert [drawn["absent"] for drawn in sizes.values()] == [20, 30, 45]
    sums = {"vector_length": 4096, "max_clients": 1000, "max_abs": 21, "min_clients": 900}
    with pytest.raises(UnsafeParametersError, match="needs 38 signatures"):
        CommitteeParams.for_committee(50, **sizes[50], **sums)
    with pytest.raises(UnsafeParametersError, match="leave 36 to rebuild a sum, and threshold 50"):
        CommitteeParams.for_committee(100, **sizes[100], **sums)
    assert CommitteeParams.for_committee(100, **sizes[100], **sums, threshold=34).packing == 2
    assert CommitteeParams.for_committee(200, **sizes[200], **sums).packing == 5


@pytest.mark.parametrize("arguments", [(0, 0, 1), (10, 11, 5), (10, 1, 11), (10, -1, 5)])
def test_impossible_draws_are_refused(arguments):
    with pytest.raises(UnsafeParametersError):
        drawn_corrupt(*arguments)
