"""Drawn committees: the same for all parties, uniform, and bound to value, ids and identities."""

from __future__ import annotations

import hashlib
import math
import struct

import numpy as np
import pytest

from secagg import LocalProtocolError, UnsafeParametersError
from secagg.committee import drawn_corrupt, drawn_members

VALUE = b"beacon of round 1000"


def candidates(count):
    return {7 * i: hashlib.sha256(b"identity %d" % i).digest() for i in range(count)}


def test_it_is_what_the_page_says():
    """docs/protocol.md, written anew: the lowest hashes of value, id and identity."""
    known = candidates(30)

    def rank(place):
        hashed = hashlib.sha256(b"secagg v2 committee draw\0")
        for part in (VALUE, struct.pack("<I", place), known[place]):
            hashed.update(struct.pack("<Q", len(part)) + part)
        return hashed.digest()

    assert drawn_members(known, 7, VALUE) == tuple(sorted(sorted(known, key=rank)[:7]))


def test_the_order_of_the_candidates_does_not_matter_and_everything_else_does():
    known = candidates(100)
    drawn = drawn_members(known, 20, VALUE)
    assert drawn_members(dict(reversed(known.items())), 20, VALUE) == drawn
    assert drawn_members(known, 20, VALUE + b"1") != drawn
    others = {place: public[::-1] for place, public in known.items()}
    assert drawn_members(others, 20, VALUE) != drawn
    assert drawn_members(known, 100, VALUE) == tuple(known)


def test_draws_are_uniform_and_corrupt_ones_as_rare_as_the_tail_says():
    """Two thousand fixed values: no chance is left in this test."""
    known, draws, m = candidates(50), 2000, 10
    counts, corrupt = dict.fromkeys(known, 0), []
    bad = set(list(known)[:5])
    for number in range(draws):
        drawn = drawn_members(known, m, number.to_bytes(16, "big"))
        corrupt.append(len(bad.intersection(drawn)))
        for place in drawn:
            counts[place] += 1
    expected = draws * m / 50
    deviation = math.sqrt(expected * (1 - m / 50))
    assert max(abs(count - expected) for count in counts.values()) < 4 * deviation
    assert abs(np.mean(corrupt) - 1) < 0.1
    # Beyond this number come at most 2^-8 of all draws.
    most = drawn_corrupt(50, 5, m, security_bits=8)
    assert sum(found > most for found in corrupt) <= draws / 2**8 + 4 * math.sqrt(draws / 2**8)


@pytest.mark.parametrize(
    ("known", "count", "value", "error", "says"),
    [
        (candidates(5), 6, VALUE, UnsafeParametersError, "1…5, the number of candidates, not 6"),
        (candidates(5), 0, VALUE, UnsafeParametersError, "not 0"),
        ({}, 1, VALUE, UnsafeParametersError, "1…0"),
        (candidates(5), 3, b"short", LocalProtocolError, "16 bytes or more, not 5"),
        (candidates(5), 3, "a text of sixteen", LocalProtocolError, "value"),
        (candidates(5), True, VALUE, LocalProtocolError, "n_members"),
        ({-1: bytes(32)}, 1, VALUE, LocalProtocolError, "-1"),
        ({1: "identity"}, 1, VALUE, LocalProtocolError, "an identity"),
        ([1, 2, 3], 1, VALUE, LocalProtocolError, "candidates"),
    ],
)
def test_impossible_draws_are_refused(known, count, value, error, says):
    with pytest.raises(error, match=says):
        drawn_members(known, count, value)
