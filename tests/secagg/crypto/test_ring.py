"""Packing: pieces, blocks, words of three sizes, and sums straight from the wire."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import WireFormatError
from secagg.crypto import ring


def words(bits, size, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2**bits, size, dtype=np.uint64).astype(ring.ring_dtype(bits))


def slowly_packed(values, bits):
    """A row of bits for each value, laid end to end."""
    table = values.astype(np.uint64)[:, None] >> np.arange(bits, dtype=np.uint64) & np.uint64(1)
    return np.packbits(table.astype(np.uint8).reshape(-1), bitorder="little").tobytes()


@pytest.mark.parametrize("bits", range(2, 63))
def test_every_width_is_the_same_bit_string(bits):
    values = words(bits, 131)
    packed = ring.pack(values, bits)
    assert packed == slowly_packed(values, bits)
    assert np.array_equal(ring.unpack(packed, values.size, bits), values)


@pytest.mark.parametrize("bits", [13, 16, 23, 32, 40])
@pytest.mark.parametrize("more", [-1, 0, 1, 70])
def test_blocks_meet_without_a_seam(bits, more):
    values = words(bits, ring._BLOCK + more)
    packed = ring.pack(values, bits)
    assert packed == slowly_packed(values, bits)
    assert np.array_equal(ring.unpack(packed, values.size, bits), values)


@given(bits=st.integers(2, 62), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_bits_above_the_ring_do_not_reach_the_wire(bits, seed):
    dtype = ring.ring_dtype(bits)
    rng = np.random.default_rng(seed)
    wide = rng.integers(0, np.iinfo(dtype).max, 100, dtype=dtype, endpoint=True)
    assert ring.pack(wide, bits) == ring.pack(wide & dtype((1 << bits) - 1), bits)


@given(
    bits=st.integers(2, 62), cuts=st.lists(st.integers(0, 400), max_size=5), seed=st.integers(0, 99)
)
@settings(max_examples=80, deadline=None)
def test_pieces_add_up_to_the_whole(bits, cuts, seed):
    values, start = words(bits, 333, seed), words(bits, 333, seed + 1)
    packed = ring.pack(values, bits)
    ends = [0, *sorted(min(cut, len(packed)) for cut in cuts), len(packed)]
    pieces = [packed[a:b] for a, b in itertools.pairwise(ends)]
    total = start.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring, "_BLOCK", 64)
        ring.add_packed(total, pieces, bits)
        assert np.array_equal(ring.unpack(pieces, 333, bits), values)
    assert np.array_equal(total, start + values)


@pytest.mark.parametrize(
    "data", [b"\xff\xff", [b"\xff", b"\xff"], [b"\xff\xff", b""], b"\x00", [b"\x00"] * 3, []]
)
def test_a_refused_packing_leaves_the_total(data):
    total = np.array([7, 8, 9], dtype=np.uint16)
    for refuse in (
        lambda: ring.add_packed(total, data, 5),
        lambda: ring.unpack(data, 3, 5),
        lambda: ring.check_packed(data, 3, 5),
    ):
        with pytest.raises(WireFormatError):
            refuse()
    assert total.tolist() == [7, 8, 9]


def test_without_the_check_padding_would_be_read_as_nothing(monkeypatch):
    """The mutant: two encodings of one vector."""
    monkeypatch.setattr(ring, "check_packed", lambda *_: None)
    assert np.array_equal(ring.unpack(b"\x01\x80", 3, 5), ring.unpack(b"\x01\x00", 3, 5))


@given(bits=st.integers(2, 62), seed=st.integers(0, 99), length=st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_one_unpacker_serves_many_vectors(bits, seed, length):
    """Nothing of a vector is left in the buffers that the next one is read from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring, "_BLOCK", 64)
        adding, total = ring.Unpacker(length, bits), np.zeros(length, ring.ring_dtype(bits))
        expected = total.copy()
        for turn in range(3):
            values = words(bits, length, seed + turn)
            ring.add_packed(total, ring.pack(values, bits), bits, adding)
            expected += values
    assert np.array_equal(total, expected)


@given(bits=st.integers(2, 62), seed=st.integers(0, 99), length=st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_words_are_packed_over_themselves(bits, seed, length):
    """The bytes of a block never reach words that are still to be read."""
    values = words(bits, length, seed)
    expected, room = slowly_packed(values, bits), values.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring, "_BLOCK", 64)
        packed = ring.pack_in_place(room, bits)
    assert packed.tobytes() == expected
    assert np.shares_memory(np.asarray(packed), room)
    assert ring.pack(values, bits) == expected  # which leaves its argument as it is
    assert np.array_equal(values, ring.unpack(expected, length, bits))
