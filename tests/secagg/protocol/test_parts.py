"""Ring, masks, shares, graph, seals and errors, each by itself."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import (
    Aborted,
    AbortReason,
    Identity,
    LocalProtocolError,
    RemoteProtocolError,
    WireFormatError,
)
from secagg.crypto import ring
from secagg.crypto.keys import AgreementKey, Directory, digest
from secagg.crypto.masks import add_masks
from secagg.crypto.shamir import MODULUS, SHARE_SIZE, canonical, deal, rebuild
from secagg.session.graph import Graph

SECRETS = st.binary(min_size=32, max_size=32)


@given(bits=st.integers(2, 62), values=st.lists(st.integers(0, 2**62 - 1), min_size=1, max_size=70))
@settings(max_examples=150, deadline=None)
def test_packing_round_trips_and_equals_the_bit_string(bits, values):
    words = np.array([v % 2**bits for v in values], dtype=ring.ring_dtype(bits))
    packed = ring.pack(words, bits)
    assert np.array_equal(ring.unpack(packed, len(values), bits), words)
    # the slow, obvious packing
    whole = sum(int(v) << (bits * i) for i, v in enumerate(words))
    assert int.from_bytes(packed, "little") == whole
    assert len(packed) == -(-len(values) * bits // 8)


def test_packings_that_are_not_canonical():
    with pytest.raises(WireFormatError, match="padding"):
        ring.unpack(b"\xff\xff", 3, 5)
    with pytest.raises(WireFormatError, match="bytes"):
        ring.unpack(b"\x00", 3, 5)


@given(bits=st.integers(2, 62), values=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
@settings(max_examples=100, deadline=None)
def test_reduction_is_centred(bits, values):
    got = ring.centre(ring.to_ring(np.array(values, dtype=np.int64), bits), bits).tolist()
    half = 1 << (bits - 1)
    assert got == [(v + half) % (1 << bits) - half for v in values]


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@pytest.mark.parametrize("size", [1, 5, 32_768, 100_003])
def test_masks_cancel_and_do_not_depend_on_chunking(dtype, size):
    seeds = [bytes([i]) * 16 for i in range(3)]
    start = np.arange(size, dtype=dtype)
    masked = start.copy()
    add_masks(masked, seeds)
    head = start[: size // 2 + 1].copy()
    add_masks(head, seeds)
    assert np.array_equal(masked[: head.size], head)
    assert not np.array_equal(masked, start)
    add_masks(masked, [], seeds)
    assert np.array_equal(masked, start)


@given(secrets=st.lists(SECRETS, min_size=1, max_size=3), data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_threshold_of_shares_rebuilds(secrets, data):
    points = data.draw(st.lists(st.integers(1, 200), min_size=1, max_size=12, unique=True))
    threshold = data.draw(st.integers(1, len(points)))
    shares = deal(secrets, points, threshold)
    chosen = data.draw(st.permutations(range(len(points))))[:threshold]
    for r, secret in enumerate(secrets):
        held = [shares[i, r].tobytes() for i in chosen]
        assert all(map(canonical, held))
        assert rebuild([points[i] for i in chosen], held) == secret


def test_coefficients_are_drawn_without_bias(monkeypatch):
    """2^32 − 1 would make 0 likelier than the rest: it is drawn again."""
    draws = iter([b"\xff" * 64, bytes(64)])
    monkeypatch.setattr("secagg.crypto.shamir.entropy", lambda size: next(draws)[:size])
    secret = bytes(range(32))
    shares = deal([secret], [1, 2], 2)
    assert all(share.tobytes() == secret + bytes(2) for share in shares[:, 0])
    assert next(draws, None) is None


def test_the_largest_residue_survives_its_encoding():
    """65,536 does not fit 16 bits: rebuild from a polynomial that takes it in every limb."""
    top = bytes(32) + b"\xff\xff"
    assert canonical(top)
    # f(1) = −1, f(2) = −2 has f(0) = 0
    minus_two = (MODULUS - 2).to_bytes(2, "little") * 16 + bytes(2)
    assert rebuild([1, 2], [top, minus_two]) == bytes(32)
    assert rebuild([1], [top]) is None  # the secret itself would be sixteen times 65,536
    assert not canonical(b"\x01" + bytes(31) + b"\x01\x00")


def test_fewer_shares_than_the_threshold_rebuild_something_else():
    secret = bytes(range(32))
    shares = deal([secret], range(1, 8), 5)
    assert rebuild(range(1, 5), [s.tobytes() for s in shares[:4, 0]]) != secret


@pytest.mark.parametrize("points", [[0, 1], [MODULUS, 1], [1, 1], [1, MODULUS + 1], [-1, 2]])
def test_points_that_betray_or_repeat(points):
    """Index 0 is the secret itself (Trail of Bits 2021); repeats divide by zero."""
    with pytest.raises(ValueError, match="points"):
        deal([bytes(32)], points, 2)
    with pytest.raises(ValueError, match="points"):
        rebuild(points, [bytes(SHARE_SIZE)] * 2)


def test_short_shares_and_impossible_thresholds():
    with pytest.raises(ValueError, match="34"):
        rebuild([1, 2], [bytes(34), bytes(33)])
    with pytest.raises(ValueError, match="threshold"):
        deal([bytes(32)], [1, 2], 3)


@given(size=st.integers(3, 60), half=st.integers(1, 10), seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_graphs_are_regular_symmetric_and_connected(size, half, seed):
    order = np.random.default_rng(seed).permutation(size).tolist()
    graph = Graph(order, 2 * half)
    around = [set(graph.neighbours(i)) for i in range(size)]
    assert all(len(a) == min(2 * half, size - 1) and i not in a for i, a in enumerate(around))
    assert all(i in around[j] for i in range(size) for j in around[i])
    reached, frontier = {0}, {0}
    while frontier:
        frontier = set().union(*(around[i] for i in frontier)) - reached
        reached |= frontier
    assert len(reached) == size


def test_the_order_depends_on_session_and_roster():
    ids = list(range(40))
    orders = {
        Graph.of_roster(ids, s, r, 2).neighbours(0) for s in (b"a", b"b") for r in (b"c", b"d")
    }
    assert len(orders) == 4


@pytest.mark.parametrize("secret", [Identity.generate(), AgreementKey.generate()])
def test_keys_print_nothing_and_do_not_pickle(secret):
    assert secret.private_bytes().hex() not in repr(secret)
    assert "redacted" in f"{secret} {secret!r}"
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(secret)


def test_identities_export_and_return():
    identity = Identity.generate()
    assert Identity.from_private_bytes(identity.private_bytes()).public == identity.public
    with pytest.raises(LocalProtocolError):
        Identity.from_private_bytes(bytes(31))


@pytest.mark.parametrize("entries", [{-1: bytes(32)}, {2**32: bytes(32)}, {1: bytes(31)}])
def test_directories_refuse_what_is_no_identity(entries):
    with pytest.raises(LocalProtocolError):
        Directory(entries)
    with pytest.raises(LocalProtocolError, match="one identity"):
        Directory(dict.fromkeys((1, 2), Identity.generate().public))


def test_hash_inputs_do_not_run_together():
    assert len({digest(b"l", b"ab", b""), digest(b"l", b"a", b"b"), digest(b"la", b"b", b"")}) == 3


def test_errors_survive_a_process_boundary():
    for error in (RemoteProtocolError("x", 5), Aborted(AbortReason.TOO_FEW_KEYS, "1 of 3")):
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_directories_remember_exactly_what_held():
    identity, other = Identity.generate(), Identity.generate()
    directory = Directory({1: identity.public})
    signature = identity.sign(b"message")
    for _ in range(2):
        assert directory.verify(identity.public, signature, b"message")
        assert not directory.verify(identity.public, signature, b"massage")
        assert not directory.verify(other.public, signature, b"message")
        assert not directory.verify(identity.public, bytes(64), b"message")
