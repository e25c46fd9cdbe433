"""Fields, sharing and decoding against Python's own integers and brute force."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg import WireFormatError
from secagg.committee.arithmetic import decoding, field, sharing
from secagg.committee.params.params import largest_primes
from secagg.testing import deterministic_entropy
from tests.secagg.committee.support.lab import small

P = 4093


def value(coefficients, x, p=P):
    return sum(a * pow(x, e, p) for e, a in enumerate(coefficients)) % p


@pytest.mark.parametrize("inner", [1, 7, 2047, 2048, 2049, 5000])
def test_products_are_exact_at_the_largest_residues(inner):
    (p,) = largest_primes(21, 1)
    left = np.full((2, inner), p - 1)
    right = np.full((inner, 3), p - 1)
    assert (field.multiply(left, right, p) == inner * (p - 1) ** 2 % p).all()


def test_uniform_residues_are_uniform():
    """Chi-squared over 4,093 residues, a million draws: beyond 4,576 in one of 1e7 runs (z = 5.3)."""
    counts = np.bincount(field.uniform(P, 1 << 20), minlength=P)
    expected = (1 << 20) / P
    assert counts.size == P
    assert ((counts - expected) ** 2 / expected).sum() < 4092 + 5.35 * np.sqrt(2 * 4092)


def test_rejection_draws_again(monkeypatch):
    """The first word is beyond the last multiple of p, and must not be reduced."""
    words = iter([b"\xff\xff\xff\xff" + (5).to_bytes(4, "little"), (6).to_bytes(4, "little")])
    monkeypatch.setattr(field, "entropy", lambda size: next(words))
    assert field.uniform(P, 2).tolist() == [5, 6]


@given(st.lists(st.integers(0, P - 1), min_size=1, max_size=8), st.data())
def test_lagrange_carries_values_over(coefficients, data):
    count = len(coefficients)
    points = data.draw(
        st.lists(st.integers(0, P - 1), min_size=count + 2, max_size=count + 2, unique=True)
    )
    known, wanted = tuple(points[:count]), tuple(points[count:])
    values = np.array([[value(coefficients, x)] for x in known])
    found = field.multiply(field.lagrange(known, wanted, P), values, P)[:, 0]
    assert found.tolist() == [value(coefficients, x) for x in wanted]


def word(rng, y, rebuild, false, points=None):
    points = points or range(1, y + 1)
    coefficients = rng.integers(0, P, rebuild).tolist()
    out = np.array([value(coefficients, x) for x in points])
    for index in false:
        out[index] = (out[index] + 1 + rng.integers(P - 1)) % P
    return out


@pytest.mark.parametrize(("y", "rebuild"), [(5, 1), (6, 4), (9, 3), (8, 8), (12, 5)])
def test_every_pattern_of_lies_is_located(y, rebuild):
    rng = np.random.default_rng(3)
    radius = (y - rebuild) // 2
    for size in range(min(radius, 2) + 1):
        for false in itertools.combinations(range(y), size):
            words = np.array([word(rng, y, rebuild, false), word(rng, y, rebuild, ())])
            found = decoding.locate(words, range(1, y + 1), rebuild, P, radius)
            assert found == frozenset(false)


@pytest.mark.parametrize("radius", [0, 1, 2, 3])
def test_lies_of_many_words_are_put_together(radius):
    """Each word is false at one place of its own: together they are three."""
    rng = np.random.default_rng(4)
    words = np.array([word(rng, 12, 4, (index,)) for index in (1, 5, 9)])
    found = decoding.locate(words, range(1, 13), 4, P, radius)
    assert found == (frozenset({1, 5, 9}) if radius == 3 else None)


def test_against_brute_force_beyond_the_radius():
    """m = 6, R = 2, any words: what is located is the only set within the radius, or there is none."""
    p, y, rebuild = 13, 6, 2
    rng = np.random.default_rng(5)
    lines = np.array(
        [[(a + b * x) % p for x in range(1, y + 1)] for a in range(p) for b in range(p)]
    )
    none = 0
    for _ in range(400):
        one = rng.integers(0, p, y)
        distances = (lines != one).sum(axis=1)
        near = lines[distances <= 2]
        found = decoding.locate(one[None], range(1, y + 1), rebuild, p, 2)
        if len(near):
            (line,) = near
            assert found == frozenset(np.flatnonzero(line != one).tolist())
        else:
            none += 1
            assert found is None
    assert 50 < none < 390


@pytest.mark.parametrize(
    ("params", "clients"),
    [
        (small(), 5),
        (small(12, 2, 2, 33, 40), 40),
        (small(n=10_000, max_abs=2**40), 3),
        (small(9, 0, 3, 1), 5),
    ],
)
def test_sums_of_shares_are_shares_of_sums(params, clients):
    rng = np.random.default_rng(6)
    bound = params.max_abs
    vectors = rng.integers(-bound, bound + 1, (clients, params.vector_length))
    vectors[0], vectors[1] = bound, -bound
    dealt = sum(sharing.deal(params, v)[:, :, : params.blocks] for v in vectors)
    sums = dealt % np.array(params.moduli)[:, None]
    for places in ([*range(params.rebuild)], [*range(params.n_members)][-params.rebuild :]):
        assert np.array_equal(sharing.rebuild(params, places, sums[places]), vectors.sum(axis=0))


def test_the_largest_sums_are_exact():
    params = small(n=10_000, max_abs=2**48)
    for sign in (1, -1):
        largest = np.full(5, sign * 10_000 * 2**48)
        points = [*range(params.rebuild)]
        sums = sharing.deal(params, largest)[points, :, : params.blocks]
        assert np.array_equal(sharing.rebuild(params, points, sums), largest)


def test_shares_survive_the_wire():
    params = small(12, 2, 2, 33, 40)
    dealt = sharing.deal(params, np.arange(33) - 16)
    packed = sharing.pack_shares(params, dealt)
    assert {len(share) for share in packed} == {params.share_size}
    back, good = sharing.unpack_shares(params, packed)
    assert good.all()
    assert np.array_equal(back, dealt)


def test_a_share_has_one_encoding():
    """A number beyond the prime, and anything in the padding, is no share."""
    params = small(d=5)
    used = len(params.moduli) * (params.blocks + params.checks)
    assert used < params.residues
    rows = np.zeros((3, params.residues), dtype=np.int64)
    rows[1, 0] = params.moduli[0]
    rows[2, -1] = 1
    data = sharing.pack_residues(params, rows)
    size = params.share_size
    _, good = sharing.unpack_shares(params, [data[i * size : (i + 1) * size] for i in range(3)])
    assert good.tolist() == [True, False, False]
    with pytest.raises(WireFormatError, match="no residue"):
        sharing.unpack_residues(params, sharing.pack_residues(params, rows[1, :5]), 1, 5)


def test_nothing_has_an_encoding_too():
    """The report of a member for which nothing opened."""
    params = small()
    empty = np.empty((0, 1, params.checks), dtype=np.int64)
    assert sharing.pack_residues(params, empty) == b""
    assert sharing.unpack_residues(params, b"", 0, params.checks).shape == empty.shape
    with pytest.raises(WireFormatError):
        sharing.unpack_residues(params, b"\0", 0, params.checks)


def test_check_values_of_all_members_lie_on_polynomials():
    params = small(12, 2, 2, 33, 40)
    dealt = sharing.deal(params, np.arange(33) - 16)
    name = hashlib.sha256(b"a contribution").digest()
    values = np.array([sharing.check_values(params, name, share) for share in dealt])
    points = range(1, 13)
    assert decoding.consistent(values[:, 0].T, points, params.rebuild, params.moduli[0]).all()


def test_a_changed_share_changes_a_check_value():
    params = small(12, 2, 2, 33, 40)
    dealt = sharing.deal(params, np.zeros(33, dtype=np.int64))
    name = hashlib.sha256(b"a contribution").digest()
    honest = sharing.check_values(params, name, dealt[4])
    for block in range(params.blocks):
        changed = dealt[4].copy()
        changed[0, block] = (changed[0, block] + 1) % params.moduli[0]
        assert not np.array_equal(sharing.check_values(params, name, changed), honest)


def test_check_values_by_pythons_own_integers():
    params = small()
    share = sharing.deal(params, np.arange(5) - 2)[3]
    name = bytes(range(32))
    stream = hashlib.shake_128(b"secagg v2 committee challenge\0" + name).digest(
        4 * params.checks * params.blocks
    )
    words = [int.from_bytes(stream[i : i + 4], "little") for i in range(0, len(stream), 4)]
    row, (p,) = share[0].tolist(), params.moduli
    expected = [
        (
            sum(words[r * params.blocks + b] * row[b] for b in range(params.blocks))
            + row[params.blocks + r]
        )
        % p
        for r in range(params.checks)
    ]
    assert sharing.check_values(params, name, share)[0].tolist() == expected


def test_shares_of_t_members_do_not_depend_on_the_vector():
    """By exhaustion: from the same free values, any two vectors give the first t members the same shares."""
    params = small()
    with deterministic_entropy(b"twice"):
        one = sharing.deal(params, np.full(5, 9))
    with deterministic_entropy(b"twice"):
        other = sharing.deal(params, np.full(5, -9))
    t = params.threshold
    assert np.array_equal(one[:t, :, : params.blocks], other[:t, :, : params.blocks])
    assert not np.array_equal(one[t:, :, : params.blocks], other[t:, :, : params.blocks])
    # For any t members the map from free values to shares is one to one, so their shares are uniform.
    (p,) = params.moduli
    known = sharing.secret_points(params, p) + tuple(range(1, t + 1))
    for members in itertools.combinations(range(1, params.n_members + 1), t):
        basis = np.array([
            [int(x == y) for y in known] if x in known else field.lagrange(known, (x,), p)[0].tolist()
            for x in members
        ])  # fmt: skip
        assert determinant(basis[:, params.packing :], p) != 0


def determinant(matrix, p):
    rows, out = [list(map(int, row)) for row in matrix], 1
    for i in range(len(rows)):
        pivot = next((j for j in range(i, len(rows)) if rows[j][i] % p), None)
        if pivot is None:
            return 0
        rows[i], rows[pivot] = rows[pivot], rows[i]
        out = out * rows[i][i] % p
        inverse = pow(rows[i][i], -1, p)
        for j in range(i + 1, len(rows)):
            factor = rows[j][i] * inverse % p
            rows[j] = [(a - factor * b) % p for a, b in zip(rows[j], rows[i], strict=True)]
    return out
