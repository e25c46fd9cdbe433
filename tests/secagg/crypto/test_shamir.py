"""Sharing against whole numbers, and what bad shares do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.crypto import shamir
from secagg.crypto.shamir import MODULUS, SHARE_SIZE, canonical, deal, rebuild
from secagg.wire.messages import seed_commitment

SECRET = bytes(range(100, 132))


def residues(share):
    flags = int.from_bytes(share[32:], "little")
    return [
        int.from_bytes(share[2 * i : 2 * i + 2], "little") + 65_536 * (flags >> i & 1)
        for i in range(16)
    ]


@given(
    points=st.lists(st.integers(1, 2_000), min_size=1, max_size=5, unique=True),
    degree=st.integers(0, 300),
    top=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_evaluation_equals_whole_numbers(points, degree, top):
    """Across steps of 64 coefficients, and with every coefficient at its largest."""
    rng = np.random.default_rng(degree)
    drawn = rng.integers(0, MODULUS, (degree + 1, 2)).astype(np.float64)
    coefficients = np.full_like(drawn, MODULUS - 1) if top else drawn
    got = shamir._evaluate(coefficients, points).astype(np.int64) % MODULUS
    for row, x in zip(got.tolist(), points, strict=True):
        for column, value in enumerate(row):
            terms = enumerate(coefficients[:, column].tolist())
            assert value == sum(int(c) * pow(x, j, MODULUS) for j, c in terms) % MODULUS


def test_the_highest_point_is_minus_one():
    coefficients = np.full((131, 1), MODULUS - 1.0)
    got = shamir._evaluate(coefficients, [MODULUS - 1]).astype(np.int64) % MODULUS
    assert got.item() == MODULUS - 1  # −1 + 1 − … − 1, an odd number of terms


@given(k=st.integers(0, 2**32), below=st.integers(0, MODULUS - 1))
@settings(max_examples=200, deadline=None)
def test_reduction_of_every_size_of_number(k, below):
    value = min(k * MODULUS + below, 2**48)
    values = np.array([float(value)])
    shamir._reduce(values)
    assert 0 <= values[0] <= MODULUS
    assert int(values[0]) % MODULUS == value % MODULUS


@given(points=st.lists(st.integers(1, MODULUS - 1), min_size=1, max_size=12, unique=True))
@settings(max_examples=80, deadline=None)
def test_weights_equal_the_fractions(points):
    expected = []
    for x in points:
        weight = 1
        for z in points:
            if z != x:
                weight = weight * z * pow(z - x, -1, MODULUS) % MODULUS
        expected.append(weight)
    assert shamir._weights_at_zero(tuple(points)).tolist() == expected


def test_weights_in_parts_are_the_same(monkeypatch):
    points = tuple(range(1, 60))
    whole = shamir._weights_at_zero(points)
    shamir._weights_at_zero.cache_clear()
    monkeypatch.setattr(shamir, "_PAIRS", 100)
    assert np.array_equal(shamir._weights_at_zero(points), whole)


def test_a_thousand_holders():
    points = list(range(1000, 0, -1))
    shares = deal([SECRET], points, 501)
    held = [share.tobytes() for share in shares[:501, 0]]
    assert all(map(canonical, held))
    assert rebuild(points[:501], held) == SECRET


@pytest.mark.parametrize(
    "points", [[0, 1], [MODULUS, 1], [1, 1], [1, MODULUS + 1], [2, 2 - MODULUS]]
)
def test_s12_points_that_betray_or_repeat(points):
    """Index 0 is the secret itself (Trail of Bits 2021); repeats divide by zero."""
    with pytest.raises(ValueError, match="points"):
        deal([SECRET], points, 2)
    with pytest.raises(ValueError, match="points"):
        rebuild(points, [bytes(SHARE_SIZE)] * 2)


def test_s12_mutant_gives_the_holder_at_zero_the_secret(monkeypatch):
    monkeypatch.setattr(shamir, "_check_points", lambda points: None)
    assert deal([SECRET], [MODULUS, 1], 2)[0, 0].tobytes() == SECRET + bytes(2)


def test_s12_mutant_that_takes_one_point_twice_rebuilds_nonsense(monkeypatch):
    share = deal([SECRET], [1, 2], 2)[0, 0].tobytes()
    monkeypatch.setattr(shamir, "_check_points", lambda points: None)
    shamir._weights_at_zero.cache_clear()
    assert rebuild([1, 1], [share, share]) != SECRET
    shamir._weights_at_zero.cache_clear()


@pytest.mark.parametrize("sizes", [(34, 33), (34, 35), (0, 34), (33, 35), (34,), (34, 34, 34)])
def test_s12_shares_of_another_size_or_number(sizes):
    """33 and 35 bytes make two shares when joined: each is measured by itself."""
    with pytest.raises(ValueError, match="34"):
        rebuild([1, 2], [bytes(size) for size in sizes])


@given(
    flip=st.integers(0, 8 * SHARE_SIZE - 1),
    at=st.integers(0, 4),
    short=st.booleans(),
    own=st.binary(),
)
@settings(max_examples=60, deadline=None)
def test_s12_a_wrong_or_missing_share_never_meets_the_commitment(flip, at, short, own):
    """What is rebuilt is the secret, or fails the commitment that the server compares it with."""
    points = [3, 1, 4, 5, 9]
    held = [share.tobytes() for share in deal([SECRET], points, 5)[:, 0]]
    if short:
        points, held = points[:-1], held[:-1]
    else:
        bent = int.from_bytes(held[at], "little") ^ 1 << flip
        held[at] = bent.to_bytes(SHARE_SIZE, "little")
    rebuilt = rebuild(points, held)
    assert rebuilt != SECRET  # so without the comparison a wrong seed would be used
    if rebuilt is not None:
        assert seed_commitment(own, 1, rebuilt) != seed_commitment(own, 1, SECRET)
